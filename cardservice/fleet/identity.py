"""Readers by signed assertion: who signed this request, and is that reader still one of ours.

The reader's row is read for every request, so that a revoked reader is refused from the commit on. An assertion is
good once: its ``jti`` is kept until the assertion is too old anyway. Where Valkey is away each process keeps its own,
which lets a copied header through at most once more a process, for a minute, over a connection that is encrypted; the
alternative, refusing every reader while Valkey is away, would cost more than the replay of an idempotent upload.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from cardservice.api.call import Actor
from cardservice.db import ALL_TENANTS, queries
from cardservice.errors import ApiProblem
from cardservice.platform import Platform
from entitlements.credential.assertion import (
    CLOCK_SKEW,
    MAX_LIFETIME,
    AssertionClaims,
    AssertionCode,
    unverified_reader_id,
    verify_assertion,
)
from entitlements.credential.errors import AssertionRefused
from entitlements.credential.es256 import public_key_from_jwk

AUDIENCE: Final = "rescard"
"""``aud`` of every assertion made for this service (docs/protocols/reader-api.md)."""
SEEN_EVERY: Final = timedelta(seconds=2)
"""``last_seen_at`` is written at most so often: a burst of uploads is one sight."""
REMEMBER_SECONDS: Final = MAX_LIFETIME + 2 * CLOCK_SKEW
"""Longest time from the first use of an assertion to the instant from which its age refuses it."""


async def authenticate_reader(platform: Platform, assertion: str, method: str, path: str) -> Actor:
    """The reader that signed this request.

    Args:
        assertion: the credential of the ``Authorization: Reader`` header.
        method: method of the request, upper case.
        path: its path without query, as sent.

    Raises:
        ApiProblem: 401 ``assertion_bad_signature``, ``assertion_time`` (with ``server_time`` in ms),
            ``assertion_request`` or ``assertion_replayed``; 403 ``reader_revoked``, which only
            the holder of the key is told.
    """
    row = await _row(platform, assertion)
    try:
        key = public_key_from_jwk(row["public_jwk"])
        claims = verify_assertion(assertion, key, method, path, AUDIENCE, int(time.time()))
    except AssertionRefused as refused:
        if row["state"] != "active" and refused.code != AssertionCode.BAD_SIGNATURE:
            raise _revoked() from None
        raise refusal(refused) from None
    if row["state"] != "active":
        raise _revoked()
    await refuse_replay(platform, claims)
    if row["last_seen_at"] is None or datetime.now(UTC) - row["last_seen_at"] > SEEN_EVERY:
        async with platform.db.transaction(row["tenant"]) as conn:
            await queries().fleet.seen(conn, tenant=row["tenant"], reader_id=row["reader_id"])
    return Actor(name=f"reader:{row['reader_id']}", tenant=row["tenant"], reader=row)


async def refuse_replay(platform: Platform, claims: AssertionClaims) -> None:
    """Let each assertion through once.

    Raises:
        ApiProblem: 401 ``assertion_replayed``; an honest reader signs every attempt anew.
    """
    # Keyed by jti, never by the text: an ECDSA signature has a twin that verifies as well.
    if not await platform.shared.first_sight(f"jti:{claims.reader_id}:{claims.request_id}", REMEMBER_SECONDS):
        raise _unauthorised("assertion_replayed", "This assertion was used before; sign each request anew.")


def refusal(refused: AssertionRefused) -> ApiProblem:
    """401 for an assertion that is not accepted; with our clock where time was the reason."""
    if refused.code == AssertionCode.TIME:
        detail = "The assertion's times do not fit this service's clock; server_time is that clock in milliseconds."
        return _unauthorised(refused.code, detail, {"server_time": time.time_ns() // 1_000_000})
    return _unauthorised(refused.code, f"{refused.detail[0].upper()}{refused.detail[1:]}.")


async def _row(platform: Platform, assertion: str) -> dict[str, Any]:
    try:
        reader_id = UUID(unverified_reader_id(assertion))
    except AssertionRefused as refused:
        raise refusal(refused) from None
    except ValueError:
        raise _unknown() from None
    row = await queries().fleet.reader_by_id(platform.db.reading(ALL_TENANTS), reader_id=reader_id)
    if row is None:
        raise _unknown()
    return dict(row)


def _unknown() -> ApiProblem:
    # The same words as for a wrong signature: who does not hold a key learns nothing about which readers exist.
    return _unauthorised(str(AssertionCode.BAD_SIGNATURE), "Not an assertion signed by this reader's key.")


def _revoked() -> ApiProblem:
    return ApiProblem(403, "reader_revoked", "This reader was revoked: it must wipe its keys and its cache.")


def _unauthorised(code: str, detail: str, extra: dict[str, Any] | None = None) -> ApiProblem:
    return ApiProblem(401, str(code), detail, extra=extra, headers={"WWW-Authenticate": "Reader"})
