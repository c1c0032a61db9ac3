"""Status lists for everybody: relying parties that are no gate of ours, wallets, and whoever checks them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from aiohttp import web
from pydantic import Field

from cardservice.api.call import Call
from cardservice.api.models import ApiModel
from cardservice.api.routing import Routes
from cardservice.catalogue.tenants import is_tenant_id
from cardservice.errors import ApiProblem, not_found
from cardservice.status.lists import TTL_SECONDS, Served
from entitlements.credential.status import STATUS_MEDIA_TYPE

routes = Routes(tag="status")

ACCEPTABLE: Final = (STATUS_MEDIA_TYPE, "application/*", "*/*")
"""What a caller may ask for to be given the list, the most precise first (RFC 9110 section 12.5.1)."""
ZIP: Final = "gzip"


class StatusQuery(ApiModel):
    """Which list."""

    time: str | None = Field(default=None, max_length=40, description="Not served: lists of the past are not kept.")


@routes.add(
    "GET",
    "/v1/tenants/{tenant}/status",
    "A council's status list (IETF Token Status List)",
    access="public",
    transaction=False,
    media_type=STATUS_MEDIA_TYPE,
)
async def status_list(call: Call, query: StatusQuery) -> web.Response:
    tenant = call.path("tenant")
    if not is_tenant_id(tenant):  # the name goes into row-level security: nothing but a council's id may
        raise not_found("tenant", tenant[:40])
    if query.time is not None:
        # Draft, section "Historical Resolution": a service without it answers 501. Who held which card when is no
        # relying party's business, and old lists would tell.
        raise ApiProblem(501, "no_past_lists", "Status lists of the past are not kept.")
    headers = call.request.headers
    if _quality(headers.get("Accept", "*/*"), ACCEPTABLE) == 0:
        raise ApiProblem(406, "not_acceptable", f"A status list is served as {STATUS_MEDIA_TYPE} alone.")
    served = await call.platform.status.current(tenant, call.now)
    return _response(call.request, served, call.now)


def _response(request: web.Request, served: Served, now: datetime) -> web.Response:
    zipped = _quality(request.headers.get("Accept-Encoding", ""), (ZIP, "*")) > 0
    etag = f"{served.etag}-{ZIP}" if zipped else served.etag  # other bytes, another tag (RFC 9110 section 8.8.3)
    seconds = max(0, min(TTL_SECONDS, served.expires_at - int(now.timestamp())))
    headers = {
        "Access-Control-Allow-Origin": "*",  # browsers of relying parties may read it: it is public
        "Cache-Control": f"public, max-age={seconds}",
        "ETag": f'"{etag}"',
        "Vary": "Accept, Accept-Encoding",
    }
    if any(each.value in (etag, "*") for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if zipped:
        headers["Content-Encoding"] = ZIP
    return web.Response(body=served.zipped if zipped else served.token, content_type=STATUS_MEDIA_TYPE, headers=headers)


def _quality(header: str, names: tuple[str, ...]) -> float:
    """The weight that a negotiation header gives to the first of these names it speaks of (RFC 9110 section 12.4.2).

    A weight that is no number counts as nought.
    """
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        weights[name] = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    weights[name] = float(value)
                except ValueError:
                    weights[name] = 0.0
    return next((weights[name] for name in names if name in weights), 0.0)
