"""What the outbox took a moment ago and its database does not have yet, in a small file that outlives the process.

The lane shows a decision and goes on; the database commits it a few milliseconds later, in its own thread. A process
killed in between would lose what somebody has already seen. So each item is first jotted down: one write of its octets
over a place that exists (no growth, no new blocks, no fsync) into the page cache, which is the kernel's and not the
process's. It survives the process, not a power cut: for that there is the database.

Layout: slots of 2,048 octets, item ``number`` in slot ``number % 512``. A slot: CRC-32, length of the body, number
(unsigned, big-endian), body, then whatever stood there before.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final

import structlog

JOTTER_FILE: Final = "outbox.ring"
SLOT: Final = 2048
"""Octets; a tap has some 700. One that does not fit waits for the database alone."""
SLOTS: Final = 512
"""Items that the database may be behind; it is behind by a few unless its disk fails."""

_HEAD: Final = struct.Struct(">IHQ")
_CHECKED: Final = 4
"""The CRC covers everything behind itself."""

_log = structlog.get_logger(__name__)


class Jotter:
    """The file of one outbox. :meth:`open` it once; :meth:`write` never raises."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        """Why items are not jotted down now, in plain words."""
        self._descriptor: int | None = None

    def open(self) -> dict[int, bytes]:
        """Open or make the file; gives what it holds by number. A damaged slot holds nothing."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._descriptor = descriptor
            content = os.pread(descriptor, SLOT * SLOTS + 1, 0)
            found = dict(_read_slots(content))
            if len(content) != SLOT * SLOTS:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, bytes(SLOT * SLOTS), 0)
                for number, body in found.items():
                    self.write(number, body)
                os.fsync(descriptor)
        except OSError as error:
            self._say(error)
            return {}
        return found

    def write(self, number: int, body: bytes) -> None:
        """Jot an item down, in the place of the one 512 before it."""
        if self._descriptor is None or len(body) > SLOT - _HEAD.size:
            return
        octets = _HEAD.pack(0, len(body), number)[_CHECKED:] + body
        try:
            octets = zlib.crc32(octets).to_bytes(_CHECKED, "big") + octets
            os.pwrite(self._descriptor, octets, number % SLOTS * SLOT)
        except OSError as error:
            self._say(error)
        else:
            if self.problem is not None:
                _log.warning("taps are jotted down again", was=self.problem)
                self.problem = None

    def close(self) -> None:
        """Close the file; nothing is written after it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _say(self, error: OSError) -> None:
        problem = f"taps cannot be jotted down ({error.strerror or error}); a kill may cost the last ones"
        if self.problem is None:
            _log.error(problem, path=str(self.path))
        self.problem = problem


def _read_slots(content: bytes) -> list[tuple[int, bytes]]:
    found = []
    for start in range(0, len(content) - _HEAD.size + 1, SLOT):
        check, length, number = _HEAD.unpack_from(content, start)
        end = start + _HEAD.size + length
        whole = 0 < length <= SLOT - _HEAD.size and end <= len(content)
        if whole and check == zlib.crc32(content[start + _CHECKED : end]) and number % SLOTS == start // SLOT:
            found.append((number, content[start + _HEAD.size : end]))
    return found
