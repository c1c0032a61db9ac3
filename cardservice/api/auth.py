"""Who calls: staff and machines by hashed API token, readers by signed assertion.

A token is ``rsc_`` and 32 random bytes in base64url; only its SHA-256 is stored, so a stolen database opens nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from aiohttp import web

from cardservice.api.call import Actor
from cardservice.api.routing import Endpoint
from cardservice.db import ALL_TENANTS, Connection, queries
from cardservice.errors import ApiProblem
from cardservice.platform import Platform

TOKEN_PREFIX: Final = "rsc_"  # noqa: S105 - the public prefix that lets secret scanners find a leaked token
PERSON_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$"
"""A staff number, sign-in name or mail address: no space and no other alphabet, so that two cannot look like one."""
TENANT_HEADER: Final = "Rescard-Tenant"
"""A token of the platform names here the tenant that it acts for."""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


async def create_token(
    conn: Connection, *, tenant: str, label: str, roles: Iterable[str], expires_at: datetime, person: str | None = None
) -> tuple[str, str]:
    """Store a new token for ``tenant`` (``*``: the platform): ``(token_id, token)``; the token is shown only once.

    Args:
        person: whose it is, as :data:`PERSON_PATTERN` in lower case; ``None`` for a machine's.
    """
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token_id = await queries().api.add_token(
        conn,
        tenant=tenant,
        token_sha256=_digest(token),
        label=label,
        person=person,
        roles=list(roles),
        expires_at=expires_at,
    )
    return str(token_id), token


async def authenticate(platform: Platform, request: web.Request, endpoint: Endpoint) -> Actor:
    """The caller of an endpoint.

    Raises:
        ApiProblem: 401 without or with a wrong credential, 403 where the caller may not.
    """
    if endpoint.access == "public":
        return Actor(name="public", tenant="")
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    if endpoint.access == "reader":
        if scheme.lower() != "reader" or not credential:
            raise _sign_in("Reader", "Readers sign each request; see docs/protocols/reader-api.md.")
        from cardservice.fleet.identity import authenticate_reader

        return await authenticate_reader(platform, credential, request.method, request.path)
    if scheme.lower() != "bearer" or not credential:
        raise _sign_in("Bearer", "Send an API token as `Authorization: Bearer ...`.")
    actor = await staff_actor(platform, credential, request.headers.get(TENANT_HEADER))
    if endpoint.roles and not actor.roles & (endpoint.roles | {"admin"}):
        needed = ", ".join(sorted(endpoint.roles | {"admin"}))
        raise ApiProblem(403, "role_missing", f"This needs one of the roles {needed}.")
    return actor


async def staff_actor(platform: Platform, token: str, tenant: str | None) -> Actor:
    """The holder of an API token, acting for ``tenant`` where the token is the platform's.

    Raises:
        ApiProblem: 401 for an unknown, expired or revoked token; 400 or 403 where the tenant is missing or not theirs.
    """
    digest = _digest(token)
    known = platform.tokens.get(digest, tenant)
    if known is not None:
        return known
    asked, look = platform.tokens.now(), platform.db.reading(ALL_TENANTS)
    row = await queries().api.find_token(look, token_sha256=digest)
    if row is None:
        raise _sign_in("Bearer", "This token is unknown, expired or revoked.")
    own, person = row["tenant"], row["person"]
    if own == ALL_TENANTS:
        if tenant is not None and not tenant.isascii():
            raise ApiProblem(404, "tenant_not_found", "There is no such tenant.")
        if tenant is None:
            raise ApiProblem(400, "tenant_missing", f"A platform token names its tenant in the header {TENANT_HEADER}.")
        if not await queries().api.tenant_exists(look, tenant=tenant):
            raise ApiProblem(404, "tenant_not_found", "There is no such tenant.")
    elif tenant is not None and tenant != own:
        raise ApiProblem(403, "other_tenant", "This token belongs to another tenant.")
    actor = Actor(
        name=f"token:{row['label']}" if person is None else f"person:{person} token:{row['label']}",
        person=person,
        tenant=tenant if own == ALL_TENANTS and tenant is not None else own,
        roles=frozenset(row["roles"]),
    )
    platform.tokens.keep(digest, tenant, actor, asked=asked, good=row["seconds_left"])
    return actor


def _sign_in(scheme: str, detail: str) -> ApiProblem:
    return ApiProblem(401, "not_signed_in", detail, headers={"WWW-Authenticate": scheme})
