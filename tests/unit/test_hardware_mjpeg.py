"""The MJPEG parser: a gate that stops seeing codes because a camera cuts its octets oddly is a closed gate."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.errors import BadStreamError
from hardware.qr.mjpeg import MAX_BAD_PARTS, MAX_HEADER, MjpegParser

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cam\r\n\r\n"
frames = st.binary(max_size=80).map(lambda body: b"\xff\xd8" + body.replace(b"--cam", b"").rstrip(b"\r"))


def part(frame: bytes, *, length: bool = True, newline: bytes = b"\r\n") -> bytes:
    declared = b"Content-Length: %d" % len(frame) + newline if length else b""
    return b"--cam" + newline + declared + b"X-Stamp: 1" + newline * 2 + frame + newline


def feed(stream: bytes, cuts: list[int], parser: MjpegParser) -> list[bytes]:
    found: list[bytes] = []
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    for start, end in pairwise(places):
        found += parser.feed(stream[start:end])
    return found


def chunked(stream: bytes, size: int) -> bytes:
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    return b"".join(b"%x;note\r\n" % len(piece) + piece + b"\r\n" for piece in pieces)


@given(st.lists(frames, max_size=6), st.booleans(), st.booleans(), st.lists(st.integers(0, 4000), max_size=20))
def test_every_frame_is_seen_however_the_stream_is_cut(
    sent: list[bytes], length: bool, unix: bool, cuts: list[int]
) -> None:
    newline = b"\n" if unix else b"\r\n"
    # The last part only ends with the delimiter of the one after it.
    stream = HEAD + b"".join(part(frame, length=length, newline=newline) for frame in sent) + b"--cam"
    assert feed(stream, cuts, MjpegParser()) == sent
    assert feed(stream, list(range(len(stream))), MjpegParser()) == sent


@given(st.lists(frames, max_size=5), st.integers(1, 50), st.lists(st.integers(0, 4000), max_size=20))
def test_a_chunked_stream_holds_the_same_frames(sent: list[bytes], size: int, cuts: list[int]) -> None:
    head = HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    stream = head + chunked(b"".join(part(frame) for frame in sent), size)
    assert feed(stream, cuts, MjpegParser()) == sent
    assert feed(stream, list(range(len(stream))), MjpegParser()) == sent


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([HEAD, b"--cam\r\n", b"\r\n\r\n", b"--cam--"]))))
def test_hostile_octets_end_in_the_declared_error_or_in_frames(pieces: list[bytes]) -> None:
    parser = MjpegParser(max_frame=64)
    # Any other exception fails the test.
    with contextlib.suppress(BadStreamError):
        for piece in [HEAD, *pieces]:
            for frame in parser.feed(piece):
                assert frame.startswith(b"\xff\xd8")
                assert len(frame) <= 64


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_a_peer_that_is_no_camera_ends_in_the_declared_error_or_in_nothing(octets: bytes, cuts: list[int]) -> None:
    with contextlib.suppress(BadStreamError):
        assert feed(octets, cuts, MjpegParser()) == []


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "status 401"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no HTTP/1 response"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", "not multipart"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "of no type"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=--\r\n\r\n", "boundary is empty"),
        (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "without a colon"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEADER, "header longer"),
        (HEAD + b"--cam\r\nContent-Length: 99999999999\r\n\r\n", "more than"),
        (HEAD + b"--cam\r\nContent-Length: -1\r\n\r\n", "no number"),
        (HEAD + b"--cam\r\nContent-Length: 1e3\r\n\r\n", "no number"),
        (HEAD + b"--cam\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "no number"),
        (HEAD + b"x" * (MAX_HEADER + 10), "no boundary"),
        (HEAD + b"--cam--\r\n", "ended"),
        (HEAD + b"--cam\r\n\r\n" + b"x" * 2000, "frame of more than 1000"),
        (HEAD + part(b"no picture") * (MAX_BAD_PARTS + 1), "without a JPEG"),
        (HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"zz\r\n", "no number"),
        (HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"0\r\n\r\n", "ended"),
        (HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"ffffffff\r\n", "a chunk of"),
        (HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"1;" + b"x" * 999, "not end"),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_stream_that_cannot_be_used_says_why(stream: bytes, problem: str, step: int) -> None:
    parser = MjpegParser(max_frame=1000)
    with pytest.raises(BadStreamError, match=problem):
        feed(stream, list(range(0, len(stream), step)), parser)


def test_a_frame_that_is_no_picture_does_not_stop_the_camera() -> None:
    good = b"\xff\xd8good"
    parser = MjpegParser()
    assert parser.feed(HEAD + part(b"broken") * 5 + part(good)) == [good]
    assert parser.feed(part(b"") + part(good)) == [good]
