"""The clock a reader decides by: the service's time, carried on by this machine's steady clock.

The rule, in full:

* Corrected time is what the service's time is now by all measurements of late, carried on by the steady clock
  (CLOCK_BOOTTIME, which also counts while the machine sleeps) and by its drift. The wall clock of the machine may be
  minutes wrong or be set meanwhile; it is not used while the machine stays up.
* Each reply of the service is a measurement: its time stands for the middle of the round trip, so it is wrong by at
  most half of that. Offset and drift come from those of the last half hour (:mod:`readers.drift`), the surer ones
  counting for more, and age by 200 millionths. Between two measurements corrected time never goes back.
* A measurement that cannot be true together with those before, but by less than 120 s, means that the service's clock
  was set: the history begins anew with it, if it is as sure as what was known. After this machine slept what was known
  is less sure by two seconds, since what keeps time in sleep counts whole ones.
* Never measured since enrolment: the wall clock is shown and used, but not trusted.
* A measurement that differs from corrected time by more than 120 s is unexplained drift. It is taken, since requests
  must carry the service's time, but the clock is untrusted until three in a row agree with each other. If the next one
  agrees with the time from before instead, one reply was odd and all is as it was.
* The wall clock and the steady clock drifting apart by more than 120 s since the last measurement is unexplained drift
  too: one of them was tampered with or has stopped. The next measurement settles it.
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

from readers.drift import Drift, Seen

MAX_DRIFT_MS: Final = 120_000
"""Unexplained drift that makes the clock untrusted (entitlements page: 120 s)."""
MAX_ABSENCE_MS: Final = 31 * 86_400_000
"""How far a clock without power or network is believed: a battery-backed clock drifts by a minute a month or so."""
AGREEING: Final = 3
"""Replies in a row that must agree before a correction by more than :data:`MAX_DRIFT_MS` is believed,"""
AGREE_MS: Final = 2_000
"""to within what their round trips explain and this, since two hosts of the service may differ a little."""
SLEPT_MS: Final = 500
"""Difference between the clocks with and without sleep from which the machine is held to have slept."""
SLEEP_ERROR_MS: Final = 2_000.0
"""How wrong the steady clock may be about a sleep: what keeps time then counts whole seconds, read twice."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_log = structlog.get_logger(__name__)


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """The service's time as estimated at a measurement, the machine's two clocks then, all in ms, and its error.

    ``drift`` is what the service's clock gains on the steady one each ms, ``slept_ms`` how long the machine has slept.
    """

    server_ms: int
    wall_ms: int
    steady_ms: int
    error_ms: float
    boot_id: str
    drift: float = 0.0
    slept_ms: int = 0


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


def awake_ms() -> int:
    """The machine's steady clock without what it slept, in ms."""
    return time.monotonic_ns() // 1_000_000


def boot_id() -> str:
    """An id of this boot of the machine, or "" where the system has none (then every restart counts as a reboot)."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class TrustedClock:
    """Corrected time with a verdict on whether it can be trusted. ``problem`` says in plain words why not.

    ``awake`` is the steady clock without sleep; where it is not given, a ``steady`` of one's own knows no sleep.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], int] = wall_ms,
        steady: Callable[[], int] = steady_ms,
        awake: Callable[[], int] | None = None,
        boot: str | None = None,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._awake = awake or (awake_ms if steady is steady_ms else steady)
        self._boot = boot_id() if boot is None else boot
        self._anchor: Anchor | None = None
        self._seen: Drift | None = None
        self._problem: str | None = "the service's time was never seen"
        self._before: tuple[Anchor, Drift] | None = None
        """What was believed before a contradiction."""
        self._agreeing = 0

    def now_ms(self) -> int:
        """Corrected time in ms since the epoch."""
        anchor = self._anchor
        return self._wall() if anchor is None else _carried(anchor, self._steady())

    @property
    def error_ms(self) -> float:
        """How wrong corrected time may be (ms), if nothing was tampered with; infinite before the first measurement."""
        return float("inf") if self._seen is None else self._seen.at(self._steady()).error

    @property
    def drift(self) -> float:
        """What the service's clock gains on this machine's steady clock, as a share (1e-6 is a millionth)."""
        return 0.0 if self._anchor is None else self._anchor.drift

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
        steady = self._steady()
        error = max(round_trip_ms, 0) / 2
        measured = server_ms + round(error)
        new = Seen(steady, measured - steady, error)
        anchor, seen = self._anchor, self._seen
        if anchor is None or seen is None:
            self._believe(new, Drift(new))
            return
        if abs(apart := measured - self.now_ms()) > MAX_DRIFT_MS + error:
            self._contradict(new, apart)
            return
        if self._slept() - anchor.slept_ms > SLEPT_MS:
            known = seen.at(steady)
            seen = Drift(Seen(steady, round(known.offset), known.error + SLEEP_ERROR_MS), known.drift)
        known = seen.at(steady)
        if seen.fits(new):
            seen.add(new)
        elif error <= known.error:
            seen = Drift(new, anchor.drift)
        if self._agreeing:
            self._agreeing = self._agreeing + 1 if abs(apart) <= AGREE_MS + error + known.error else 1
            if self._agreeing < AGREEING:
                self._take(steady, seen)
                return
        self._believe(new, seen)

    def _contradict(self, new: Seen, apart: int) -> None:
        """A reply says something else than all before."""
        if self._before is not None:
            anchor, seen = self._before
            if abs(new.offset + new.steady - _carried(anchor, new.steady)) <= MAX_DRIFT_MS + new.error:
                if not seen.fits(new):
                    seen = Drift(new, anchor.drift)
                self._believe(new, seen)
                return
        elif self.problem is None and self._anchor is not None and self._seen is not None:
            self._before = (self._anchor, self._seen)
        self._agreeing = 1
        self._problem = f"the service's time is {apart / 1000:+.0f} s from ours; waiting for it to be confirmed"
        _log.warning("the clock is not trusted", problem=self._problem)
        self._take(new.steady, Drift(new))

    def _believe(self, new: Seen, seen: Drift) -> None:
        if self.problem is not None:
            offset = new.offset + new.steady - self._wall()
            _log.info("the clock is trusted", offset_ms=offset, was=self.problem)
        self._problem, self._before, self._agreeing = None, None, 0
        self._take(new.steady, seen)

    def _take(self, steady: int, seen: Drift) -> None:
        found = seen.at(steady)
        self._seen = seen
        self._anchor = Anchor(
            server_ms=steady + round(found.offset),
            wall_ms=self._wall(),
            steady_ms=steady,
            error_ms=found.error,
            boot_id=self._boot,
            drift=found.drift,
            slept_ms=self._slept(),
        )

    def _slept(self) -> int:
        return self._steady() - self._awake()

    def keep(self) -> KeptClock | None:
        """What to write to disk now; None while there is nothing worth keeping (never measured, or in doubt)."""
        if self._anchor is None or self._problem is not None:
            return None
        return KeptClock(anchor=self._anchor, last_ms=self.now_ms())

    def restore(self, kept: KeptClock) -> None:
        """Go on from what was kept, by the rule above."""
        anchor, wall, steady = kept.anchor, self._wall(), self._steady()
        if self._boot and anchor.boot_id == self._boot and steady >= anchor.steady_ms:
            self._carry_on(anchor)
            self._problem = None
            return
        offset = anchor.server_ms - anchor.wall_ms
        corrected = wall + offset
        self._carry_on(
            Anchor(
                server_ms=corrected,
                wall_ms=wall,
                steady_ms=steady,
                error_ms=float(MAX_DRIFT_MS),
                boot_id=self._boot,
                drift=anchor.drift,
                slept_ms=self._slept(),
            )
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

    def _carry_on(self, anchor: Anchor) -> None:
        self._anchor = anchor
        seen = Seen(anchor.steady_ms, anchor.server_ms - anchor.steady_ms, anchor.error_ms)
        self._seen = Drift(seen, anchor.drift)


def _carried(anchor: Anchor, steady: int) -> int:
    """The service's time, carried on from an anchor to a moment of the steady clock."""
    return anchor.server_ms + int((steady - anchor.steady_ms) * (1 + anchor.drift))
