"""The display speaks kindly: no resident reads their benefit, debt, fine or disability out to the queue."""

from __future__ import annotations

import re

import pytest

from entitlements.durations import parse_instant
from entitlements.model import Decision, Outcome, Reason, Step, deciding_step
from entitlements.sentences import describe, opening

LONDON = "Europe/London"
AT = parse_instant("2026-11-23T08:00:00Z")
PRIVATE = re.compile(
    r"benefit|credit|debt|\bowe|fine\b|fined|fines|overdue|disab|evidence|care\b|plan\b|balance|money|afford|suspended|"
    r"revoked|lost|stolen|crime|limit|universal|induction|library",
    re.IGNORECASE,
)
REASONS = [*Reason, "needs_universal-credit-check", "library_blocked", "debtors_check_unavailable"]


@pytest.mark.parametrize("reason", REASONS)
def test_the_public_sentence_shames_nobody(reason: str) -> None:
    said = describe(Decision(outcome=Outcome.DENY, reason=reason), at=AT, timezone=LONDON)
    assert not PRIVATE.search(said.public + " " + said.next_step)
    assert said.public.endswith(".")


@pytest.mark.parametrize(
    "reason", [reason for reason in REASONS if reason not in ("ok", "repeat_scan", "outside_hours")]
)
def test_everybody_refused_is_told_what_to_do_next(reason: str) -> None:
    said = describe(Decision(outcome=Outcome.DENY, reason=reason), at=AT, timezone=LONDON)
    assert said.next_step
    assert said.staff


def test_staff_are_told_more_than_the_queue() -> None:
    said = describe(Decision(outcome=Outcome.DENY, reason="needs_open-plus-induction"), at=AT, timezone=LONDON)
    assert "open-plus-induction" in said.staff
    assert "open-plus-induction" not in said.public


@pytest.mark.parametrize(
    ("opens_at", "words"),
    [
        ("2026-11-23T19:15:00Z", "Opens today at 19:15"),
        ("2026-11-24T07:00:00Z", "Opens Tuesday at 07:00"),
        ("2026-11-29T07:00:00Z", "Opens Sunday at 07:00"),
        ("2026-11-30T07:00:00Z", "Opens Monday 30 November at 07:00"),
        ("2027-06-01T07:00:00Z", "Opens Tuesday 1 June 2027 at 08:00"),
    ],
)
def test_the_opening_time_is_said_in_local_words(opens_at: str, words: str) -> None:
    assert opening(parse_instant(opens_at), at=AT, timezone=LONDON) == words
    shut = Decision(outcome=Outcome.DENY, reason=Reason.OUTSIDE_HOURS, opens_at=parse_instant(opens_at))
    assert describe(shut, at=AT, timezone=LONDON).next_step == words


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("card_lost", Step.CARD_STATE),
        ("clock_untrusted", Step.FRESHNESS),
        ("needs_tour", Step.REQUIRES),
        ("library_blocked", Step.REQUIRES),
        ("blocked", Step.BLOCK),
        ("full", Step.LIMITS),
        ("ok", Step.LIMITS),
    ],
)
def test_staff_can_see_the_step_that_decided(reason: str, step: Step) -> None:
    assert deciding_step(reason) is step
