"""Opaque account keys: what a gate counts by and can tell nothing from.

A key is a keyed hash per (tenant, area) of a person, household, vehicle or permit. Two areas' keys of one person cannot
be joined without the tenant's secret, which never leaves the service. 96 bits: among a million keys of an area the odds
that any two meet are below one in 10^16.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cardservice.db import Connection, queries
from entitlements.credential.encoding import b64url_encode

LABEL: Final = b"rescard.account-key/1"
"""Keeps this use of the tenant's secret apart from its other uses (RFC 5869 section 3.2 on ``info``)."""
KEY_BYTES: Final = 12


class AccountKeyring:
    """The keys of one tenant."""

    __slots__ = ("_secret", "_tenant")

    def __init__(self, tenant: str, index_secret: bytes) -> None:
        self._tenant = tenant
        self._secret = hmac.digest(index_secret, LABEL, hashlib.sha256)

    def key(self, area: str, scope: str, holder: str) -> str:
        """The key of a holder in an area.

        Args:
            scope: ``person``, ``household``, ``vehicle`` or ``permit``.
            holder: the real id within that scope.
        """
        message = f"{self._tenant}|{area}|{scope}|{holder}".encode()
        return b64url_encode(hmac.digest(self._secret, message, hashlib.sha256)[:KEY_BYTES]).decode()


async def keyring(conn: Connection, tenant: str) -> AccountKeyring:
    """The keyring of a tenant, in a transaction of it."""
    return AccountKeyring(tenant, await queries().ledger.secret(conn, tenant=tenant))
