"""What a phone signs: whether a signature for one thing could pass for another; and what pages make of rights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cardservice.errors import ApiProblem
from cardservice.phone.models import PhoneCard
from cardservice.phone.opens import _current, accepted
from cardservice.phone.pages import asset_url, assets, version, worker_script
from cardservice.phone.proof import WINDOW_MS, bind_message, check_proof, contact_message, read_bytes
from cardservice.phone.words import STATES, page_words
from entitlements.credential.encoding import b64url_encode
from entitlements.credential.es256 import compress, generate_private_key, sign_message
from entitlements.credential.live import live_message
from entitlements.model import CardState
from entitlements.profile import Segment, Verdict
from tests.support.documents import changed

KEY = generate_private_key()
POINT = compress(KEY.public_key())
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
links = st.text(max_size=40)
points = st.binary(min_size=33, max_size=33)
ids = st.binary(min_size=8, max_size=8)
tenants = st.from_regex(r"[a-z][a-z0-9-]{1,15}", fullmatch=True)
times = st.integers(0, 2**53 - 1)


@given(links, points, tenants, ids, times, st.binary(max_size=120))
def test_no_signature_of_a_phone_is_good_for_two_things(
    link: str, point: bytes, tenant: str, card: bytes, at: int, cwt: bytes
) -> None:
    messages = {bind_message(link, point, at), contact_message(tenant, card, at), live_message(cwt, at)}
    assert len(messages) == 3


@given(st.tuples(tenants, ids, times), st.tuples(tenants, ids, times))
def test_no_two_requests_are_one_message(one: tuple[str, bytes, int], other: tuple[str, bytes, int]) -> None:
    assume(one != other)
    assert contact_message(*one) != contact_message(*other)


@given(st.integers(-3 * WINDOW_MS, 3 * WINDOW_MS))
def test_a_signed_time_is_good_about_now_and_at_no_other_time(off: int) -> None:
    at = NOW_MS + off
    message = contact_message("wcc", bytes(8), at)
    signature = sign_message(KEY, message)
    if abs(off) <= WINDOW_MS:
        check_proof(POINT, message, signature, at, NOW)
    else:
        with pytest.raises(ApiProblem, match="proof_out_of_time"):
            check_proof(POINT, message, signature, at, NOW)


@given(st.binary(min_size=64, max_size=64), points)
def test_what_is_no_signature_or_no_key_is_refused_and_breaks_nothing(signature: bytes, point: bytes) -> None:
    message = bind_message("link", point, NOW_MS)
    with pytest.raises(ApiProblem) as refused:
        check_proof(point, message, signature, NOW_MS, NOW)
    assert refused.value.status in (401, 422)


@given(st.one_of(st.text(max_size=60), st.binary(max_size=40).map(lambda data: b64url_encode(data).decode())))
def test_only_canonical_base64url_of_the_right_length_is_read(text: str) -> None:
    refused = None
    try:
        data = read_bytes(text, 33, "public_key")
    except ApiProblem as problem:
        refused, data = problem.status, b""
    assert (refused, b64url_encode(data).decode(), len(data)) in {(422, "", 0), (None, text, 33)}


OPEN, UNKNOWN = Verdict.ELIGIBLE, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([], None),
        ([(None, None, UNKNOWN)], None),
        ([(None, 100, OPEN)], None),
        ([(None, None, OPEN)], (None, None)),
        ([(None, 100, OPEN), (300, 400, OPEN)], (300, 400)),
        ([(None, 200, OPEN), (200, 300, OPEN), (300, None, UNKNOWN)], (None, 300)),
        ([(None, 200, OPEN), (250, None, OPEN)], (None, 200)),
        ([(50, 200, OPEN), (200, None, OPEN)], (50, None)),
    ],
)
def test_a_right_is_told_until_it_ends_and_not_until_its_price_changes(
    segments: list[tuple[Any, Any, Verdict]], expected: tuple[Any, Any] | None
) -> None:
    found = _current([Segment(*each) for each in segments], 150)
    assert (None if found is None else (found[0].start, found[1])) == expected


def test_what_a_service_takes_is_told_as_gates_take_it() -> None:
    asked = {"presentation": ["live", "chip"]}
    assert accepted(changed("gym-offpeak", lambda value: value.pop("requires", None))) == {"static", "live"}
    assert accepted(changed("gym-offpeak", lambda value: value.update(requires=[asked]))) == {"live", "chip"}


def test_every_state_of_a_card_has_words_on_the_page_without_javascript() -> None:
    assert set(STATES) == set(CardState) - {CardState.ACTIVE}
    card = PhoneCard(
        tenant="wcc", council="Westminster", holder="Juniper", card_id="AAAAAAAAAAA", state="active",
        expires_at=int(datetime(2026, 12, 31, tzinfo=UTC).timestamp()), timezone="Europe/London",
        colour="#1d4d6d", on_colour="#ffffff", cwt=None, opens=[],
    )  # fmt: skip
    for hours, told in ((0, "1:00pm on 1 June 2026"), (11, "12:00am on 2 June 2026"), (-1, "12:00pm on 1 June 2026")):
        assert page_words(card, NOW + timedelta(hours=hours)).checked == told
    assert page_words(card, NOW).ends == "30 December 2026"  # the first second after it is no day of the card


def test_both_pages_say_the_same_of_a_card_that_cannot_be_used() -> None:
    script = assets()["words.js"][0].decode()
    for heading, advice in STATES.values():
        assert f'"{heading}"' in script
        assert f'"{advice}"' in script


def test_the_worker_keeps_every_file_that_the_page_needs_and_changes_with_them() -> None:
    script = worker_script()
    for name in ("card.js", "card.css", "govuk.css", "lean-qr.js", "base45.js", "views.js"):
        assert asset_url(name) in script
    assert version() in script
    with pytest.raises(KeyError):
        asset_url("worker.js")
