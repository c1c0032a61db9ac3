"""Uploads of readers, whatever they hold: each item judged by itself, nothing passed on that cannot be kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cardservice.errors import ApiProblem
from cardservice.taps.judgement import MAX_AGE, MAX_AHEAD, card_bytes, judge, moment
from cardservice.taps.routes import read_batch
from entitlements.credential.encoding import b64url_encode
from entitlements.model import Outcome
from entitlements.wire.feed import encode
from entitlements.wire.taps import Passage, Tap

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)

plausible = st.integers(
    NOW_MS - int(MAX_AGE.total_seconds() * 1000) + 1, NOW_MS + int(MAX_AHEAD.total_seconds() * 1000)
)
printable = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), min_size=1)
words = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True)
effects = st.dictionaries(
    st.sampled_from(["account", "units", "key"]), st.none() | st.booleans() | st.integers(-9, 9), max_size=3
)
taps = st.builds(
    Tap,
    tap_id=st.uuids(),
    site=st.just("porchester"),
    lane=printable.map(lambda text: text[:64]),
    direction=st.sampled_from(["entry", "exit"]),
    at=plausible,
    outcome=st.sampled_from(Outcome),
    reason=words,
    media=words,
    online=st.booleans(),
    clock_trusted=st.booleans(),
    clock_offset_ms=st.integers(-(10**9), 10**9),
    card_tenant=st.none() | st.sampled_from(["wcc", "rbkc"]),
    card=st.none() | st.binary(min_size=8, max_size=8).map(lambda data: b64url_encode(data).decode()),
    service=st.none() | printable.map(lambda text: text[:128]),
    service_version=st.none() | st.integers(0, 2**31 - 1),
    band=st.none() | printable.map(lambda text: text[:64]),
    pence=st.none() | st.integers(-(2**31) + 1, 2**31 - 1),
    effects=st.lists(effects, max_size=4),
    feed=st.none() | printable.map(lambda text: text[:96]),
    feed_number=st.none() | st.integers(0, 2**63 - 1),
    detail=st.none() | printable.map(lambda text: text[:1000]),
)
passages = st.builds(Passage, tap_id=st.uuids(), result=st.sampled_from(["passed", "timed_out", "fault"]), at=plausible)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=8,
)


@given(taps | passages)
def test_whatever_a_gate_may_honestly_report_is_taken_unchanged(item: Tap | Passage) -> None:
    assert judge(msgspec.Raw(encode(item)), site="porchester", now=NOW) == item
    assert moment(item.at).timestamp() * 1000 == item.at or moment(item.at) == datetime.fromtimestamp(
        0, UTC
    ) + timedelta(milliseconds=item.at)


@given(taps, st.sampled_from(sorted(Tap.__struct_fields__)), anything)
def test_one_value_replaced_by_anything_gives_a_tap_that_can_be_kept_or_a_sentence(
    tap: Tap, name: str, value: Any
) -> None:
    body = json.loads(encode(tap)) | {name: value}
    judged = judge(msgspec.Raw(json.dumps(body).encode()), site="porchester", now=NOW)
    if isinstance(judged, str):
        assert judged.endswith(".")
        return
    assert isinstance(judged, Tap)
    kept = msgspec.json.encode(judged)
    assert b"\\u0000" not in kept
    assert judged.site == "porchester"
    assert abs(moment(judged.at) - NOW) <= MAX_AGE
    assert judged.card is None or len(card_bytes(judged.card)) == 8
    assert abs(judged.pence or 0) < 2**31
    assert 0 <= (judged.service_version or 0) < 2**31
    assert 0 <= (judged.feed_number or 0) < 2**63


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
def test_bytes_of_any_kind_are_a_batch_or_refused_as_one(body: bytes) -> None:
    try:
        batch = read_batch(body, "application/json")
        status, items = 200, batch.items
    except ApiProblem as problem:
        status, items = problem.status, []
    assert status in (200, 400, 422)
    for item in items:
        assert isinstance(judge(item, site="porchester", now=NOW), Tap | Passage | str)


@given(st.lists(anything, max_size=8), st.integers(0, 8), taps)
def test_a_good_tap_among_anything_is_found_at_its_place(items: list[Any], place: int, tap: Tap) -> None:
    raw = [json.dumps(item).encode() for item in items]
    place = min(place, len(raw))
    raw.insert(place, encode(tap))
    batch = read_batch(b'{"items":[' + b",".join(raw) + b"]}", "application/json")
    judged = [judge(item, site="porchester", now=NOW) for item in batch.items]
    assert judged[place] == tap
    assert len(judged) == len(items) + 1


def test_a_tap_of_a_year_ago_and_one_of_the_day_after_tomorrow_are_told_apart_from_late_ones() -> None:
    for late, taken in ((MAX_AGE, True), (MAX_AGE + timedelta(seconds=1), False)):
        item = Passage(tap_id=uuid4(), result="passed", at=int((NOW - late).timestamp() * 1000))
        assert isinstance(judge(msgspec.Raw(encode(item)), site="x", now=NOW), Passage) is taken
    for ahead, taken in ((MAX_AHEAD, True), (MAX_AHEAD + timedelta(seconds=1), False)):
        item = Passage(tap_id=uuid4(), result="passed", at=int((NOW + ahead).timestamp() * 1000))
        assert isinstance(judge(msgspec.Raw(encode(item)), site="x", now=NOW), Passage) is taken
