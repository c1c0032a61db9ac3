"""Who may look at the gates: anybody in a demonstration, else holders of an API token with the role operator.

A browser sends no Bearer header by itself, so a token can be exchanged for a cookie. The cookie names the token by its
hash and ends soon; the token itself is looked up again for every page, so that a revoked token ends at once.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Final

from aiohttp import web
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cardservice.db import ALL_TENANTS, queries
from cardservice.errors import ApiProblem
from cardservice.platform import Platform

COOKIE: Final = "rescard_gates"
COOKIE_SECONDS: Final = 8 * 3600
"""A shift."""
ROLES: Final = frozenset({"operator", "admin"})
MAX_TOKEN: Final = 200
_INFO: Final = b"rescard gates cookie 1"


async def allowed_scope(platform: Platform, request: web.Request) -> str | None:
    """The council whose gates may be shown, ``*`` for all, or ``None`` where the caller has to sign in."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return await token_scope(platform, _digest(token))
    digest = _read_cookie(platform, request.cookies.get(COOKIE, ""))
    scope = await token_scope(platform, digest) if digest is not None else None
    if scope is None and platform.settings.demo_pages:
        return ALL_TENANTS
    return scope


async def token_scope(platform: Platform, digest: bytes) -> str | None:
    """The council of a live token with the right role; ``*`` for a token of the platform."""
    async with platform.db.transaction(ALL_TENANTS, read_only=True) as conn:
        row = await queries().api.find_token(conn, token_sha256=digest)
    if row is None or not ROLES & set(row["roles"]):
        return None
    return str(row["tenant"])


async def sign_in(platform: Platform, request: web.Request, token: str, response: web.StreamResponse) -> bool:
    """Set the cookie for a good token.

    Raises:
        ApiProblem: 403 for a form that another site sent.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise ApiProblem(403, "cross_site", "Sign in from this service's own page.")
    token = token.strip()
    if not token or len(token) > MAX_TOKEN or await token_scope(platform, _digest(token)) is None:
        return False
    until = str(int(time.time()) + COOKIE_SECONDS)
    text = f"{_digest(token).hex()}.{until}"
    response.set_cookie(
        COOKIE,
        f"{text}.{_sign(platform, text)}",
        max_age=COOKIE_SECONDS,
        path="/gates",
        httponly=True,
        samesite="Strict",
        secure=platform.settings.public_url.startswith("https:"),
    )
    return True


def _read_cookie(platform: Platform, cookie: str) -> bytes | None:
    text, _, signature = cookie.rpartition(".")
    if not text or not cookie.isascii() or not hmac.compare_digest(signature, _sign(platform, text)):
        return None
    digest, _, until = text.partition(".")
    return bytes.fromhex(digest) if int(until) > time.time() else None


def _sign(platform: Platform, text: str) -> str:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(platform.cookies.value)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _digest(token: str) -> bytes:
    # Headers come with what is no UTF-8 as surrogates; such a token is simply not known.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
