"""The uploader's loop: taps must reach the service soon after it is back, and one bad tap must hold up no other.

No test waits in real time: what the uploader waits for is put in by the test, which ends each wait when it likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from readers import backoff, uploader
from readers.errors import ReaderRevokedError, ServiceRefusedError, ServiceUnreachableError
from readers.outbox import Outbox
from readers.uploader import RECHECK_SECONDS, Uploader
from tests.unit.readers.test_outbox import Service, opened, tap

AWAY = ServiceUnreachableError("POST /v1/taps", "no connection")


class Waits:
    """Stands where the uploader waits: it says for how long, and goes on by its event or when time is let pass."""

    def __init__(self) -> None:
        self.seconds: asyncio.Queue[float] = asyncio.Queue()
        self._over = asyncio.Event()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        self._over.clear()
        self.seconds.put_nowait(seconds)
        ways = [asyncio.create_task(each.wait()) for each in (event, self._over)]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()

    def let_time_pass(self) -> None:
        """The wait that is under way is over."""
        self._over.set()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    class Dice:
        @staticmethod
        def uniform(low: float, high: float) -> float:
            return high

    made = Waits()
    monkeypatch.setattr(uploader, "_wait", made.wait)
    monkeypatch.setattr(backoff, "_random", Dice())
    return made


@asynccontextmanager
async def uploading(outbox: Outbox, service: Service) -> AsyncIterator[Uploader]:
    made = Uploader(outbox, service, lambda: 5)
    task = asyncio.create_task(made.run())
    try:
        async with asyncio.timeout(20):
            yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def with_taps(outbox: Outbox, count: int, reason: Callable[[int], str] = lambda _: "ok") -> None:
    for position in range(count):
        outbox.add(tap(reason(position)))
    await outbox.durable()


async def test_a_service_that_is_away_is_asked_ever_less_often_and_gets_every_tap_when_it_is_back(
    tmp_path: Path, waits: Waits
) -> None:
    service = Service()
    service.faults = [AWAY] * 9
    async with opened(tmp_path) as outbox:
        await with_taps(outbox, 3)
        async with uploading(outbox, service) as running:
            for seconds in (0.25, 0.5, 1, 2, 4, 8, 16, 30, 30):
                assert await waits.seconds.get() == seconds
                assert running.last_error == str(AWAY)
                assert not service.stored
                waits.let_time_pass()
            assert await waits.seconds.get() == RECHECK_SECONDS
            assert running.last_error is None
        assert (len(service.stored), outbox.waiting) == (3, 0)


async def test_after_a_success_the_next_failure_is_tried_again_soon(tmp_path: Path, waits: Waits) -> None:
    service = Service()
    service.faults = [AWAY, AWAY, AWAY]
    async with opened(tmp_path) as outbox:
        await with_taps(outbox, 1)
        async with uploading(outbox, service):
            for seconds in (0.25, 0.5, 1):
                assert await waits.seconds.get() == seconds
                waits.let_time_pass()
            assert await waits.seconds.get() == RECHECK_SECONDS
            service.faults = [AWAY]
            await with_taps(outbox, 1)
            assert await waits.seconds.get() == 0.25


async def test_when_the_stream_says_that_the_service_is_back_nobody_waits_for_the_clock(
    tmp_path: Path, waits: Waits
) -> None:
    service = Service()
    service.faults = [AWAY]
    async with opened(tmp_path) as outbox:
        await with_taps(outbox, 2)
        async with uploading(outbox, service) as running:
            await waits.seconds.get()
            running.try_now()
            assert await waits.seconds.get() == RECHECK_SECONDS
    assert len(service.stored) == 2


async def test_word_from_before_a_failure_does_not_cut_the_wait_after_it_short(tmp_path: Path, waits: Waits) -> None:
    service = Service()
    service.faults = [AWAY, AWAY]
    async with opened(tmp_path) as outbox:
        await with_taps(outbox, 1)
        async with uploading(outbox, service) as running:
            await waits.seconds.get()
            running.try_now()
            running.try_now()
            assert await waits.seconds.get() == 0.5
            await settled()
            assert not service.stored, "the second word was of the same return, which did not last"


async def test_a_tap_made_while_nothing_waited_goes_up_without_the_clock(tmp_path: Path, waits: Waits) -> None:
    service = Service()
    async with opened(tmp_path) as outbox, uploading(outbox, service):
        assert await waits.seconds.get() == RECHECK_SECONDS
        await with_taps(outbox, 1)
        assert await waits.seconds.get() == RECHECK_SECONDS
        assert len(service.stored) == 1


async def test_no_bad_tap_holds_up_those_behind_it(tmp_path: Path, waits: Waits) -> None:
    service = Service()
    service.reject, service.poison = {"blocked"}, {"full"}
    bad = {0: "blocked", 3: "full"}
    async with opened(tmp_path) as outbox:
        await with_taps(outbox, 700, lambda position: bad.get(position, "ok"))
        async with uploading(outbox, service) as running:
            assert await waits.seconds.get() == RECHECK_SECONDS
            assert running.last_error is None
        assert (len(service.stored), outbox.waiting, outbox.parked) == (698, 0, 2)


async def test_a_refusal_that_is_not_of_the_content_parks_nothing(tmp_path: Path, waits: Waits) -> None:
    service = Service()

    async def overrun(batch: Any) -> Any:
        raise ServiceRefusedError("POST /v1/taps", status=429, code="slow_down", detail="later")

    service.send_taps = overrun  # type: ignore[method-assign]
    async with opened(tmp_path) as outbox:
        await with_taps(outbox, 2)
        async with uploading(outbox, service):
            assert await waits.seconds.get() == 0.25
        assert (outbox.waiting, outbox.parked) == (2, 0)


async def test_a_revoked_reader_stops_and_keeps_what_was_not_taken(tmp_path: Path, waits: Waits) -> None:
    class Revoking(Service):
        async def send_taps(self, batch: Any) -> Any:
            raise ReaderRevokedError("POST /v1/taps", status=403, code="reader_revoked", detail="over")

    async with opened(tmp_path) as outbox:
        await with_taps(outbox, 2)
        with pytest.raises(ReaderRevokedError):
            await Uploader(outbox, Revoking(), lambda: 5).run()
        assert outbox.waiting == 2


async def test_a_wait_of_the_uploader_ends_with_its_event_or_its_time() -> None:
    event = asyncio.Event()
    event.set()
    await _soon(uploader._wait(event, 3600))
    await _soon(uploader._wait(asyncio.Event(), 0))


async def settled() -> None:
    """Give everything that is due a chance to run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def _soon(work: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(20):
        await work
