"""The clock a reader decides by: the service's time, carried on by this machine's steady clock.

The rule, in full:

* Corrected time is the service's time at the last good measurement plus what the steady clock (CLOCK_BOOTTIME, which
  also counts while the machine sleeps) counted since. The wall clock of the machine may be minutes wrong or be set
  meanwhile; it is not used while the machine stays up.
* Each reply of the service is a measurement: its time stands for the middle of the round trip, so it is wrong by at
  most half of that. A measurement replaces the anchor when it is at least as sure as the anchor has become, the anchor
  losing 200 millionths of its age (cheap quartz drifts by 20 to 100).
* Never measured since enrolment: the wall clock is shown and used, but not trusted.
* A measurement that differs from corrected time by more than 120 s is unexplained drift. It is taken, since requests
  must carry the service's time, but the clock is untrusted until the next measurement agrees with it.
* The wall clock and the steady clock drifting apart by more than 120 s since the anchor is unexplained drift too: one
  of them was tampered with or has stopped. The next measurement settles it.
* The anchor is kept on disk. A process that restarts on a machine that stayed up (same boot id) goes on as before.
  After a reboot without network the wall clock plus the kept offset is used. It is trusted if it is not before the last
  corrected time that was kept, at most 31 days after it, and the kept offset is below 120 s; a larger one means that
  this machine's wall clock is known to be wrong, and who can say whether somebody has set it since.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

MAX_DRIFT_MS: Final = 120_000
"""Unexplained drift that makes the clock untrusted (entitlements page: 120 s)."""
MAX_ABSENCE_MS: Final = 31 * 86_400_000
"""How far a clock without power or network is believed: a battery-backed clock drifts by a minute a month or so."""
ANCHOR_DECAY: Final = 200e-6
"""Share of its age by which an anchor becomes less sure."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_log = structlog.get_logger(__name__)


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement: the service's time, the machine's two clocks then, all in ms, and how wrong it may be."""

    server_ms: int
    wall_ms: int
    steady_ms: int
    error_ms: float
    boot_id: str


class KeptClock(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept on disk: the anchor and the latest corrected time."""

    anchor: Anchor
    last_ms: int


def wall_ms() -> int:
    """The machine's wall clock in ms since the epoch."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """The machine's steady clock in ms since its boot, counting also while it sleeps where the system can tell."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    nanoseconds = time.monotonic_ns() if boot_time is None else time.clock_gettime_ns(boot_time)
    return nanoseconds // 1_000_000


def boot_id() -> str:
    """An id of this boot of the machine, or "" where the system has none (then every restart counts as a reboot)."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class TrustedClock:
    """Corrected time with a verdict on whether it can be trusted. ``problem`` says in plain words why not."""

    def __init__(
        self,
        *,
        wall: Callable[[], int] = wall_ms,
        steady: Callable[[], int] = steady_ms,
        boot: str | None = None,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._boot = boot_id() if boot is None else boot
        self._anchor: Anchor | None = None
        self._problem: str | None = "the service's time was never seen"

    def now_ms(self) -> int:
        """Corrected time in ms since the epoch."""
        anchor = self._anchor
        if anchor is None:
            return self._wall()
        return anchor.server_ms + self._steady() - anchor.steady_ms

    def mark(self) -> int:
        """This moment, to be asked for later by :meth:`at_mark`."""
        return self._steady()

    def at_mark(self, mark: int) -> int:
        """What corrected time was at a marked moment, by all that is known now (ms since the epoch)."""
        return self.now_ms() - (self._steady() - mark)

    @property
    def offset_ms(self) -> int:
        """Corrected time minus the wall clock."""
        return self.now_ms() - self._wall()

    @property
    def trusted(self) -> bool:
        """Whether decisions may rely on the time."""
        return self.problem is None

    @property
    def problem(self) -> str | None:
        """Why the clock is not trusted, in plain words; None if it is."""
        if self._problem is not None or self._anchor is None:
            return self._problem
        apart = (self._wall() - self._anchor.wall_ms) - (self._steady() - self._anchor.steady_ms)
        if abs(apart) > MAX_DRIFT_MS:
            return f"the wall clock jumped by {apart / 1000:+.0f} s since the service's time was last seen"
        return None

    def observe(self, server_ms: int, round_trip_ms: float) -> None:
        """Take a measurement: the service's time in a reply, and how long the request took (ms)."""
        now = self._steady()
        error = max(round_trip_ms, 0) / 2
        measured = server_ms + round(error)
        anchor = self._anchor
        apart = 0 if anchor is None else measured - self.now_ms()
        if anchor is not None and abs(apart) > MAX_DRIFT_MS + error:
            self._problem = f"the service's time is {apart / 1000:+.0f} s from ours; waiting for it to be confirmed"
            _log.warning("the clock is not trusted", problem=self._problem)
        elif anchor is not None and self.problem is None and error > self._error_now(anchor, now):
            return
        else:
            if self.problem is not None:
                _log.info("the clock is trusted", offset_ms=measured - self._wall(), was=self.problem)
            self._problem = None
        self._anchor = Anchor(
            server_ms=measured, wall_ms=self._wall(), steady_ms=now, error_ms=error, boot_id=self._boot
        )

    @staticmethod
    def _error_now(anchor: Anchor, steady: int) -> float:
        return anchor.error_ms + (steady - anchor.steady_ms) * ANCHOR_DECAY

    def keep(self) -> KeptClock | None:
        """What to write to disk now; None while there is nothing worth keeping (never measured, or in doubt)."""
        if self._anchor is None or self._problem is not None:
            return None
        return KeptClock(anchor=self._anchor, last_ms=self.now_ms())

    def restore(self, kept: KeptClock) -> None:
        """Go on from what was kept, by the rule above."""
        anchor, wall, steady = kept.anchor, self._wall(), self._steady()
        if self._boot and anchor.boot_id == self._boot and steady >= anchor.steady_ms:
            self._anchor, self._problem = anchor, None
            return
        offset = anchor.server_ms - anchor.wall_ms
        corrected = wall + offset
        self._anchor = Anchor(
            server_ms=corrected, wall_ms=wall, steady_ms=steady, error_ms=float(MAX_DRIFT_MS), boot_id=self._boot
        )
        self._problem = None
        if abs(offset) > MAX_DRIFT_MS:
            self._problem = f"the machine was restarted and its wall clock was {-offset / 1000:+.0f} s wrong before"
        elif corrected < kept.last_ms:
            behind = (kept.last_ms - corrected) / 1000
            self._problem = f"the machine was restarted and its wall clock is {behind:.0f} s before the last known time"
        elif corrected - kept.last_ms > MAX_ABSENCE_MS:
            self._problem = "the machine was restarted and the service's time was not seen for more than 31 days"
        if self._problem is not None:
            _log.warning("the clock is not trusted", problem=self._problem)
