"""Services that count, holders by opaque keys, and changes of the state behind limits."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from entitlements.wire.feed import AnyChange, ServiceEntry
from entitlements.wire.state import (
    Booking,
    BookingChange,
    Holder,
    HolderChange,
    Loan,
    LoanChange,
    StateSnapshot,
    Units,
    UnitsChange,
    Upstream,
    UpstreamChange,
)
from tests.unit.readers.kit.council import GYM, NOON, Card, Council, profile_for

SWIM = "wcc.leisure.swim"
HOUR = 3600
_numbers = itertools.count()


def document(name: str = SWIM, **members: Any) -> dict[str, Any]:
    """A service at the site without presence rules, and what the test adds."""
    plain = {key: GYM[key] for key in ("schema", "tenant", "who", "where")}
    return {**plain, "id": name, "kind": "access", "title": "Swim", "offline": {"max_stale": "P7D"}, **members}


def swims(most: int = 2, *, scope: str = "person", lease: int | None = 1, **members: Any) -> dict[str, Any]:
    """A service of so many visits in a week."""
    quota = {"id": "swims", "unit": "visit", "period": "week", "max": most, "scope": scope}
    offline = {"max_stale": "P7D"} | ({} if lease is None else {"lease": {"swims": lease}})
    return document(limits=[{"quota": quota}], offline=offline, **members)


def council_with(*documents: dict[str, Any], **members: Any) -> Council:
    """A council whose first profile opens all these services; the second opens none."""
    council = Council(services=[ServiceEntry(version=1, document=text) for text in documents], **members)
    council.profiles[0] = profile_for(*(str(text["id"]) for text in documents))
    return council


def holder(council: Council, card: Card, *, in_snapshot: bool = False, **members: Any) -> Holder:
    """Tell the holder of a card: ``person`` by default, or the keys that the test gives."""
    members.setdefault("keys", {"person": f"person-{card.claims.index}"})
    made = Holder(index=card.claims.index, **members)
    if in_snapshot:
        council.state = msgspec.structs.replace(council.state, holders=[*council.state.holders, made])
    else:
        change(council, HolderChange, holder=made)
    return made


def change(council: Council, kind: Any, **members: Any) -> AnyChange:
    """The council's next change, of this kind."""
    return council.add(lambda n: kind(n=n, tn=council.issue_number, at=council.now * 1000, **members))


def units(council: Council, key: str, count: int = 1, *, at: int = NOON - HOUR, entry: str | None = None) -> AnyChange:
    """An entry of the ledger, of another site unless the test names the tap."""
    entry = f"entry-{next(_numbers)}" if entry is None else entry
    return change(council, UnitsChange, entry=Units(entry=entry, account="swims", key=key, at=at, units=count))


def booking(council: Council, key: str, start: int, end: int, name: str = "b-1", **members: Any) -> AnyChange:
    """A booking of ``room-1``."""
    made = Booking(booking=name, resource="room-1", key=key, start=start, end=end, **members)
    return change(council, BookingChange, booking=made)


def loan(council: Council, key: str, due: str, name: str = "l-1", **members: Any) -> AnyChange:
    """A loan out of ``tools``."""
    return change(council, LoanChange, loan=Loan(loan=name, pool="tools", key=key, due=due, **members))


def word(council: Council, key: str, *, at: int, not_blocked: bool | None) -> AnyChange:
    """What the library system says."""
    return change(council, UpstreamChange, upstream=Upstream(name="lms", key=key, at=at, not_blocked=not_blocked))


def full_state(count: int = 3) -> StateSnapshot:
    """Some of everything."""
    return StateSnapshot(
        holders=[Holder(index=n, keys={"person": f"p{n}"}, own={SWIM: {"permit": f"m{n}"}}) for n in range(count)],
        units=[Units(entry=f"e{n}", account="swims", key=f"p{n % 2}", at=NOON + n, units=n + 1) for n in range(count)],
        bookings=[
            Booking(booking=f"b{n}", resource="room-1", key="p0", start=NOON + n * HOUR, end=NOON + (n + 1) * HOUR)
            for n in range(count)
        ],
        loans=[Loan(loan=f"l{n}", pool="tools", key="p1", due=f"2026-06-{n + 1:02}") for n in range(count)],
        upstreams=[Upstream(name="lms", key=f"p{n}", at=NOON, not_blocked=bool(n % 2)) for n in range(count)],
    )
