"""What samples of a gate's contacts mean: pure state, time is an argument.

A release is a credit for one passage. A passage with a credit is ``Passed``, without one ``Forced``; so the
second person on one release comes out as ``Forced`` and the lane may call it tailgating. While fire is on
everybody may pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardware.interfaces import Direction, FireOff, FireOn, Forced, GateEvent, Passed, Tamper

REARM_SAMPLES = 2
"""Open samples before a passage contact counts again: a bouncing contact must not count one person twice."""

MAX_CREDITS = 8
"""Releases that may wait for their passage; more than a lane can hold people is a fault of the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Contacts at one instant; None where the gate has no such contact."""

    passage: bool
    exit_passage: bool | None = None
    fire_signal: bool | None = None
    tamper: bool | None = None


@dataclass(slots=True, kw_only=True)
class _Contact:
    """One passage contact: counts a closing after enough open samples."""

    # A contact seen open once after the line was down is armed: it is not bouncing.
    open_samples: int = REARM_SAMPLES - 1

    def closes(self, closed: bool) -> bool:
        edge = closed and self.open_samples >= REARM_SAMPLES
        self.open_samples = 0 if closed else self.open_samples + 1
        return edge


@dataclass(frozen=True, slots=True, kw_only=True)
class _Credit:
    direction: Direction
    until: float


class Contacts:
    """Turns samples and releases into events.

    ``passage_seconds`` is how long after the end of its pulse a release may still be used.
    """

    def __init__(self, *, passage_seconds: float) -> None:
        self._passage_seconds = passage_seconds
        self._entry = _Contact()
        self._exit = _Contact()
        self._credits: list[_Credit] = []
        self._fire = False
        self._tamper = False

    @property
    def fire(self) -> bool:
        """The last known state; unknown before the first sample counts as no fire."""
        return self._fire

    def released(self, direction: Direction, pulse_seconds: float, now: float) -> None:
        """The board has been told to release; ``now`` in seconds of any steady clock."""
        until = now + pulse_seconds + self._passage_seconds
        self._credits = [*self._credits, _Credit(direction=direction, until=until)][-MAX_CREDITS:]

    def withdraw(self) -> None:
        """The release just noted did not reach the board."""
        if self._credits:
            self._credits.pop()

    def reconnected(self) -> None:
        """Samples were missed: a contact found closed now is no new passage."""
        self._entry = _Contact()
        self._exit = _Contact()

    def sample(self, contacts: Sample, now: float) -> list[GateEvent]:
        """Events since the last sample, fire first: it decides how a passage in the same sample counts."""
        events: list[GateEvent] = []
        if contacts.fire_signal is not None and contacts.fire_signal == self._fire:
            self._fire = not contacts.fire_signal
            events.append(FireOn() if self._fire else FireOff())
        if contacts.tamper is not None and contacts.tamper != self._tamper:
            self._tamper = contacts.tamper
            events.append(Tamper(active=contacts.tamper))
        self._credits = [credit for credit in self._credits if credit.until >= now]
        separate = contacts.exit_passage is not None
        if self._entry.closes(contacts.passage):
            events.append(self._passage("entry" if separate else None))
        if contacts.exit_passage is not None and self._exit.closes(contacts.exit_passage):
            events.append(self._passage("exit"))
        return events

    def _passage(self, direction: Direction | None) -> GateEvent:
        """``direction`` is None where the only contact cannot tell."""
        for index, credit in enumerate(self._credits):
            if direction in (None, credit.direction):
                del self._credits[index]
                return Passed(direction=credit.direction, during_fire=self._fire)
        if self._fire:
            # With one contact a person who moves during a fire is taken to leave.
            return Passed(direction=direction or "exit", during_fire=True)
        return Forced(direction=direction)
