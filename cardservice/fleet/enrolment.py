"""From a one-time code and a key to a reader.

Whoever sends a wrong, used or expired code gets one and the same answer. The same key with the same code gets the same
reader again: a reply that was lost on the way must not cost a visit to the site.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from cardservice.api.call import Call
from cardservice.db import ALL_TENANTS, Connection, queries
from cardservice.errors import ApiProblem, not_found
from cardservice.fleet.codes import code_digest, make_code
from cardservice.fleet.identity import AUDIENCE, refusal, refuse_replay
from cardservice.fleet.models import CodeRequest, Enrolment, SiteLane, SiteView
from cardservice.platform import Platform
from entitlements.credential.assertion import verify_assertion
from entitlements.credential.errors import AssertionRefused, InvalidKeyError
from entitlements.credential.es256 import public_key_from_jwk, public_key_to_jwk, thumbprint

MAX_FAILURES: Final = 10
"""Refused enrolments of one address within :data:`FAILURE_SECONDS`; honest ones are not counted."""
FAILURE_SECONDS: Final = 60


async def make_enrolment_code(
    conn: Connection, *, tenant: str, created_by: str, wanted: CodeRequest, now: datetime
) -> tuple[str, datetime]:
    """Store a new code for a reader at a site of ``tenant`` and give it with its end.

    Raises:
        ApiProblem: 404 without such a site; 422 ``feed_not_shared`` for a feed of a tenant that shares no service of
            that area with this one: a council's feed goes only where its residents may go in.
    """
    if await queries().fleet.get_site(conn, tenant=tenant, site_id=wanted.site) is None:
        raise not_found("site", wanted.site)
    for position, feed in enumerate(wanted.feeds):
        other, _, area = feed.partition("/")
        if other != tenant and not await queries().fleet.area_is_shared(conn, tenant=tenant, other=other, area=area):
            problem = f"{other} and {tenant} share no published service of the area {area}"
            raise ApiProblem(
                422,
                "feed_not_shared",
                f"The feed {feed} cannot be given to this reader: {problem}.",
                fields=[{"at": f"/feeds/{position}", "problem": problem}],
            )
    code = make_code()
    expires_at = await queries().fleet.add_code(
        conn,
        tenant=tenant,
        code_sha256=code_digest(code),
        site_id=wanted.site,
        name=wanted.name,
        feeds=sorted(set(wanted.feeds)),
        created_by=created_by,
        expires_at=now + timedelta(seconds=wanted.expires_in),
    )
    return code, expires_at


async def enrol(call: Call, wanted: Enrolment, assertion: str) -> tuple[str, UUID]:
    """Make the reader, or find the one that this key made with this code before; ``(tenant, reader id)``.

    Raises:
        ApiProblem: 429 after too many refusals of one address, 401 where the key is not proved to be held, 403
            ``code_refused`` for any code that is not good, 422 for what is no P-256 public key.
    """
    platform = call.platform
    counter = f"enrol:{call.request.remote}"
    if await platform.shared.reached(counter) >= MAX_FAILURES:
        raise ApiProblem(
            429,
            "too_many_attempts",
            "Too many enrolments from this address were refused; wait a minute.",
            headers={"Retry-After": str(FAILURE_SECONDS)},
        )
    try:
        jwk = await _proved_key(platform, wanted, assertion, call.request.path)
        found = await _use(platform, code_digest(wanted.code), jwk, call.request_id)
        if found is None:
            raise ApiProblem(403, "code_refused", "This code is wrong, used or expired; ask for a new one.")
    except ApiProblem:
        await platform.shared.count(counter, FAILURE_SECONDS)
        raise
    return found


async def _proved_key(platform: Platform, wanted: Enrolment, assertion: str, path: str) -> dict[str, str]:
    key = read_public_key(wanted.public_key)
    try:
        claims = verify_assertion(assertion, key, "POST", path, AUDIENCE, int(time.time()))
    except AssertionRefused as refused:
        raise refusal(refused) from None
    if claims.reader_id != thumbprint(key):
        raise ApiProblem(401, "assertion_bad_signature", "At enrolment iss is the key's RFC 7638 thumbprint.")
    await refuse_replay(platform, claims)
    return public_key_to_jwk(key)


async def _use(platform: Platform, digest: bytes, jwk: dict[str, str], request_id: str) -> tuple[str, UUID] | None:
    async with platform.db.transaction(ALL_TENANTS, read_only=True) as conn:
        code = await queries().fleet.find_code(conn, code_sha256=digest)
    if code is None:
        return None
    tenant = code["tenant"]
    async with platform.db.transaction(tenant) as conn:
        reader_id = uuid4()
        given = await queries().fleet.use_code(conn, tenant=tenant, code_sha256=digest, reader_id=reader_id)
        if given is None:
            return await _used_before(conn, tenant, digest, jwk)
        await queries().fleet.add_reader(
            conn,
            tenant=tenant,
            reader_id=reader_id,
            site_id=given["site_id"],
            name=given["name"],
            feeds=given["feeds"],
            public_jwk=jwk,
        )
        await queries().api.add_audit(
            conn,
            tenant=tenant,
            actor=f"reader:{reader_id}",
            action="reader.enrol",
            subject=f"reader:{reader_id}",
            detail={"site": given["site_id"], "feeds": given["feeds"], "code_by": given["created_by"]},
            request_id=request_id,
        )
    return tenant, reader_id


async def _used_before(conn: Connection, tenant: str, digest: bytes, jwk: dict[str, str]) -> tuple[str, UUID] | None:
    code = await queries().fleet.find_code(conn, code_sha256=digest)
    if code is None or code["reader_id"] is None:
        return None
    reader = await queries().fleet.get_reader(conn, tenant=tenant, reader_id=code["reader_id"])
    if reader is None or reader["state"] != "active" or reader["public_jwk"] != jwk:
        return None
    return tenant, reader["reader_id"]


def read_public_key(jwk: dict[str, Any]) -> Any:
    """The P-256 key of a body.

    Raises:
        ApiProblem: 422 for anything else, secret members among it.
    """
    try:
        return public_key_from_jwk(jwk)
    except InvalidKeyError as error:
        raise ApiProblem(
            422,
            "wrong_values",
            f"The body is wrong at /public_key: {error.problem}.",
            fields=[{"at": "/public_key", "problem": error.problem}],
        ) from None


async def assignment(
    platform: Platform, tenant: str, site_id: str, feeds: Iterable[str]
) -> tuple[SiteView, dict[str, dict[str, Any]]]:
    """A reader's site, and the key sets that sign its feeds, by tenant.

    Each tenant's keys are read as that tenant: one transaction after the other, never two connections at once.
    """
    async with platform.db.transaction(tenant, read_only=True) as conn:
        row = await queries().fleet.get_site(conn, tenant=tenant, site_id=site_id)
    site = SiteView(
        site=row["site_id"], name=row["name"], lanes=[SiteLane.model_validate(lane) for lane in row["lanes"]]
    )
    keys: dict[str, dict[str, Any]] = {}
    for owner in sorted({feed.partition("/")[0] for feed in feeds}):
        async with platform.db.transaction(owner, read_only=True) as conn:
            keys[owner] = await platform.keys.jwks(conn, owner, "feed")
    return site, keys
