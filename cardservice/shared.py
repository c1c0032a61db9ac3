"""Short-lived state that several service processes share: counts, first sights, hints. Valkey where there is one.

Losing Valkey costs precision, never correctness: counts and first sights are then kept by this process alone, and
hints are not carried, so whoever listens also polls.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from cardservice.settings import Settings

ANSWER_SECONDS: Final = 0.25
"""A count is not worth a longer wait: beyond it this process counts alone."""
REST_SECONDS: Final = 2.0
"""After a failure Valkey is left alone for so long, so that no request waits for it in vain."""
MAX_LOCAL: Final = 50_000
"""Names kept by this process alone; the oldest go first."""
CONNECTIONS: Final = 8
PROVE_SECONDS: Final = 5.0
"""A listener that heard nothing for so long asks whether anybody is there: a cut wire says nothing by itself."""

log = structlog.get_logger("shared")


class Shared:
    """Counts and first sights with an end, and hints between processes.

    Names are prefixed with the database's fingerprint: two installations on one Valkey do not count each other.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.redis_url
        self._prefix = f"rescard:{hashlib.sha256(settings.database_url.encode()).hexdigest()[:12]}:"
        self._redis: Redis | None = None
        self._rest_until = 0.0
        self._local: dict[str, tuple[int, float]] = {}
        self._hearing: set[str] = set()

    async def open(self) -> None:
        """Make the pool; nothing is connected before it is needed."""
        if self._url is not None:
            pool = BlockingConnectionPool.from_url(
                self._url,
                max_connections=CONNECTIONS,
                timeout=ANSWER_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                socket_connect_timeout=ANSWER_SECONDS,
            )
            self._redis = Redis.from_pool(pool)

    async def close(self) -> None:
        """Let the connections go."""
        if self._redis is not None:
            await self._redis.aclose()
            self._redis = None

    async def count(self, name: str, seconds: int) -> int:
        """Add one to a count that ends ``seconds`` after its first, and give it."""
        client = self._usable()
        if client is not None:
            try:
                async with client.pipeline(transaction=True) as pipe:
                    pipe.set(self._prefix + name, 0, ex=seconds, nx=True)
                    pipe.incr(self._prefix + name)
                    return int((await pipe.execute())[1])
            except (RedisError, OSError, TimeoutError) as error:
                self._failed(error)
        return self._count_here(name, seconds)

    async def reached(self, name: str) -> int:
        """The count so far, without adding to it."""
        client = self._usable()
        if client is not None:
            try:
                return int(await client.get(self._prefix + name) or 0)
            except (RedisError, OSError, TimeoutError) as error:
                self._failed(error)
        count, until = self._local.get(name, (0, 0.0))
        return count if time.monotonic() < until else 0

    async def first_sight(self, name: str, seconds: int) -> bool:
        """Whether ``name`` was not seen within the last ``seconds``; it counts as seen from now on."""
        return await self.count(name, seconds) == 1

    async def hint(self, channel: str, message: str) -> None:
        """Tell the other processes, if they can be told."""
        client = self._usable()
        if client is not None:
            try:
                await client.publish(channel, message)
            except (RedisError, OSError, TimeoutError) as error:
                self._failed(error)

    async def hints(self, channel: str) -> AsyncIterator[str | None]:
        """What others told on a channel, without end. ``None`` each time the listening begins (anew).

        A message is a hint: between the loss of the connection and the next ``None`` some are missed.
        """
        while True:
            if self._url is None:
                await asyncio.Event().wait()
            client = Redis.from_url(str(self._url), socket_timeout=None, socket_connect_timeout=ANSWER_SECONDS)
            try:
                async with client.pubsub() as listener:
                    await listener.subscribe(channel)
                    async for message in _messages(listener):
                        self._hearing.add(channel)
                        yield message
            except (RedisError, OSError, TimeoutError) as error:
                self._failed(error)
            finally:
                self._hearing.discard(channel)
                await client.aclose()
            await asyncio.sleep(REST_SECONDS)

    def carries(self, channel: str) -> bool:
        """Whether hints on a channel reach this process and leave it, as far as it knows."""
        return channel in self._hearing and self.connected

    @property
    def connected(self) -> bool:
        """Whether Valkey answered when it was last asked."""
        return self._usable() is not None

    def _usable(self) -> Redis | None:
        return self._redis if time.monotonic() >= self._rest_until else None

    def _failed(self, error: Exception) -> None:
        self._rest_until = time.monotonic() + REST_SECONDS
        log.warning("Valkey does not answer; this process counts alone for a while", error=str(error))

    def _count_here(self, name: str, seconds: int) -> int:
        now = time.monotonic()
        count, until = self._local.get(name, (0, 0.0))
        if now >= until:
            self._local.pop(name, None)
            count, until = 0, now + seconds
            while len(self._local) >= MAX_LOCAL:
                del self._local[next(iter(self._local))]
        self._local[name] = (count + 1, until)
        return count + 1


async def _messages(listener: PubSub) -> AsyncIterator[str | None]:
    """``None`` once the subscription stands, then what comes.

    Raises:
        TimeoutError: nobody is there any more.
    """
    asked = False
    while True:
        message = await listener.get_message(timeout=PROVE_SECONDS)
        if message is None:
            if asked:
                raise TimeoutError(f"Valkey was silent for {2 * PROVE_SECONDS:g} s")
            await listener.ping()
            asked = True
            continue
        asked = False
        if message["type"] == "subscribe":
            yield None
        elif message["type"] == "message":
            yield _text(message)


def _text(message: dict[str, Any]) -> str:
    data = message["data"]
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
