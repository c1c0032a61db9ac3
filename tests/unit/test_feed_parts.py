"""Parts in pieces: whatever ranges a reader asks for, it gets those bytes, or is told why not."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from cardservice.errors import ApiProblem
from cardservice.feed.parts import part_response

OCTETS = bytes(range(256))
DIGEST = "ab" * 32


def _get(**headers: str) -> tuple[int, bytes]:
    request = make_mocked_request("GET", "/", headers=headers)
    response = part_response(request, DIGEST, OCTETS)
    return response.status, bytes(response.body or b"")  # type: ignore[arg-type]


@given(st.integers(0, 255), st.integers(0, 400))
def test_a_range_gives_exactly_its_bytes(first: int, more: int) -> None:
    assert _get(Range=f"bytes={first}-{first + more}") == (206, OCTETS[first : first + more + 1])
    assert _get(Range=f"bytes={first}-") == (206, OCTETS[first:])
    assert _get(Range=f"bytes=-{first + 1}") == (206, OCTETS[-first - 1 :])


@given(st.integers(256, 10_000))
def test_a_range_beyond_the_end_is_refused_with_the_size(first: int) -> None:
    with pytest.raises(ApiProblem) as refused:
        _get(Range=f"bytes={first}-")
    assert (refused.value.status, refused.value.headers) == (416, {"Content-Range": "bytes */256"})


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30))
def test_what_is_no_single_range_gets_the_whole_part(text: str) -> None:
    assert _get(Range=f"lines={text}") == (200, OCTETS)
    assert _get(Range="bytes=0-1,4-5") == (200, OCTETS)
    assert _get(Range="bytes=-") == (200, OCTETS)
