# syntax=docker/dockerfile:1
# The card service. Build from the repository's root: docker build -f docker/service.Dockerfile -t rescard-service .
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY docker/build.lock docker/service.lock ./
RUN python -m venv /opt/rescard \
    && /opt/rescard/bin/pip install --no-cache-dir --no-deps --require-hashes -r service.lock \
    && pip install --no-cache-dir --no-deps --require-hashes -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY entitlements entitlements
COPY hardware hardware
COPY readers readers
COPY cardservice cardservice
COPY sql sql
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/rescard/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home rescard
COPY --from=build /opt/rescard /opt/rescard
ENV PATH=/opt/rescard/bin:$PATH PYTHONUNBUFFERED=1 RESCARD_BIND=0.0.0.0:8080 RESCARD_LOG_FORMAT=json
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["cardservice"]
CMD ["serve"]
