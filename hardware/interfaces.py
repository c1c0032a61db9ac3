"""What the rest of the project sees of a device: the values it reports and the protocols it keeps.

Every instant is in seconds of ``time.monotonic()`` on the machine that runs the device; it only serves to
measure durations. The values are frozen and validated when made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias, get_args

Media: TypeAlias = Literal["qr", "nfc-ndef", "nfc-uid"]
"""How the octets reached the reader; ``nfc-uid`` is a serial number that any chip can be made to show."""

Direction: TypeAlias = Literal["entry", "exit"]

Light: TypeAlias = Literal["green", "red", "amber", "blue"]
"""green: go; red: refused; amber: staff or a second step needed; blue: hold the card again, or a notice."""

Tone: TypeAlias = Literal["granted", "refused", "attention", "silent"]

MAX_PRESENTED_BYTES = 4096
"""Octets. A version 40 QR holds 2,953 of them and no card of ours exceeds 1,000; more is no card."""

MAX_HEADLINE = 60
"""Characters: what fits on a two-line gate display and what a person reads while walking."""

MAX_DETAIL = 240
"""Characters of the smaller line below."""

DIGITS = "0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """Octets that a person held before a source. Nothing about them has been checked.

    ``data`` are 1 to 4,096 octets, ``source`` is the name of the source, ``at_monotonic`` the instant at
    which the octets were complete.
    """

    data: bytes
    media: Media
    source: str
    at_monotonic: float

    def __post_init__(self) -> None:
        if not 0 < len(self.data) <= MAX_PRESENTED_BYTES:
            raise ValueError(f"a presentation has 1 to {MAX_PRESENTED_BYTES} octets, not {len(self.data)}")
        if self.media not in get_args(Media):
            raise ValueError(f"unknown media {self.media!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Something stays before a source but carries nothing of ours (a bus card, a blank tag).

    Reported once for each object, so that the gate can say so instead of staying silent. ``reason`` is plain
    English.
    """

    reason: str
    source: str
    at_monotonic: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was presented (or unreadable) has left the source."""

    source: str
    at_monotonic: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """The device works: reported at the first contact and after every ``Down``."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """The device does not work; it is being tried again. Reported once, not at every attempt.

    A device that cannot be reached when it is opened reports ``Down`` first. ``reason`` is plain English for
    a log.
    """

    source: str
    reason: str


SourceEvent: TypeAlias = Presented | Unreadable | Removed | Up | Down


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A person went through on a release, or freely while fire is on (``during_fire``).

    With a single passage contact ``direction`` is that of the release.
    """

    direction: Direction
    during_fire: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """A person went through without a release left: the arm was forced, or a second person used one release.

    ``direction`` is None where the only contact cannot tell.
    """

    direction: Direction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FireOn:
    """The fire signal is gone (the input is active low): the building holds its doors open now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FireOff:
    """The fire signal is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tamper:
    """The cover contact of the gate opened (``active``) or closed again."""

    active: bool


GateEvent: TypeAlias = Passed | Forced | FireOn | FireOff | Tamper | Up | Down


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a gate tells a person: light, tone and words together, never colour alone (WCAG 2.2, 1.4.1).

    ``headline`` is 1 to 60 characters ("Come in", "Closed until 14:00"), ``detail`` 0 to 240.
    """

    light: Light
    tone: Tone
    headline: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.light not in get_args(Light):
            raise ValueError(f"unknown light {self.light!r}")
        if self.tone not in get_args(Tone):
            raise ValueError(f"unknown tone {self.tone!r}")
        if not 0 < len(self.headline.strip()) <= MAX_HEADLINE:
            raise ValueError(f"a headline has 1 to {MAX_HEADLINE} characters: {self.headline!r}")
        if len(self.detail) > MAX_DETAIL:
            raise ValueError(f"a detail has at most {MAX_DETAIL} characters: {self.detail!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Digit:
    """One digit key, ``"0"`` to ``"9"``. It is part of somebody's secret: its ``repr`` does not show it."""

    digit: str = field(repr=False)
    at_monotonic: float

    def __post_init__(self) -> None:
        if len(self.digit) != 1 or self.digit not in DIGITS:
            raise ValueError("a digit is one of 0 to 9")


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter:
    """The key that ends an entry (``#`` or Enter)."""

    at_monotonic: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """The key that gives an entry up (``*``, Escape or Backspace): what was typed so far counts for nothing."""

    at_monotonic: float


KeypadEvent: TypeAlias = Digit | Enter | Cancel | Up | Down


class Keypad(Protocol):
    """Keys beside a gate, at which a person types a PIN. Entering it connects in the background, leaving it frees
    the line and its thread.
    """

    @property
    def name(self) -> str:
        """Short name for logs: a short form of the URL unless another was given."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def events(self) -> AsyncIterator[KeypadEvent]:
        """Everything since the keypad was entered, in order, for one consumer; ends when it is left.

        Keys come whether anybody was asked for them or not: who asks drops what was pressed before (``at_monotonic``).
        After a ``Down`` keys may be missing, so an entry in progress begins anew.
        """


class CredentialSource(Protocol):
    """Something that cards are held before. Entering it starts it, leaving it frees the device and its
    threads.
    """

    @property
    def name(self) -> str:
        """Short name for logs and for ``Presented.source``: a short form of the URL unless another was given."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def events(self) -> AsyncIterator[SourceEvent]:
        """Everything since the source was entered, in order, for one consumer; ends when the source is left.

        The queue behind it is bounded: a consumer that stands still loses the oldest presentations, never the
        newest nor an ``Up`` or ``Down``.
        """


Transceive: TypeAlias = Callable[[bytes], bytes]
"""Send one command APDU (ISO/IEC 7816-4), return the response with its two status octets. Raises
``LinkLostError``.
"""


class CardProtocol(Protocol):
    """A card dialogue, free of I/O of its own, run in the thread of whichever reader has the card."""

    media: Media

    def probe(self, transceive: Transceive, deadline: float) -> bytes | None:
        """Return the card's octets, or None where the card does not speak this protocol.

        ``deadline`` is an instant of ``time.monotonic()``. Raises ``CardError`` for a card that speaks the
        protocol and breaks it, ``LinkLostError`` for a card that left, ``ProbeTimeoutError`` past the
        deadline.
        """


class GateActuator(Protocol):
    """One turnstile or door. Entering connects in the background; an unreachable gate is a ``Down``, not an
    error.
    """

    @property
    def name(self) -> str: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def release(self, direction: Direction, pulse_seconds: float) -> None:
        """Let one person through; returns when the device has accepted. The device itself times the pulse.

        ``pulse_seconds`` is 0.05 to 30. While fire is on it returns without touching the relay: the way is
        free. Raises ``GateUnreachableError`` or ``GateRefusedError``.
        """

    def inputs(self) -> AsyncIterator[GateEvent]:
        """What the contacts say, for one consumer, nothing dropped; ends when the actuator is left."""


class Indicator(Protocol):
    """Shows verdicts: lamp, buzzer and display together."""

    async def show(self, verdict: Verdict) -> None: ...

    async def close(self) -> None: ...
