"""Parts of snapshots that come packed: a gate keeps exactly what was signed, or says why not and keeps what it had."""

from __future__ import annotations

import hashlib
import sys
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.wire.feed import Content, Part
from readers.errors import SnapshotRefusedError
from readers.parts import unpack

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def content(octets: bytes) -> Content:
    return Content(sha256=hashlib.sha256(octets).hexdigest(), size=len(octets))


def part(sent: bytes, octets: bytes) -> Part:
    named = content(sent)
    return Part(sha256=named.sha256, size=named.size, zstd=content(octets))


@given(st.binary(max_size=2000), st.integers(0, 2000), st.integers(1, 9))
def test_what_comes_out_is_what_was_signed(piece: bytes, times: int, level: int) -> None:
    octets = piece * times
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.part"
        sent = zstd.compress(octets, level)
        path.write_bytes(sent)
        unpack("wcc/leisure", part(sent, octets), path)
        assert path.read_bytes() == octets
        plain = Part(sha256=content(octets).sha256, size=len(octets))
        unpack("wcc/leisure", plain, path)
        assert path.read_bytes() == octets, "a part that was not packed is left as it is"


OCTETS = bytes(range(256)) * 50
SENT = zstd.compress(OCTETS)


@pytest.mark.parametrize(
    ("sent", "named", "because"),
    [
        pytest.param(SENT[:-5], OCTETS, "middle of its frame", id="broken off"),
        pytest.param(b"", OCTETS, "middle of its frame", id="empty"),
        pytest.param(SENT + b"x", OCTETS, "after its frame", id="with something behind"),
        pytest.param(SENT + SENT, OCTETS, "after its frame", id="twice"),
        pytest.param(b"no frame at all", OCTETS, "cannot be unpacked", id="something else"),
        pytest.param(zstd.compress(OCTETS[:-1]), OCTETS, "something else", id="shorter"),
        pytest.param(zstd.compress(OCTETS[::-1]), OCTETS, "something else", id="other octets"),
        pytest.param(SENT, b"", "something else", id="named empty"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, sent: bytes, named: bytes, because: str) -> None:
    path = tmp_path / "meta.part"
    path.write_bytes(sent)
    with pytest.raises(SnapshotRefusedError, match=because):
        unpack("wcc/leisure", part(sent, named), path)


def test_a_bomb_fills_neither_memory_nor_disk(tmp_path: Path) -> None:
    path = tmp_path / "rows.part"
    sent = zstd.compress(bytes(300 << 20))
    path.write_bytes(sent)
    tracemalloc.start()
    with pytest.raises(SnapshotRefusedError):
        unpack("wcc/leisure", part(sent, b"x"), path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 4 << 20


def test_a_frame_that_asks_for_more_memory_than_decoders_give_is_refused(tmp_path: Path) -> None:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    sent = packer.compress(OCTETS) + packer.flush()  # in a stream the size is not known, so the window is as asked for
    path = tmp_path / "rows.part"
    path.write_bytes(sent)
    with pytest.raises(SnapshotRefusedError, match="cannot be unpacked"):
        unpack("wcc/leisure", part(sent, OCTETS), path)
