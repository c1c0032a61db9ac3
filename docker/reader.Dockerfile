# syntax=docker/dockerfile:1
# The reader daemon with the camera, NFC and Modbus device families.
# Build from the repository's root: docker build -f docker/reader.Dockerfile -t rescard-reader .
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY docker/build.lock docker/reader.lock ./
RUN python -m venv /opt/rescard \
    && /opt/rescard/bin/pip install --no-cache-dir --no-deps --require-hashes -r reader.lock \
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
RUN useradd --system --uid 10001 --no-create-home rescard \
    && install -d -o rescard -g rescard -m 0700 /var/lib/rescard
COPY --from=build /opt/rescard /opt/rescard
ENV PATH=/opt/rescard/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
VOLUME /var/lib/rescard
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9470/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["cardreader"]
CMD ["run", "--config", "/etc/rescard/reader.toml"]
