"""One-time codes at one site: what was shown once opens nothing again, at no lane, also after a restart.

A live code, a rotating code and a chip's message each carry a number (``VerifiedCard.sequence``) that must strictly
increase for a card and form; never the text, since an ECDSA signature has a twin and base64 may be padded. A code
counts as shown when a lane takes it up, whatever comes of it.

What is durable when:

* before the gate is released, the kernel has it (:mod:`readers.ring`): a killed process loses nothing;
* some milliseconds later it is in the state database, on disk, through a power cut;
* the few codes that a power cut takes are covered by time: if the ring may have lost some, a live or rotating code that
  could have been accepted before this daemon started is refused; the phone shows a new one seconds later. A chip's
  message has no time in it; docs/decisions/0027-replay.md says why that last gap is left.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from entitlements.credential.claims import CardForm, Refused, VerifiedCard
from entitlements.credential.totp import TOTP_PERIOD
from entitlements.model import Reason
from entitlements.wire.rows import card_tag
from readers.clock import TrustedClock
from readers.clock import boot_id as this_boot
from readers.errors import DatabaseFaultError
from readers.journal import Journal
from readers.ring import RING_FILE, Ring

SECONDS_OF: Final = {CardForm.LIVE: 1, CardForm.TOTP: TOTP_PERIOD}
"""Seconds that one step of the sequence stands for; a form without has no window, its last number is kept for good."""
_TIMED: Final = tuple(f"{form.value}/".encode() for form in SECONDS_OF)
AHEAD_SECONDS: Final = 15
"""A live code may be 10 s and a rotating code one step of 15 s ahead of our clock; older codes end by themselves."""
KEEP_SECONDS: Final = 600.0
"""By our own steady time: well beyond any code's window, whatever the clock is corrected to meanwhile."""

SHOWN_BEFORE: Final = "this very code was shown here before"
WENT_BACK: Final = "a code older than the last one shown here"
CHIP_WENT_BACK: Final = "the chip's counter is below the last one seen here: the chip may have been copied"
BEFORE_START: Final = Refused(
    reason=Reason.EXPIRED_CODE,
    detail="made before this reader started after a power cut, when it may have been used; the next one is good",
)

_log = structlog.get_logger(__name__)


class ReplayBook:
    """The highest sequence of each card and form. Taking never waits; :meth:`write_forever` writes behind."""

    def __init__(
        self,
        journal: Journal,
        folder: Path,
        clock: TrustedClock,
        *,
        boot: str | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._boot = this_boot() if boot is None else boot
        self._steady = steady
        self._ring = Ring(folder / RING_FILE)
        self._last: dict[bytes, int] = {}
        self._fading: dict[bytes, float] = {}
        self._unwritten: set[bytes] = set()
        self._began: int | None = None
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()

    @property
    def problem(self) -> str | None:
        """Why codes are not written down now, in plain words."""
        return self._ring.problem

    def __len__(self) -> int:
        return len(self._last)

    async def load(self, *, ran_before: bool) -> None:
        """Read what was kept; ``ran_before`` is False in a data folder that no daemon has worked in yet."""
        in_ring, whole = await asyncio.to_thread(self._ring.open, self._boot)
        kept = {bytes(key): sequence for key, sequence in await self._journal.used()}
        for key, sequence in kept.items():
            self._set(key, sequence)
        for key, sequence in in_ring.items():
            if sequence > kept.get(key, -1):
                # Its slot will be written over, so that it has to be in the database first.
                self._set(key, sequence)
                self._unwritten.add(key)
        if self._unwritten:
            try:
                await self.flush()
            except DatabaseFaultError as error:
                _log.error("used codes cannot be written to disk; they are kept in memory", problem=str(error))
        if ran_before and (not whole or self._journal.database.was_set_aside is not None):
            self._began = self._clock.mark()
            _log.warning("used codes may be missing after a power cut; codes made before now are refused")

    def take(self, card: VerifiedCard) -> Refused | None:
        """Count a code as shown.

        Returns:
            None if it never was before, or can be shown any number of times; else why it is no good.
        """
        sequence = card.sequence
        if sequence is None:
            return None
        key = code_key(card)
        last = self._last.get(key)
        if last is not None and sequence <= last:
            return _refused(card.form, sequence, last)
        step = SECONDS_OF.get(card.form)
        if step is not None and sequence * step <= self._doubtful_until():
            return BEFORE_START
        self._set(key, sequence)
        self._ring.write(key, sequence)
        self._unwritten.add(key)
        self._written.clear()
        self._wake.set()
        return None

    async def write_forever(self) -> None:
        """Write to disk as it comes; runs until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except DatabaseFaultError as error:
                _log.error("used codes cannot be written to disk; they are kept in memory", problem=str(error))
                await asyncio.sleep(1)
                self._wake.set()

    async def flush(self) -> None:
        """Write what is not on disk yet, and drop what no clock can bring back. Raises DatabaseFaultError."""
        gone = self._fade()
        unwritten, self._unwritten = self._unwritten, set()
        used = [(key, self._last[key]) for key in unwritten if key in self._last]
        try:
            if used or gone:
                await self._journal.keep_used(used, [(key,) for key in gone])
        except BaseException:
            self._unwritten |= unwritten
            raise
        if not self._unwritten:
            self._written.set()

    async def durable(self) -> None:
        """Wait until everything taken so far is on disk."""
        await self._written.wait()

    def close(self) -> None:
        """End the book after the last :meth:`flush`; the next start then knows that nothing is missing."""
        self._ring.close(in_good_order=not self._unwritten)

    def wipe(self) -> None:
        """Forget everything, after this reader was revoked."""
        self._last.clear()
        self._fading.clear()
        self._unwritten.clear()
        self._ring.wipe()

    def _doubtful_until(self) -> int:
        """Instant (s) up to which codes may have been used and forgotten: the start, as the clock has it now."""
        return -1 if self._began is None else self._clock.at_mark(self._began) // 1000 + AHEAD_SECONDS

    def _set(self, key: bytes, sequence: int) -> None:
        self._last[key] = sequence
        if key.startswith(_TIMED):
            self._fading.pop(key, None)  # to the end
            self._fading[key] = self._steady() + KEEP_SECONDS

    def _fade(self) -> list[bytes]:
        """Forget cards whose last code is long out of its window."""
        now = self._steady()
        gone = [key for key, _ in itertools.takewhile(lambda item: item[1] <= now, self._fading.items())]
        for key in gone:
            del self._fading[key], self._last[key]
        return gone


def code_key(card: VerifiedCard) -> bytes:
    """By what a card's codes are told from all others: form, council, index, tag of the card id; at most 51 octets."""
    claims = card.claims
    tag = card_tag(claims.card_id)
    return b"%s/%s/%d/%08x" % (card.form.value.encode(), claims.issuer.encode(), claims.index, tag)


def _refused(form: CardForm, sequence: int, last: int) -> Refused:
    if sequence == last:
        detail = SHOWN_BEFORE
    elif form in SECONDS_OF:
        detail = WENT_BACK
    else:
        detail = f"{CHIP_WENT_BACK} ({sequence} after {last})"
    return Refused(reason=Reason.REPLAYED_CODE, detail=detail)
