"""Masters, for administrators; and the page of secrets, for readers whose site needs some."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aiohttp import web

from cardservice.api.call import Call
from cardservice.api.routing import Routes, Told
from cardservice.api.server import audit
from cardservice.db import ALL_TENANTS, queries
from cardservice.errors import not_found
from cardservice.sitesecrets.desk import Assignment
from cardservice.sitesecrets.masters import Kind
from cardservice.sitesecrets.models import SecretList, SecretReply
from entitlements.wire.feed import encode
from entitlements.wire.secrets import SecretsPage

routes = Routes(tag="site secrets")

ADMIN = ("admin",)


@routes.add("GET", "/v1/site-secrets", "List masters of rotating codes and chips", roles=("auditor",))
async def list_secrets(call: Call) -> SecretList:
    """Which there are; no call of people or machines shows the secret.

    Not paged: a council has few of each kind in use at once, and a rotation adds one.
    """
    rows = [row async for row in queries().secrets.every(call.conn, tenant=call.tenant)]
    return SecretList(items=[SecretReply.of(row) for row in rows])


@routes.add("POST", "/v1/site-secrets/{kind}/rotate", "Make a new master", roles=ADMIN, status=201)
async def rotate(call: Call) -> SecretReply:
    """New codes and chips are made with it. The older ones stay good, at gates too, until they are retired."""
    kind = call.path("kind")
    if kind not in {each.value for each in Kind}:
        raise not_found("kind of site secret", kind[:40])
    row = await call.platform.masters.add(call.conn, call.tenant, Kind(kind))
    await audit(call, "secret.rotated", f"secret:{row['secret_id']}", kind=kind)
    call.after_commit.append(call.platform.site_secrets.wake)
    return SecretReply.of(row)


@routes.add("POST", "/v1/site-secrets/{secret_id}/retire", "Retire an older master for good", roles=ADMIN)
async def retire(call: Call) -> SecretReply:
    """Every code and chip that it made is refused from then on."""
    secret_id = call.path_uuid("secret_id", "site secret")
    row = await call.platform.masters.retire(call.conn, call.tenant, secret_id, now=call.now)
    await audit(call, "secret.retired", f"secret:{secret_id}", kind=row["kind"])
    call.after_commit.append(call.platform.site_secrets.wake)
    return SecretReply.of(row)


@routes.add(
    "GET",
    "/v1/reader/secrets",
    "What the calling reader's site must keep secret",
    access="reader",
    transaction=False,
    raw=True,
    told=Told(
        reply=SecretsPage,
        headers={"If-None-Match": "The ETag of the page that the reader holds."},
        also={304: "The reader holds the present page."},
    ),
)
async def reader_secrets(call: Call) -> web.Response:
    """Takes If-None-Match. Empty where no service offered at the site needs any. Audited once for each change."""
    known = [each.value for each in call.request.if_none_match or ()]
    tag, page = await call.platform.site_secrets.page(Assignment.of(call.reader), known)
    if page is None:
        return web.Response(status=304, headers={"ETag": f'"{tag}"'})
    await _note_delivery(call, page)
    return web.Response(body=encode(page), content_type="application/json", headers={"ETag": f'"{tag}"'})


async def _note_delivery(call: Call, page: SecretsPage) -> None:
    """One audit row for each council whose secrets are on the page; none where the reader was given this page before.

    It commits before anything is sent: no secret leaves without a trace.
    """
    reader = call.reader
    given = _given(page)
    async with call.platform.db.transaction(ALL_TENANTS) as conn:
        new = await queries().secrets.note_delivery(
            conn, tenant=reader["tenant"], reader_id=reader["reader_id"], tag=page.tag, now=call.now
        )
        for tenant, what in given.items() if new else ():
            await queries().api.add_audit(
                conn,
                tenant=tenant,
                actor=call.actor.name,
                action="secrets.delivered",
                subject=f"reader:{reader['reader_id']}",
                detail={"site": reader["site_id"], "reader_of": reader["tenant"], "tag": page.tag, **what},
                request_id=call.request_id,
            )


def _given(page: SecretsPage) -> dict[str, dict[str, Any]]:
    """How much of what is on a page, by council."""
    given: dict[str, dict[str, Any]] = {}
    for kind, keys in (("totp", page.totp), ("chip", page.chip), ("uid", page.uid_keys)):
        for tenant, texts in keys.items():
            given.setdefault(tenant, {})[kind] = len(texts)
    counted = Counter(verifier.tenant for verifier in page.pins)
    for tenant in page.pin_tenants:
        given.setdefault(tenant, {})["pins"] = counted[tenant]
    for tenant, cards in Counter(card.tenant for card in page.uids).items():
        given.setdefault(tenant, {})["serial_numbers"] = cards
    return given
