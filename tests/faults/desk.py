"""The desk: issues cards and changes their state over a bad network, each wish sent until it is answered."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from typing import Any, Final

import aiohttp

AGAIN_SECONDS: Final = 0.02
ANSWER_SECONDS: Final = 2.0


class Desk:
    """Wishes on one card are done one after the other, those on different cards at the same time."""

    def __init__(self, url: str, token: str, cards: list[dict[str, Any]]) -> None:
        self.cards: dict[int, dict[str, Any]] = dict(enumerate(cards))
        """What the service said of each card when it was issued."""
        self.answered: dict[str, int] = {}
        """The highest number of a change that was answered, by feed."""
        self.problems: list[str] = []
        self.repeats = 0
        self._url, self._token = url, token
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()

    def issue(self, card: int, person: str) -> None:
        """Issue a card; does not wait."""
        self._begin(self._wish(card, lambda: ("/v1/cards", {"person_id": person})))

    def change(self, card: int, event: str) -> None:
        """Change a card's state; does not wait."""
        self._begin(self._wish(card, lambda: (f"/v1/cards/{self.cards[card]['card_id']}/{event}", {"reason": "x"})))

    async def done(self) -> None:
        """Wait until everything wished so far was answered."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Give up what is not answered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wish(self, card: int, what: Any) -> None:
        async with self._turns[card]:
            path, body = what()
            answer = await self._send(path, body)
            if answer is None:
                return
            if path == "/v1/cards":
                self.cards[card] = answer
            for area, number in answer["feeds"].items():
                self.answered[f"wcc/{area}"] = max(number, self.answered.get(f"wcc/{area}", 0))

    async def _send(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": uuid.uuid4().hex}
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        while True:
            try:
                # A connection of its own for each attempt: what becomes of it concerns no other wish.
                async with (
                    aiohttp.ClientSession() as http,
                    http.post(self._url + path, json=body, headers=headers, timeout=timeout) as answer,
                ):
                    said = await answer.json()
                    if answer.status < 300:
                        return dict(said)
                    if answer.status != 503:
                        self.problems.append(f"POST {path} was answered {answer.status}: {said}")
                        return None
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            self.repeats += 1
            await asyncio.sleep(AGAIN_SECONDS)
