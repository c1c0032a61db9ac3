"""A quota over the whole grant counts from where the right began without a break, however often its price changed."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.decide import State, Subject, decide
from entitlements.model import CardState, Instant
from entitlements.profile import Horizon, Segment, Verdict
from tests.unit.entitlements.rule_examples import compiled, moment, profile_of

LONDON = ZoneInfo("Europe/London")
TODAY = date(2027, 3, 1)
"""The horizon's first day."""
BANDS = ("low", "middle", "full")
SERVICE = compiled(
    who={"member_of": "club"},
    price=[
        {"band": "low", "pence": 1, "when": {"evidence": "low"}},
        {"band": "middle", "pence": 2, "when": {"evidence": "middle"}},
        {"band": "full", "pence": 3, "when": True},
    ],
    limits=[{"quota": {"id": "q", "period": "grant", "max": 5}}],
)
DAYS = range(-12, 6)
"""Days round the horizon's first on which facts change; it ends with the last of them."""


def _midnight(offset: int) -> Instant:
    day = TODAY + timedelta(days=offset)
    return Instant(int(datetime(day.year, day.month, day.day, tzinfo=LONDON).timestamp()))


SPAN = Horizon(start=_midnight(0), end=_midnight(DAYS.stop))


def _facts(held: list[str | None]) -> dict[str, Any]:
    """Facts of somebody who pays that band on each of :data:`DAYS`, where ``None`` is a day without the right."""
    facts: dict[str, Any] = {"member_of": {"club": []}, "evidence": {"low": [], "middle": []}}
    for offset, band in zip(DAYS, held, strict=True):
        day = (TODAY + timedelta(days=offset)).isoformat()
        span = {"from": day, "until": day}
        if band is not None:
            facts["member_of"]["club"].append(span)
        if band in facts["evidence"]:
            facts["evidence"][band].append(span)
    return facts


def _runs(held: list[str | None]) -> list[Segment]:
    """The same days read one by one: a segment for each stretch of one band, those before the last break left out."""
    found: list[Segment] = []
    for band, days in itertools.groupby(zip(DAYS, held, strict=True), key=lambda pair: pair[1]):
        stretch = [offset for offset, _ in days]
        if band is None:
            if stretch[0] <= 0:
                found.clear()  # what came before this break has ended by today
            continue
        until = None if stretch[-1] + 1 == DAYS.stop else _midnight(stretch[-1] + 1)
        pence = BANDS.index(band) + 1
        found.append(Segment(_midnight(stretch[0]), until, Verdict.ELIGIBLE, band, pence))
    return found


@settings(max_examples=150, deadline=None)
@given(held=st.lists(st.sampled_from([*BANDS, *BANDS, None]), min_size=len(DAYS), max_size=len(DAYS)))
def test_a_profile_reaches_back_to_the_last_break_before_today_and_no_further(held: list[str | None]) -> None:
    assert list(profile_of(SERVICE, SPAN, **_facts(held)).segments(SERVICE.id)) == _runs(held)


class Book:
    """A ledger that remembers since when it was asked to count."""

    def __init__(self) -> None:
        self.since: list[Instant | None] = []

    def used(self, account: str, key: str, since: Instant | None, until: Instant | None) -> int:
        self.since.append(since)
        return 0


def test_visits_under_an_older_price_still_count_against_the_grant_after_four_changes() -> None:
    stretches: list[tuple[str | None, int]] = [
        *(("full", 2), (None, 1)),
        *(("low", 2), ("middle", 2), ("full", 1), ("low", 3), ("middle", 7)),
    ]
    held = [band for band, length in stretches for _ in range(length)]
    profile = profile_of(SERVICE, SPAN, **_facts(held))
    segments = profile.segments(SERVICE.id)
    assert [segment.band for segment in segments] == ["low", "middle", "full", "low", "middle"]
    assert segments[0].start == _midnight(-9)
    book = Book()
    subject = Subject(card=CardState.ACTIVE, profile=profile, keys={"person": "p1"})
    assert decide(SERVICE, subject, moment(SPAN.start), state=State(ledger=book)).reason == "ok"
    assert book.since == [_midnight(-9)]
