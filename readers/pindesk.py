"""The PIN at one lane: asked for when it is the only thing missing, typed on the lane's keypad, checked, decided again.

The dialogue holds the lane, so it ends by itself: by an answer, after half a minute without one, by the cancel key, by
another card, by a fire or a broken keypad. What was typed while nobody was asked counts for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from entitlements.credential.claims import CardClaims, Refused
from entitlements.model import Decision, Outcome, Reason
from entitlements.wire.rows import card_tag
from hardware.interfaces import Cancel, Digit, Down, Enter, KeypadEvent, Verdict
from readers import display
from readers.gate import Shown
from readers.judgement import Judgement, Place
from readers.pins import ATTEMPTS, Found, Typed
from readers.shared import Shared

PIN_SECONDS: Final = 30.0
"""How long one entry may take; at most three follow each other."""
SHORTEST: Final = 4
LONGEST: Final = 8
"""Digits of a PIN."""
MOST_TYPED: Final = 12
"""Digits kept; whoever types more has typed no PIN."""
IN_VAIN: Final = frozenset({Reason.PRESENTATION_NOT_ACCEPTED.value, Reason.OUTSIDE_HOURS.value, Reason.FULL.value})
"""What no PIN helps against and what says nothing of the person: told at once. Anything else of theirs is told only to
who knows the PIN.
"""


class Ended(StrEnum):
    """Why there is no PIN, in the words for staff."""

    TIMED_OUT = "no PIN was entered in time"
    CANCELLED = "the person gave up entering the PIN"
    OTHER_CARD = "another card was presented while the PIN was asked for"
    FIRE = "a fire began while the PIN was asked for"
    KEYPAD = "the lane's keypad failed"


class PinDesk:
    """Asks at one lane. ``keypad_up`` tells whether its keypad works, ``show`` puts a verdict on its display."""

    def __init__(
        self,
        shared: Shared,
        *,
        keypad: bool,
        keypad_up: Callable[[], bool],
        show: Callable[[Verdict], None],
    ) -> None:
        self._gate = shared.gate
        self._clock = shared.clock
        self._guard = shared.pins
        self._secrets = shared.secrets
        self._keypad = keypad
        self._keypad_up = keypad_up
        self._show = show
        self._card: CardClaims | None = None
        self._typed = Typed()
        self._entry: asyncio.Future[Ended | None] | None = None
        self._began = 0.0
        self._ended: Ended | None = None

    # -- what the lane says --

    def key(self, event: KeypadEvent) -> None:
        """A key was pressed, or the keypad came or went."""
        entry = self._entry
        if isinstance(event, Down):
            self.end(Ended.KEYPAD)
        if entry is None or entry.done():
            return
        if isinstance(event, Digit):
            if event.at_monotonic >= self._began and len(self._typed) < MOST_TYPED:
                self._typed.add(event.digit)
                self._show(display.typing(len(self._typed)))
        elif isinstance(event, Enter):
            if SHORTEST <= len(self._typed) <= LONGEST:
                entry.set_result(None)
            elif len(self._typed):
                self._typed.wipe()
                self._show(display.not_a_pin(SHORTEST, LONGEST))
        elif isinstance(event, Cancel):
            if len(self._typed):
                self._typed.wipe()
                self._show(display.ASK_PIN)
            else:
                self.end(Ended.CANCELLED)

    def end(self, why: Ended) -> None:
        """End the dialogue, if there is one."""
        self._ended = why
        if self._entry is not None and not self._entry.done():
            self._entry.set_result(why)

    def asks(self, data: bytes, media: str) -> bool:
        """Whether a presentation is of the very card whose PIN is being asked for: a phone left before the camera."""
        owner = self._gate.owner(data, media)
        card = self._card
        return owner is not None and card is not None and (owner.issuer, owner.card_id) == (card.issuer, card.card_id)

    # -- the dialogue --

    def helps(self, shown: Shown, place: Place, judgement: Judgement) -> bool:
        """Whether a PIN may open what was refused without one."""
        if isinstance(shown.found, Refused) or shown.replayed is not None:
            return False
        if judgement.decision.outcome is Outcome.ALLOW:
            return False
        if judgement.decision.reason == Reason.PIN_REQUIRED:
            return True
        # Another service of the lane came further without one, and was refused all the same.
        return self._gate.judge_shown(shown, place, pin="right").decision.outcome is Outcome.ALLOW

    async def settle(self, shown: Shown, place: Place, judgement: Judgement) -> Judgement:
        """Ask for the PIN that a judgement is missing, and judge again.

        Returns:
            The judgement with the PIN right or wrong; the same one where none was entered; staff where this lane cannot
            check it. It was made without a wait since.
        """
        if isinstance(shown.found, Refused):
            return judgement
        card = shown.found.claims
        would = self._gate.judge_shown(shown, place, pin="right")
        if would.decision.reason in IN_VAIN:
            return would
        key = (str(card.issuer), int(card.index), card_tag(card.card_id))
        verifier = self._secrets.verifier(key)
        if not self._keypad:
            return _staff(judgement, "the service asks for a PIN, and this lane has no keypad")
        if not self._keypad_up():
            return _staff(judgement, "the service asks for a PIN, and this lane's keypad does not work")
        if verifier is None:
            known = self._secrets.knows_pins_of(card.issuer)
            return _staff(
                judgement, "no PIN was set for this card" if known else "this gate holds no PINs of its council"
            )
        if self._guard.locked_until(verifier) is not None:
            return self._locked(shown, place, self._guard.locked_until(verifier) or 0)
        self._card, self._ended = card, None
        wrong = 0
        try:
            self._show(display.ASK_PIN)
            while True:
                ended = await self._typed_in()
                if ended is not None:
                    return self._unanswered(judgement, ended, wrong)
                found = await self._guard.check(verifier, self._typed)
                if found is Found.RIGHT:
                    right = self._gate.judge_shown(shown, place, pin="right")
                    tries = f"the PIN was right at try {wrong + 1}" if wrong else right.detail
                    return msgspec.structs.replace(right, detail=tries)
                if found is Found.UNCHECKED:
                    return _staff(judgement, "the PIN could not be checked: look at the reader's log")
                wrong += 1
                if found is Found.LOCKED or wrong >= ATTEMPTS:
                    return self._locked(shown, place, self._guard.locked_until(verifier) or 0)
                if (ended := self._interrupted()) is not None:
                    return self._unanswered(judgement, ended, wrong)
                self._show(display.wrong_pin(self._guard.left(verifier)))
        finally:
            self._typed.wipe()
            self._card = None

    async def _typed_in(self) -> Ended | None:
        """Wait until something was entered (None), or why nothing was."""
        self._typed.wipe()
        self._began = time.monotonic()
        self._entry = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PIN_SECONDS):
                return await self._entry
        except TimeoutError:
            return Ended.TIMED_OUT
        finally:
            self._entry = None

    def _interrupted(self) -> Ended | None:
        """What ended the dialogue while the PIN was being checked."""
        return self._ended

    def _unanswered(self, judgement: Judgement, why: Ended, wrong: int) -> Judgement:
        if why is Ended.KEYPAD:
            return _staff(judgement, why.value)
        detail = why.value if not wrong else f"{why.value}, after {wrong} wrong"
        return msgspec.structs.replace(judgement, detail=detail, verdict=display.NO_PIN_ENTERED)

    def _locked(self, shown: Shown, place: Place, until: int) -> Judgement:
        judged = self._gate.judge_shown(shown, place, pin="wrong")
        seconds = max(1, (until - self._clock.now_ms()) // 1000)
        detail = f"too many wrong PINs: this card is locked at this site for {seconds} s more"
        return msgspec.structs.replace(judged, detail=detail, verdict=display.pin_locked(seconds))


def _staff(judgement: Judgement, detail: str) -> Judgement:
    decision = Decision(outcome=Outcome.REFER, reason=Reason.OFFLINE_STAFF_ONLY, service=judgement.decision.service)
    return msgspec.structs.replace(judgement, decision=decision, detail=detail)
