"""The status list of each council: kept signed in the database, brought up to date when somebody asks for it.

A process holds the array of the list it served last, and applies the cards that changed since. Whether some did is one
look at an index for each request, so a list is never staler than its ``ttl`` at whoever keeps it for that long. Only
what changes a status is signed anew, by one process at a time; the others take what it stored.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog

from cardservice.cards.signing import status_uri
from cardservice.db import DATABASE_AWAY, Connection, Database, queries
from cardservice.errors import ApiProblem, not_found
from cardservice.keys.store import KeyStore
from cardservice.settings import Settings
from cardservice.status.array import BITS, changed, entries_for, grown
from entitlements.credential.keys import SigningKey
from entitlements.credential.status import StatusList, StatusRefusal, sign_status_list, unverified_status_list
from entitlements.model import CardState, Instant

TTL_SECONDS: Final = 300
"""How long a relying party may keep a list: then no door but a gate's learns later of a revocation. As for key sets."""
LIFETIME_SECONDS: Final = 24 * 3600
"""When a list ends that nobody renews: a day's outage of ours does not turn every card away."""
RENEW_SECONDS: Final = LIFETIME_SECONDS // 2
"""A list with less time left is signed anew though nothing changed."""
QUICK_BYTES: Final = 256 * 1024
"""Arrays beyond this (a million cards) are compressed for speed: the highest level takes seconds for ten million."""
REST: Final = 10
"""After signing, a process rests so many times as long as that took: at most a tenth of a core goes into lists."""
PAGE: Final = 10_000
"""Changes read at a time: a few milliseconds of this process's time."""
ZIP_LEVEL: Final = 6
"""There are no repetitions to search for, only the two times base64url to undo: a higher level gains nothing."""

log = structlog.get_logger("status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A list as it is served.

    :ivar version: counts the council's lists.
    :ivar number: issue number up to which every change is in it.
    :ivar zipped: the token in gzip (RFC 1952); base64url twice leaves a quarter to gain.
    """

    version: int
    number: int
    listing: StatusList
    token: bytes = field(repr=False)
    zipped: bytes = field(repr=False)
    etag: str

    @property
    def expires_at(self) -> int:
        """First second in which it is no longer good."""
        return self.listing.expires_at or 0


class StatusLists:
    """The lists of all councils, as one process serves them."""

    def __init__(self, db: Database, keys: KeyStore, settings: Settings) -> None:
        self._db = db
        self._keys = keys
        self._public_url = settings.public_url
        self._held: dict[str, Served] = {}
        self._rest_until: dict[str, float] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def current(self, tenant: str, now: datetime) -> Served:
        """The list of a council as things stand.

        While the database is away no card changes either, so the list last served stands until it expires.

        Args:
            tenant: has the form of a council's id (:func:`~cardservice.catalogue.tenants.is_tenant_id`).

        Raises:
            ApiProblem: 404 for no council; 503 ``no_signing_key`` after an emergency revocation, until the next key.
        """
        try:
            return await self._current(tenant, now)
        except DATABASE_AWAY:
            held = self._held.get(tenant)
            if held is None or now.timestamp() >= held.expires_at:
                raise
            log.warning("the status list is served as it was, without the database", tenant=tenant)
            return held

    async def _current(self, tenant: str, now: datetime) -> Served:
        async with self._db.transaction(tenant, read_only=True) as conn:
            place = await self._place(conn, tenant)
            held = await self._stored(conn, tenant, place)
            if held is not None and self._stands(held, place, now):
                resting = asyncio.get_running_loop().time() < self._rest_until.get(tenant, 0.0)
                if resting or await _caught_up(conn, place, held) is held.listing.packed:
                    return held
        async with self._turns[tenant], self._db.transaction(tenant) as conn:
            await queries().status.take_turn(conn, tenant=tenant)
            # Looked at again in its turn: another request or process may have signed meanwhile.
            place = await self._place(conn, tenant)
            held = await self._stored(conn, tenant, place)
            packed = await _caught_up(conn, place, held)
            if held is not None and packed is held.listing.packed and self._stands(held, place, now):
                return held
            served = await self._sign(conn, tenant, place["issue_number"], packed, now)
        self._held[tenant] = served  # once it is committed, not before
        return served

    async def _place(self, conn: Connection, tenant: str) -> Any:
        place = await queries().status.place(conn, tenant=tenant)
        if place is None:
            raise not_found("tenant", tenant)
        return place

    async def _stored(self, conn: Connection, tenant: str, place: Any) -> Served | None:
        """The list in the database; ``None`` where there is none, or none that can be read."""
        if place["version"] is None:
            return None
        held = self._held.get(tenant)
        if held is not None and held.version == place["version"]:
            return held
        row = await queries().status.stored(conn, tenant=tenant)
        served = await asyncio.to_thread(_served, row["version"], row["number"], row["token"])
        if served is None:
            log.error("the stored status list cannot be read and is made anew", tenant=tenant, version=row["version"])
            return None
        self._held[tenant] = served
        return served

    def _stands(self, held: Served, place: Any, now: datetime) -> bool:
        """Whether a list may be served, if no status changed since."""
        return (
            bool(place["believed"])
            and held.expires_at - now.timestamp() >= RENEW_SECONDS
            and held.listing.uri == status_uri(self._public_url, place["tenant"])
        )

    async def _sign(self, conn: Connection, tenant: str, number: int, packed: bytes, now: datetime) -> Served:
        signer = await self._signer(conn, tenant)
        issued_at = int(now.timestamp())
        listing = StatusList(
            uri=status_uri(self._public_url, tenant),
            issued_at=Instant(issued_at),
            expires_at=Instant(issued_at + LIFETIME_SECONDS),
            ttl=TTL_SECONDS,
            bits=BITS,
            packed=packed,
        )
        clock = asyncio.get_running_loop().time
        started = clock()
        token = await asyncio.to_thread(sign_status_list, listing, signer, quick=len(packed) > QUICK_BYTES)
        self._rest_until[tenant] = clock() + REST * (clock() - started)
        version = await queries().status.put(
            conn, tenant=tenant, number=number, kid=signer.kid, token=token, signed_at=now
        )
        log.info("a status list was signed", tenant=tenant, version=version, entries=listing.entries, chars=len(token))
        return await asyncio.to_thread(_encoded, version, number, listing, token)

    async def _signer(self, conn: Connection, tenant: str) -> SigningKey:
        """The active key of purpose ``status``; a council that never had one gets its first."""
        if not await queries().status.had_key(conn, tenant=tenant):
            await self._keys.create(conn, tenant, "status", "active")
        try:
            return await self._keys.signer(conn, tenant, "status")
        except ApiProblem as problem:
            # To whoever asks it is not their request that is wrong.
            raise ApiProblem(
                503, problem.code, "No key signs status lists just now.", headers={"Retry-After": "60"}
            ) from None


async def _caught_up(conn: Connection, place: Any, held: Served | None) -> bytes:
    """The array as the cards are now; the very one that is held where it says so already.

    Changes are read from the held list's number on, that number included. Whoever writes a change holds the council's
    row lock, so no change below a number commits after it.
    """
    packed = b"" if held is None else held.listing.packed
    packed = grown(packed, entries_for(place["cards_numbered"]))
    number, index = (0, -1) if held is None else (held.number, -1)
    while True:
        found = queries().status.changes(conn, tenant=place["tenant"], number=number, index=index, limit=PAGE)
        rows = [row async for row in found]
        packed = changed(packed, ((row["card_index"], CardState(row["state"])) for row in rows))
        if len(rows) < PAGE:
            return packed
        number, index = rows[-1]["state_number"], rows[-1]["card_index"]


def _served(version: int, number: int, token: str) -> Served | None:
    """A stored list, ready to be served; ``None`` where it is none of ours."""
    listing = unverified_status_list(token)
    if isinstance(listing, StatusRefusal) or listing.bits != BITS:
        return None
    return _encoded(version, number, listing, token)


def _encoded(version: int, number: int, listing: StatusList, token: str) -> Served:
    raw = token.encode("ascii")
    return Served(
        version=version,
        number=number,
        listing=listing,
        token=raw,
        zipped=gzip.compress(raw, ZIP_LEVEL, mtime=0),
        etag=hashlib.sha256(raw).hexdigest()[:32],
    )
