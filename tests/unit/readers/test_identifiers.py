"""Tap ids: two taps must never share one, and they must sort by time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from readers.identifiers import TapIds


@given(st.lists(st.integers(0, 2**48 - 2), min_size=1, max_size=50))
def test_ids_increase_whatever_the_clock_does_and_are_of_version_seven(instants: list[int]) -> None:
    ids = TapIds()
    made = [ids.make(at) for at in instants]
    assert made == sorted(set(made))
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}
    assert made[0].int >> 80 == instants[0]
