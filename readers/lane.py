"""One lane: idle -> deciding (-> asking for a PIN) -> released -> passed or timed out; fire overrides everything.

* A release stands until somebody passes, the time-out ends it or a fire begins. Presence and anti-passback commit when
  somebody passed, never at the release.
* A card presented meanwhile waits: the newest one is decided next, unless it has waited for more than five seconds.
* Two passages on one release are tailgating.
* A one-time code is used up when the lane takes it, whatever comes of it. While its holder is being served the same
  code is not taken for a second one: a camera sees it again and again.
* Leaving never needs permission: an exit lane releases for whatever is presented.
* During a fire nothing is decided and nothing is locked. The building's own wiring holds the doors; we only look.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

import structlog

from entitlements.model import Outcome, Reason
from entitlements.wire.taps import LaneStatus, Passage, Tap
from hardware.errors import GateError
from hardware.interfaces import (
    Down,
    FireOff,
    FireOn,
    Forced,
    GateEvent,
    KeypadEvent,
    Passed,
    Presented,
    Removed,
    SourceEvent,
    Tamper,
    Unreadable,
    Up,
)
from readers import display
from readers.devices import DeviceMaker, LaneDevices
from readers.gate import Shown
from readers.judgement import Judgement, Place
from readers.late import Latecomers
from readers.pindesk import Ended, PinDesk
from readers.presence import Visitor
from readers.record import Recorder, verdict_of
from readers.screen import Screen
from readers.settings import LaneSettings
from readers.shared import Shared

WAITING_SECONDS: Final = 5.0
"""A card presented while another person passes is decided afterwards, unless it has waited longer than this."""

PassageResult = Literal["passed", "timed_out", "fault"]


class LaneState(StrEnum):
    """What a lane is doing."""

    IDLE = "idle"
    DECIDING = "deciding"
    ASKING = "asking"
    RELEASED = "released"
    FIRE = "fire"


BUSY: Final = frozenset({LaneState.ASKING, LaneState.RELEASED})
"""What is on the display then stays: somebody is to type or to walk."""


class Lane:
    """The state machine of one lane over its devices. Run :meth:`run` as a task; ``place`` may change at any time."""

    def __init__(
        self,
        settings: LaneSettings,
        shared: Shared,
        *,
        on_event: Callable[[], None],
        maker: DeviceMaker | None = None,
    ) -> None:
        self.name = settings.lane
        self.place: Place | None = None
        self.state = LaneState.IDLE
        self.counts: Counter[str] = Counter()
        """Events so far: ``allow``, ``deny``, ``refer``, ``confirm``, ``passed``, ``timed_out``, ``fault``,
        ``tailgating``, ``forced``, ``free``, ``fire``, ``tamper``, ``unreadable``, ``tried`` (taken up)."""
        self._settings = settings
        self._gate = shared.gate
        self._late = Latecomers(shared.gate, shared.secrets)
        self._clock = shared.clock
        self._presence = shared.presence
        self._own = shared.own
        self._outbox = shared.outbox
        self._ids = shared.ids
        self._on_event = on_event
        self._devices = LaneDevices(
            settings, on_source=self._source_event, on_gate=self._gate_event, on_key=self._key_event, maker=maker
        )
        self._waiting: Presented | None = None
        self._waiting_since = 0.0
        self._last: tuple[bytes, str] | None = None
        self._serving: bytes | None = None
        self._wake = asyncio.Event()
        self._fire = False
        self._passage: asyncio.Future[PassageResult] | None = None
        self._tail_until = 0.0
        self._screen = Screen(self._devices.show, busy=lambda: self.state in BUSY, on_shown=on_event)
        self._pins = PinDesk(
            shared,
            keypad=settings.keypad is not None,
            keypad_up=lambda: self._devices.keypad_up,
            show=self._screen.show,
        )
        self._log = structlog.get_logger(__name__).bind(lane=settings.lane)
        self._recorder = Recorder(shared, self._log)

    async def run(self) -> None:
        """Serve people until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._devices.run(), name=f"devices {self.name}")
            group.create_task(self._serve(), name=f"lane {self.name}")
            group.create_task(self._screen.run(), name=f"display {self.name}")

    def status(self) -> LaneStatus:
        """What the lane shows now."""
        verdict = self._screen.verdict
        return LaneStatus(
            lane=self.name,
            name=self.name if self.place is None else self.place.lane.name,
            direction="entry" if self.place is None else self.place.lane.direction,
            state=self.state.value,
            light="off" if verdict is display.IDLE else verdict.light,
            headline=verdict.headline,
            source_up=self._devices.source_up,
            gate_up=self._devices.gate_up,
        )

    @property
    def keypad_down(self) -> bool:
        """Whether the lane has a keypad that does not work."""
        return self._settings.keypad is not None and not self._devices.keypad_up

    @property
    def recent(self) -> deque[dict[str, object]]:
        """The last decisions, newest first, as the status page tells them."""
        return self._recorder.recent

    @property
    def presenting(self) -> bool:
        """Whether a card is still in front of a source."""
        return self._last is not None

    # -- what the devices say --

    def _source_event(self, event: SourceEvent) -> None:
        if isinstance(event, Presented):
            seen = (event.data, event.source)
            if self._last == seen:
                return  # still the same card in the same place
            self._last = seen
            if self._fire or event.data == self._serving:
                return
            if self.state is LaneState.ASKING:
                if self._pins.asks(event.data, event.media):
                    return
                self._pins.end(Ended.OTHER_CARD)
            self._waiting, self._waiting_since = event, self._time()
            self._wake.set()
        elif isinstance(event, Removed):
            if self._last is not None and self._last[1] == event.source:
                self._last = None
        elif isinstance(event, Unreadable):
            self.counts["unreadable"] += 1
            if self.state is LaneState.IDLE:
                self._screen.show(display.UNREADABLE)
            self._log.info("something was held to the reader that is no card", source=event.source, what=event.reason)
        else:
            if self._last is not None and self._last[1] == event.source:
                self._last = None  # a source that was away has forgotten what it saw
            self._on_event()

    def _gate_event(self, event: GateEvent) -> None:
        if isinstance(event, Passed):
            self._passed(event)
        elif isinstance(event, Forced):
            self._too_many(tailgating=self._passage is not None or self._time() < self._tail_until)
        elif isinstance(event, FireOn):
            self._fire_on()
        elif isinstance(event, FireOff):
            self._fire = self._screen.locked = False
            self.state = LaneState.IDLE
            self._screen.show(display.IDLE)
            self._log.warning("the fire signal is back; the lane decides again")
        elif isinstance(event, Tamper):
            self.counts["tamper"] += event.active
            self._log.error("the cover of the gate is open" if event.active else "the cover of the gate is closed")
        self._on_event()

    def _key_event(self, event: KeypadEvent) -> None:
        self._pins.key(event)
        if isinstance(event, Up | Down):
            self._on_event()

    def _passed(self, event: Passed) -> None:
        passage = self._passage
        if passage is not None and not passage.done():
            passage.set_result("passed")
        elif event.during_fire or (event.direction == "exit" and self._time() >= self._tail_until):
            self.counts["free"] += 1
            if self.place is not None and event.direction == "exit":
                self._presence.passed_out(self.place.zone)
        else:
            self._too_many(tailgating=self._passage is not None or self._time() < self._tail_until)

    def _too_many(self, *, tailgating: bool) -> None:
        if self._fire:
            return
        what = "tailgating" if tailgating else "forced"
        self.counts[what] += 1
        self._screen.show(display.TAILGATING if tailgating else display.FORCED)
        self._log.error(
            "a second person went through on one release" if tailgating else "somebody went through without a release"
        )

    def _fire_on(self) -> None:
        self._fire = self._screen.locked = True
        self.state, self._waiting = LaneState.FIRE, None
        self.counts["fire"] += 1
        if self._passage is not None and not self._passage.done():
            self._passage.set_result("timed_out")
        self._pins.end(Ended.FIRE)
        self._presence.clear(self._clock.now_ms() // 1000)
        self._screen.show(display.FIRE)
        self._log.critical("fire: the lane decides nothing and locks nothing until the signal is back")

    # -- serving people --

    async def _serve(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            presented, self._waiting = self._waiting, None
            if presented is None or self._fire or self._time() - self._waiting_since > WAITING_SECONDS:
                continue
            self.counts["tried"] += 1
            try:
                await self._attempt(presented)
            except Exception:  # noqa: BLE001 -- and told whole to the log
                # A fault of ours must not close the lane for the day: staff are called, the next card is decided.
                self._log.exception("a presentation could not be handled")
                self._screen.show(display.FAULT)
            finally:
                self._end()
            self._wake.set()

    def _end(self) -> None:
        self._passage = self._serving = None
        if self.state is not LaneState.FIRE:
            self.state = LaneState.IDLE
        self._on_event()

    async def _attempt(self, presented: Presented) -> None:
        place = self.place
        if place is None:
            self._screen.show(display.NOT_SET_UP)
            self._log.error("the service has not assigned this lane yet; nobody can be let in here")
            return
        self.state = LaneState.DECIDING
        at_ms = self._clock.now_ms()
        if place.lane.direction == "exit":
            judgement = self._gate.leaving(presented.data, presented.media)
        else:
            shown = await self._late.take(presented, at_ms)
            if shown.once:
                self._serving = presented.data
            judgement = self._gate.judge_shown(shown, place, at_ms=at_ms)
            if judgement.stale:
                await self._late.pull_for(judgement)
                at_ms = self._clock.now_ms()
                judgement = self._gate.judge_shown(shown, place, at_ms=at_ms)
            if not self._fire and self._pins.helps(shown, place, judgement):
                judgement = await self._ask_pin(shown, place, judgement)
                at_ms = self._clock.now_ms()
        if self._fire:
            return
        # From here to the hold in the books nothing waits: no other lane decides in between.
        tap_id = self._ids.make(at_ms)
        decision = judgement.decision
        if decision.outcome is not Outcome.ALLOW:
            tap = self._recorder.keep(tap_id, at_ms, presented, place, judgement)
            self._screen.show(verdict_of(judgement, self._clock))
            self._tell(tap, presented)
            return
        await self._let_through(tap_id, at_ms, presented, place, judgement)

    async def _ask_pin(self, shown: Shown, place: Place, judgement: Judgement) -> Judgement:
        self.state = LaneState.ASKING
        self._on_event()
        try:
            return await self._pins.settle(shown, place, judgement)
        finally:
            if not self._fire:
                self.state = LaneState.DECIDING

    async def _let_through(
        self, tap_id: UUID, at_ms: int, presented: Presented, place: Place, judgement: Judgement
    ) -> None:
        direction: Literal["entry", "exit"] = "exit" if place.lane.direction == "exit" else "entry"
        self.state = LaneState.RELEASED
        passage = self._passage = asyncio.get_running_loop().create_future()
        visitor = self._gate.visitor(judgement) if direction == "entry" else None
        if visitor is not None:
            self._presence.hold(visitor.keys, self.name)
        self._own.hold(str(tap_id), self._gate.own_of(judgement))
        tap = self._recorder.keep(tap_id, at_ms, presented, place, judgement)
        failed: GateError | None = None
        try:
            self._tail_until = 0.0
            try:
                await self._devices.release(direction)
            except GateError as error:
                failed = error
            if failed is not None:
                self._screen.show(display.GATE_DOWN)
            else:
                self._screen.show(display.GOODBYE if direction == "exit" else verdict_of(judgement, self._clock))
                if judgement.offered is not None and judgement.offered.needs.on_release:
                    self._own.commit(str(tap_id))
                    if visitor is not None:
                        self._presence.seen(visitor, at_ms // 1000)
            self._tell(tap, presented)
            if failed is not None:
                self._log.error(
                    "the gate did not accept the release; staff must let the person in", problem=str(failed)
                )
            result = await self._wait_for_passage(passage, failed)
            self._finish(tap_id, place, judgement, visitor, result)
        finally:
            if visitor is not None:
                self._presence.let_go(visitor.keys, self.name)
            self._own.let_go(str(tap_id))

    async def _wait_for_passage(
        self, passage: asyncio.Future[PassageResult], failed: GateError | None
    ) -> PassageResult:
        timeout = self._settings.passage_timeout_seconds
        try:
            async with asyncio.timeout(timeout):
                result = await asyncio.shield(passage)
        except TimeoutError:
            # Whether a gate that went silent has released is not known; the contact would have said so.
            passage.cancel()
            return "timed_out" if failed is None else "fault"
        self._tail_until = self._time() + timeout
        return result

    def _finish(
        self, tap_id: UUID, place: Place, judgement: Judgement, visitor: Visitor | None, result: PassageResult
    ) -> None:
        now_ms = self._clock.now_ms()
        self.counts[result] += 1
        self._outbox.add(Passage(tap_id=tap_id, result=result, at=now_ms))
        if result == "passed":
            if place.lane.direction == "exit":
                self._presence.passed_out(place.zone)
                if judgement.claims is not None:
                    self._presence.left(self._gate.keys_of(judgement.claims), now_ms // 1000)
            else:
                self._own.commit(str(tap_id))
                self._presence.passed_in(place.zone)
                if visitor is not None:
                    again = judgement.decision.reason == Reason.REPEAT_SCAN
                    self._presence.entered(visitor, now_ms // 1000, place.zone, again=again)
        elif result == "timed_out" and not self._fire:
            self._screen.show(display.IDLE)
        self._log.info("passage", result=result, tap_id=str(tap_id))

    def _tell(self, tap: Tap, presented: Presented) -> None:
        """Count the tap and tell of it, after the gate was released."""
        self.counts[tap.outcome.value] += 1
        self._recorder.tell(tap, presented, self._screen.verdict)
        self._on_event()

    @staticmethod
    def _time() -> float:
        return time.monotonic()
