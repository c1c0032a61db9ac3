"""Which secrets a reader is given, and the tag by which it knows that they changed.

A tag says what a site needs and how often that changed; it needs no look at the secrets themselves. What all tags are
made of is read from the database at most once a second for all readers of a process, so that a beat can carry a tag to
each of a thousand streams.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from cardservice.catalogue.loading import load_catalogue, site_value
from cardservice.db import ALL_TENANTS, Connection, Database, queries
from cardservice.keys.sealing import Sealer
from cardservice.pins.office import sealed_name
from cardservice.sitesecrets.masters import Kind, MasterStore
from cardservice.sitesecrets.needs import Needs, site_needs
from entitlements.wire.secrets import PinVerifier, SecretsPage, UidCard

FRESH_SECONDS: Final = 1.0
"""What tags are made of is at most this old: a change is told with the next beat, whichever process made it."""
MAX_SITES: Final = 4_096
"""Sites whose needs a process remembers."""
TAG_CHARACTERS: Final = 32
PIN: Final = "pin"

UidCards = Callable[[Connection, str], Awaitable[Sequence[UidCard]]]
"""Cards of a council that are known by a serial number only, in a reading transaction of that council."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What tags are made of, as the database had it at ``read_at`` (monotonic seconds)."""

    catalogue: str
    numbers: Mapping[tuple[str, str], int]
    """By council and kind."""
    read_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Where a reader works: its council, its site, and the feeds it carries as ``tenant/area``."""

    tenant: str
    site: str
    feeds: tuple[str, ...]

    @classmethod
    def of(cls, reader: Mapping[str, Any]) -> Assignment:
        """Of a row of ``reader``."""
        return cls(tenant=reader["tenant"], site=reader["site_id"], feeds=tuple(sorted(reader["feeds"])))


class SecretsDesk:
    """Tags and pages for readers.

    :param sealer: of :attr:`cardservice.keys.sealing.Sealed.TENANT_SECRETS`, which sealed the verifiers.
    :param uid_cards: where cards known by a serial number are registered; ``None`` where none can be.
    """

    def __init__(
        self, db: Database, masters: MasterStore, sealer: Sealer, *, uid_cards: UidCards | None = None
    ) -> None:
        self._db = db
        self._masters = masters
        self._sealer = sealer
        self._uid_cards = uid_cards
        self._reading: Reading | None = None
        self._refreshing = asyncio.Lock()
        self._needs: dict[Assignment, tuple[str, dict[str, Needs]]] = {}
        self._verifiers: dict[str, tuple[int, list[PinVerifier]]] = {}

    def wake(self) -> None:
        """Something committed here: the next tag is made of a new reading."""
        self._reading = None

    async def tag(self, reader: Assignment) -> str:
        """The tag of the page that this reader would be given now; at most a second old."""
        reading = await self._read()
        return _tag(await self._site_needs(reader, reading), reading)

    async def page(self, reader: Assignment, known: Sequence[str]) -> tuple[str, SecretsPage | None]:
        """The tag, and the page where its tag is not among those ``known`` to the reader.

        Raises:
            UnsealError: a secret was sealed under another key-encryption key.
        """
        # The reading first: content newer than its tag is asked for once more, content older than it never would be.
        self.wake()
        reading = await self._read()
        needs = await self._site_needs(reader, reading)
        tag = _tag(needs, reading)
        return tag, None if tag in known else await self._make(tag, needs, reading)

    async def _read(self) -> Reading:
        reading = self._reading
        if reading is not None and time.monotonic() - reading.read_at < FRESH_SECONDS:
            return reading
        async with self._refreshing:  # many streams beat at once; one of them reads
            if self._reading is not None and self._reading is not reading:
                return self._reading
            began = time.monotonic()
            async with self._db.transaction(ALL_TENANTS, read_only=True) as conn:
                numbers = {(row["tenant"], row["kind"]): row["number"] async for row in queries().secrets.numbers(conn)}
                stamp = await queries().secrets.catalogue_stamp(conn)
            self._reading = made = Reading(catalogue=stamp, numbers=numbers, read_at=began)
            return made

    async def _site_needs(self, reader: Assignment, reading: Reading) -> dict[str, Needs]:
        """Needs by council; councils of which the site needs nothing are left out."""
        known = self._needs.get(reader)
        if known is not None and known[0] == reading.catalogue:
            return known[1]
        async with self._db.transaction(reader.tenant, read_only=True) as conn:
            row = await queries().fleet.get_site(conn, tenant=reader.tenant, site_id=reader.site)
        lanes = site_value(row).lanes
        needs: dict[str, Needs] = {}
        for tenant in sorted({feed.partition("/")[0] for feed in reader.feeds}):
            areas = [area for owner, _, area in (feed.partition("/") for feed in reader.feeds) if owner == tenant]
            async with self._db.transaction(tenant, read_only=True) as conn:
                found = site_needs(await load_catalogue(conn, tenant), reader.site, lanes, areas)
            if found:
                needs[tenant] = found
        if len(self._needs) >= MAX_SITES:
            self._needs.clear()
        self._needs[reader] = reading.catalogue, needs
        return needs

    async def _make(self, tag: str, needs: Mapping[str, Needs], reading: Reading) -> SecretsPage:
        """The page. Councils are asked one after the other, each in a transaction that sees its rows only."""
        masters: dict[Kind, dict[str, list[str]]] = {kind: {} for kind in Kind}
        pins: list[PinVerifier] = []
        uids: list[UidCard] = []
        for tenant, needed in sorted(needs.items()):
            async with self._db.transaction(tenant, read_only=True) as conn:
                for kind in Kind:
                    found = await self._masters.in_use(conn, tenant, kind) if kind.value in needed else ()
                    if found:
                        masters[kind][tenant] = [_text(master.octets) for master in found]
                if PIN in needed:
                    pins += await self._pins(conn, tenant, reading.numbers.get((tenant, PIN), 0))
                if Kind.UID.value in needed and self._uid_cards is not None:
                    uids += await self._uid_cards(conn, tenant)
        return SecretsPage(
            tag=tag,
            totp=masters[Kind.TOTP],
            chip=masters[Kind.CHIP],
            pins=pins,
            pin_tenants=[tenant for tenant, needed in sorted(needs.items()) if PIN in needed],
            uids=uids,
            uid_keys=masters[Kind.UID],
        )

    async def _pins(self, conn: Connection, tenant: str, number: int) -> list[PinVerifier]:
        """Verifiers of a council, opened once for all readers that ask after a change."""
        known = self._verifiers.get(tenant)
        if known is not None and known[0] == number:
            return known[1]
        rows = [row async for row in queries().pins.verifiers(conn, tenant=tenant)]

        def unseal() -> list[PinVerifier]:
            return [
                PinVerifier(
                    tenant=tenant,
                    index=row["card_index"],
                    tag=int.from_bytes(row["tag"], "big"),
                    verifier=self._sealer.unseal(sealed_name(tenant, row["person_id"]), row["verifier_sealed"]).decode(
                        "ascii"
                    ),
                    version=row["version"],
                )
                for row in rows
            ]

        # Tens of thousands take a tenth of a second, which is too long for whoever else is served here.
        made = await asyncio.to_thread(unseal)
        self._verifiers[tenant] = number, made
        return made


def _tag(needs: Mapping[str, Needs], reading: Reading) -> str:
    """The same needs and numbers give the same tag in every process."""
    moved = [
        (tenant, kind, reading.numbers.get((tenant, kind), 0))
        for tenant, needed in sorted(needs.items())
        for kind in sorted(needed)
    ]
    return hashlib.sha256(msgspec.json.encode(moved)).hexdigest()[:TAG_CHARACTERS]


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
