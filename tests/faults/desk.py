"""The desk: issues and changes cards, publishes services and rotates keys over a bad network, through either service;
each wish is sent until it is answered."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import aiohttp

AGAIN_SECONDS: Final = 0.02
ANSWER_SECONDS: Final = 2.0
Request = tuple[str, str, dict[str, Any]]
"""Method, path and body."""


class Desk:
    """Wishes on one thing are done one after the other, those on different things at the same time."""

    def __init__(self, urls: Sequence[str], token: str, cards: list[dict[str, Any]]) -> None:
        self.cards: dict[int, dict[str, Any]] = dict(enumerate(cards))
        """What the service said of each card when it was issued."""
        self.said: dict[str, dict[str, Any]] = {}
        """The last answer on each thing that is no card: a service, a site, the keys."""
        self.counts: defaultdict[str, int] = defaultdict(int)
        """How many wishes on such a thing were answered."""
        self.answered: dict[str, int] = {}
        """The highest number of a change that was answered, by feed."""
        self.problems: list[str] = []
        self.repeats = 0
        self._urls, self._token = urls, token
        self._turns: defaultdict[object, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = 0

    def issue(self, card: int, person: str) -> None:
        """Issue a card; does not wait."""
        self._begin([card], lambda: ("POST", "/v1/cards", {"person_id": person}), self._card(card))

    def change(self, card: int, event: str) -> None:
        """Change a card's state; does not wait."""
        self._begin([card], lambda: ("POST", self._path(card, event), {"reason": "x"}), lambda _: None)

    def succeed(self, card: int, event: str, successor: int) -> None:
        """Renew or replace a card; does not wait."""
        # The younger first: nobody else waits for the two of them the other way round.
        self._begin(
            [successor, card], lambda: ("POST", self._path(card, event), {"reason": "x"}), self._card(successor)
        )

    def wish(self, thing: str, method: str, path: str, body: dict[str, Any]) -> None:
        """Ask for something else; does not wait."""

        def take(answer: dict[str, Any]) -> None:
            self.said[thing] = answer
            self.counts[thing] += 1

        self._begin([thing], lambda: (method, path, body), take)

    async def done(self) -> None:
        """Wait until everything wished so far was answered."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Give up what is not answered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _path(self, card: int, event: str) -> str:
        return f"/v1/cards/{self.cards[card]['card_id']}/{event}"

    def _card(self, card: int) -> Callable[[dict[str, Any]], None]:
        def take(answer: dict[str, Any]) -> None:
            self.cards[card] = answer

        return take

    def _begin(
        self, things: Sequence[object], what: Callable[[], Request], take: Callable[[dict[str, Any]], None]
    ) -> None:
        task = asyncio.create_task(self._do(things, what, take))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(
        self, things: Sequence[object], what: Callable[[], Request], take: Callable[[dict[str, Any]], None]
    ) -> None:
        async with AsyncExitStack() as stack:
            for thing in things:
                await stack.enter_async_context(self._turns[thing])
            answer = await self._send(*what())
            if answer is None:
                return
            take(answer)
            for feed, number in answer.get("feeds", {}).items():
                name = feed if "/" in feed else f"wcc/{feed}"
                self.answered[name] = max(number, self.answered.get(name, 0))

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": uuid.uuid4().hex}
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        self._begun += 1
        attempt = self._begun
        while True:
            # Each attempt at the other service: what the first did must not be done again there.
            url = self._urls[attempt % len(self._urls)]
            attempt += 1
            try:
                # A connection of its own for each attempt: what becomes of it concerns no other wish.
                async with (
                    aiohttp.ClientSession() as http,
                    http.request(method, url + path, json=body, headers=headers, timeout=timeout) as answer,
                ):
                    said = await answer.json()
                    if answer.status < 300:
                        return dict(said)
                    if answer.status != 503:
                        self.problems.append(f"{method} {path} was answered {answer.status}: {said}")
                        return None
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            self.repeats += 1
            await asyncio.sleep(AGAIN_SECONDS)
