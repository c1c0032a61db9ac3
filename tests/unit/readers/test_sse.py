"""Server-sent events: a change must be read whatever pieces it arrives in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readers.sse import MAX_EVENT, EventParser, ServerEvent

LINES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=30)


@given(
    events=st.lists(st.tuples(st.sampled_from(["change", "beat", "pull"]), LINES), max_size=8),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=30),
)
def test_events_are_the_same_however_the_octets_are_cut(
    events: list[tuple[str, str]], ends: str, cuts: list[int]
) -> None:
    text = "".join(f": note{ends}event: {name}{ends}id: 4{ends}data: {data}{ends}{ends}" for name, data in events)
    octets = (text + f": end{ends}").encode()
    parser, seen, position, turn = EventParser(), [], 0, 0
    while position < len(octets):
        size = cuts[turn % len(cuts)]
        seen += parser.feed(octets[position : position + size])
        position, turn = position + size, turn + 1
    assert seen == [ServerEvent(name, data.encode()) for name, data in events]


def test_data_of_several_lines_is_joined_and_an_event_without_data_is_none() -> None:
    assert EventParser().feed(b"data: a\ndata:b\n\nevent: beat\n\n") == [ServerEvent("message", b"a\nb")]


def test_a_message_without_end_does_not_fill_the_memory() -> None:
    parser = EventParser()
    for _ in range(MAX_EVENT // 65536):
        parser.feed(b"x" * 65536)
    with pytest.raises(ValueError, match="more than"):
        parser.feed(b"x")
