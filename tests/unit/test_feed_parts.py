"""Parts in pieces: whatever ranges a reader asks for, it gets those bytes, or is told why not."""

from __future__ import annotations

from contextlib import suppress

import pytest
from aiohttp.abc import AbstractStreamWriter
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from cardservice.errors import ApiProblem
from cardservice.feed.parts import PIECE, PartBody, part_response
from cardservice.feed.ranges import asked_range
from cardservice.feed.shelf import SharedPart

OCTETS = bytes(range(256))
DIGEST = "ab" * 32
PART = SharedPart(OCTETS)
MANY_DIGITS = 5_000
"""More than Python reads as a number (4,300), and less than a header may have."""


class Paper(AbstractStreamWriter):
    """Keeps what is written to it, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(chunk))

    async def write_eof(self, chunk: bytes = b"") -> None: ...
    async def drain(self) -> None: ...
    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None: ...
    def enable_chunking(self) -> None: ...
    async def write_headers(self, status_line: str, headers: object) -> None: ...


async def _get(**headers: str) -> tuple[int, bytes]:
    response = part_response(make_mocked_request("GET", "/", headers=headers), DIGEST, PART)
    paper = Paper()
    if response.body is not None:
        assert isinstance(response.body, PartBody)
        await response.body.write(paper)
    return response.status, b"".join(paper.pieces)


@given(st.integers(0, 255), st.integers(0, 400))
async def test_a_range_gives_exactly_its_bytes(first: int, more: int) -> None:
    assert await _get(Range=f"bytes={first}-{first + more}") == (206, OCTETS[first : first + more + 1])
    assert await _get(Range=f"bytes={first}-") == (206, OCTETS[first:])
    assert await _get(Range=f"bytes=-{first + 1}") == (206, OCTETS[-first - 1 :])


@given(st.integers(256, 10_000))
async def test_a_range_beyond_the_end_is_refused_with_the_size(first: int) -> None:
    with pytest.raises(ApiProblem) as refused:
        await _get(Range=f"bytes={first}-")
    assert (refused.value.status, refused.value.headers) == (416, {"Content-Range": "bytes */256"})


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30))
async def test_what_is_no_single_range_gets_the_whole_part(text: str) -> None:
    assert await _get(Range=f"lines={text}") == (200, OCTETS)
    for given_range in ("bytes=0-1,4-5", "bytes=-", "bytes=5-2", "bytes = 0-1", "bytes=\u0663-\u0664"):
        assert await _get(Range=given_range) == (200, OCTETS), given_range


async def test_who_has_the_part_is_not_sent_it_again() -> None:
    for known in (f'"{DIGEST}"', f'"x", W/"{DIGEST}"', "*"):
        assert await _get(**{"If-None-Match": known}) == (304, b"")
    assert await _get(**{"If-Range": '"other"', "Range": "bytes=999-"}) == (200, OCTETS)


NUMBERS = st.one_of(
    st.integers(0, 300),
    st.integers(0, 10**30),
    st.integers(MANY_DIGITS - 2, MANY_DIGITS).map(lambda digits: "9" * digits),
    st.integers(0, 300).map(lambda number: f"{number:0{MANY_DIGITS}}"),
).map(str)


def _as_number(digits: str) -> int:
    """Whatever length: as int() without its bound, for the digits of these tests."""
    significant = digits.lstrip("0") or "0"
    return int(significant) if len(significant) < 4_000 else 10 ** len(significant) - 1


@given(NUMBERS, st.one_of(st.just(""), NUMBERS), st.integers(0, 300))
def test_a_range_of_any_length_is_served_ignored_or_refused_and_never_a_fault(first: str, last: str, size: int) -> None:
    begin, end = _as_number(first), _as_number(last) if last else size - 1
    if last and end < begin:
        assert asked_range(f"bytes={first}-{last}", size) is None, "the other way round: RFC 9110 section 14.1.1"
    elif begin >= size:
        with pytest.raises(ApiProblem) as refused:
            asked_range(f"bytes={first}-{last}", size)
        assert refused.value.status == 416
    else:
        assert asked_range(f"bytes={first}-{last}", size) == (begin, min(end, size - 1))


@given(NUMBERS, st.integers(1, 300))
def test_the_last_octets_are_as_many_as_were_asked_for_or_all(suffix: str, size: int) -> None:
    wanted = min(_as_number(suffix), size)
    if wanted:
        assert asked_range(f"Bytes=-{suffix}", size) == (size - wanted, size - 1)
    else:
        with pytest.raises(ApiProblem):
            asked_range(f"Bytes=-{suffix}", size)


@given(st.text(max_size=60))
def test_no_header_whatever_it_says_is_a_fault(text: str) -> None:
    for header in (text, f"bytes={text}"):
        with suppress(ApiProblem):
            found = asked_range(header, 100)
            assert found is None or 0 <= found[0] <= found[1] < 100


async def test_a_part_is_written_in_pieces_and_copied_by_nobody() -> None:
    part = SharedPart(bytes(PIECE) + b"the end")
    body, paper = PartBody(part, 1, PIECE + 4), Paper()
    await body.write(paper)
    assert body.size == PIECE + 3
    assert [len(piece) for piece in paper.pieces] == [PIECE, 3]
    assert b"".join(paper.pieces) == part.octets[1 : PIECE + 4]
