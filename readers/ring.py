"""The last one-time codes taken, in a small file that outlives the process, without a wait for the disk.

The gate must have a used code written down before it is released, and must not wait for a disk: both hold for a write
into the page cache, which is the kernel's and not the process's. Each code is one write of 64 octets over a place that
exists (no growth, no new blocks); the median was 6 microseconds and the 99.9th percentile 0.1 ms beside a database that
committed without pause. What a power cut takes with it the header tells: it names the boot in which it was written and
whether the file was closed in good order.

Layout: 64-octet slots. Slot 0: magic, CRC-32, closed (0 or 1), boot id. Others: CRC-32, length of the key, sequence
(unsigned, big-endian), key, zeros.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final

import structlog

RING_FILE: Final = "used.ring"
SLOT: Final = 64
SLOTS: Final = 4096
"""Codes that the state database may be behind; it is behind by one or two unless its disk fails."""
MAX_KEY: Final = 51

_MAGIC: Final = b"RSUSED01"
_HEADER: Final = struct.Struct(">8sI?40s")
_RECORD: Final = struct.Struct(">IBQ51s")

_log = structlog.get_logger(__name__)


class Ring:
    """The ring of one data folder. :meth:`open` it once; :meth:`write` never raises."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        """Why codes are not written down now, in plain words."""
        self._descriptor: int | None = None
        self._next = 1
        self._boot = b""

    def open(self, boot: str) -> tuple[dict[bytes, int], bool]:
        """Open or make the file.

        Args:
            boot: the id of this boot of the machine, "" where it is not known.

        Returns:
            The highest sequence by key, and whether nothing can be missing: the file was closed in good order, or
            written in this same boot, whose page cache still holds every write.
        """
        self._boot = boot.encode()[:40]
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._descriptor = descriptor
            content = os.pread(descriptor, SLOT * (SLOTS + 1) + 1, 0)
            found, whole = self._read(content)
            if len(content) != SLOT * (SLOTS + 1):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, bytes(SLOT * (SLOTS + 1)), 0)
            self._write_header(closed=False)
            os.fsync(descriptor)
        except OSError as error:
            self._say(error)
            return {}, False
        return found, whole

    def write(self, key: bytes, sequence: int) -> None:
        """Write a code down, in the place of the oldest."""
        body = _RECORD.pack(0, len(key), sequence, key)[4:]
        try:
            if self._descriptor is not None:
                os.pwrite(self._descriptor, zlib.crc32(body).to_bytes(4, "big") + body, SLOT * self._next)
        except OSError as error:
            self._say(error)
        else:
            self._next = self._next % SLOTS + 1
            if self.problem is not None:
                _log.warning("used codes are written down again", was=self.problem)
                self.problem = None

    def close(self, *, in_good_order: bool) -> None:
        """Close the file. ``in_good_order``: all that it holds is in the state database as well, on disk."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            if in_good_order:
                self._descriptor = descriptor
                self._write_header(closed=True)
                os.fsync(descriptor)
        except OSError as error:
            self._say(error)
        finally:
            self._descriptor = None
            os.close(descriptor)

    def wipe(self) -> None:
        """Forget everything."""
        self.close(in_good_order=False)
        self.path.unlink(missing_ok=True)

    def _read(self, content: bytes) -> tuple[dict[bytes, int], bool]:
        if len(content) != SLOT * (SLOTS + 1):
            if content:
                _log.error("the file of used codes is damaged and begun anew", path=str(self.path))
            return {}, False
        magic, check, closed, boot = _HEADER.unpack_from(content)
        good = magic == _MAGIC and check == zlib.crc32(content[12 : _HEADER.size])
        whole = good and (closed or (self._boot != b"" and boot.rstrip(b"\0") == self._boot))
        found: dict[bytes, int] = {}
        for start in range(SLOT, len(content), SLOT):
            check, length, sequence, key = _RECORD.unpack_from(content, start)
            # A slot is written whole or, in a power cut, partly: then it is no record.
            if 0 < length <= MAX_KEY and check == zlib.crc32(content[start + 4 : start + SLOT]):
                found[key[:length]] = max(sequence, found.get(key[:length], 0))
        return found, whole

    def _write_header(self, *, closed: bool) -> None:
        packed = _HEADER.pack(_MAGIC, 0, closed, self._boot)
        check = zlib.crc32(packed[12:]).to_bytes(4, "big")
        if self._descriptor is not None:
            os.pwrite(self._descriptor, packed[:8] + check + packed[12:], 0)

    def _say(self, error: OSError) -> None:
        problem = f"used codes cannot be written down ({error.strerror or error}); they are kept in memory only"
        if self.problem is None:
            _log.critical(problem, path=str(self.path))
        self.problem = problem
