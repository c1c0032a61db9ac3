"""The gym of the golden vectors, one resident's rights in it, and caches of cards, for benchmarks."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from entitlements.compile import CompiledService, compile_profile, compile_service
from entitlements.documents import load_services
from entitlements.facts import PersonFacts, Span
from entitlements.model import CardState, Instant, PersonId, SiteId, TenantId
from entitlements.profile import Horizon, Profile
from entitlements.wire.feed import FeedWorld, ServiceEntry
from entitlements.wire.feed import Horizon as WireHorizon
from entitlements.wire.rows import ROW_BYTES, pack_row
from entitlements.world import World, load_world
from readers.basefile import BLOCK_BYTES, digest_block, write_base
from readers.cache import FeedCache
from readers.contents import write_contents
from readers.feedstore import open_cache as open_cache_file
from readers.profiles import pack_profiles

VECTORS: Final = Path(__file__).resolve().parents[1] / "vectors" / "decisions"
NOW: Final = Instant(1_780_308_000)
"""2026-06-01T10:00:00Z, a Monday, eleven in the morning in London: the gym is open."""
SITE: Final = SiteId("porchester")
DAY: Final = 86_400
FEED: Final = "wcc/leisure"

_folders: list[TemporaryDirectory[str]] = []
"""Caches map their files: the folders live as long as the benchmark."""


def world() -> World:
    """The world of the golden vectors."""
    return load_world((VECTORS / "world.json").read_text())


def service(service_id: str) -> CompiledService:
    """One of the eight worked services, compiled."""
    documents = load_services((VECTORS / "services.json").read_text())
    return compile_service(next(document for document in documents if document.id == service_id), world())


def profile_of(compiled: CompiledService, facts: PersonFacts) -> Profile:
    """A person's compiled rights in one service."""
    horizon = Horizon(start=Instant(NOW - DAY), end=Instant(NOW + 35 * DAY))
    return compile_profile(facts, [compiled], world(), horizon)


def write_rows(
    rows: array[int], profiles: list[Profile], documents: Sequence[dict[str, Any]] = (), everything: Any = None
) -> Path:
    """A base file of these rows, profiles, documents and (a ``rescard.world/1`` object) what they refer to."""
    folder = TemporaryDirectory(prefix="rescard-bench-")
    _folders.append(folder)
    octets = memoryview(rows).cast("B")
    blocks = [octets[start : start + BLOCK_BYTES] for start in range(0, len(octets), BLOCK_BYTES)]
    meta = write_contents(
        [ServiceEntry(version=1, document=document) for document in documents],
        world=FeedWorld(world=everything or {"schema": "rescard.world/1", "tenants": {}}, sites={}),
        keys={"keys": []},
        horizon=WireHorizon(begins=NOW - DAY, ends=NOW + 35 * DAY),
    )
    path = Path(folder.name) / "base"
    write_base(
        path,
        feed=FEED,
        epoch="bench",
        number=1,
        issue_number=1,
        created_at=NOW,
        meta=meta,
        profiles=pack_profiles(profiles),
        rows=len(octets) // ROW_BYTES,
        digests=b"".join(map(digest_block, blocks)),
        blocks=blocks,
    )
    return path


def open_cache(path: Path) -> FeedCache:
    """A reader's cache over a base file, every block checked."""
    cache = open_cache_file(path, FEED)
    cache.base.verify_all()
    return cache


def small_cache(cards: Mapping[int, tuple[int, Profile]]) -> FeedCache:
    """A cache of these cards: index to (tag, profile)."""
    profiles = list(dict.fromkeys(profile for _, profile in cards.values()))
    rows = array("Q", bytes(8 * (max(cards) + 1)))
    for index, (tag, profile) in cards.items():
        rows[index] = pack_row(tag=tag, profile=profiles.index(profile), state=CardState.ACTIVE)
    return open_cache(write_rows(rows, profiles))


def gym() -> CompiledService:
    """The off-peak gym."""
    return service("wcc.leisure.gym-offpeak")


def gym_profile(compiled: CompiledService) -> Profile:
    """Somebody on universal credit, who may use it."""
    return profile_of(
        compiled,
        PersonFacts(
            id=PersonId("p1"),
            household="h1",
            date_of_birth=date(1980, 5, 5),
            residency={TenantId("wcc"): (Span(start=date(2020, 1, 1)),)},
            evidence={"universal_credit": (Span(start=date(2026, 1, 1), until=date(2027, 12, 31)),)},
        ),
    )
