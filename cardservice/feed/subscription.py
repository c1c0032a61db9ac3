"""One reader's stream as the hub sees it: a queue that cannot grow, and what happens when it would."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Final
from uuid import UUID

QUEUE_BYTES: Final = 1 << 20
"""1 MiB, some 3,000 changes. All queues share the blocks, so a thousand slow readers do not cost a thousand of it."""


Direct = Callable[["Block"], bool]
"""Writes a block at once; tells whether it did."""


class Block(bytes):
    """Whole events of one feed, made once for every stream."""

    @cached_property
    def chunk(self) -> bytes:
        """As a chunk of a body that is sent in chunks (RFC 9112 section 7.1)."""
        return b"%x\r\n%b\r\n" % (len(self), self)


def pull_frame(feed: str) -> bytes:
    """The event that tells a reader to pull a feed."""
    return b'event: pull\ndata: {"feed":"' + feed.encode() + b'"}\n\n'


class Subscription:
    """Blocks of whole events, written by the hub, taken by the stream.

    A reader that keeps up has its blocks written at once, without a task to wake and a queue to keep. Overflow drops
    what is queued and leaves one ``pull`` for each feed of which something was dropped: the reader then fetches what it
    missed at its own pace.

    Args:
        reader_id: whose stream it is.
        limit: bytes that may wait; one block may, however large it is.
    """

    __slots__ = ("_blocks", "_direct", "_ended", "_pulls", "_ready", "_size", "limit", "reader_id")

    def __init__(self, reader_id: UUID, *, limit: int = QUEUE_BYTES) -> None:
        self.reader_id = reader_id
        self.limit = limit
        self._blocks: deque[tuple[str, Block]] = deque()
        self._direct: Direct | None = None
        self._size = 0
        self._pulls: dict[str, None] = {}
        self._ready = asyncio.Event()
        self._ended = False

    @property
    def waiting(self) -> int:
        """Bytes that wait to be taken."""
        return self._size

    def idle(self) -> bool:
        """Whether nothing waits to be taken."""
        return not (self._blocks or self._pulls)

    @property
    def overflowed(self) -> bool:
        """Whether a pull waits to be told."""
        return bool(self._pulls)

    @property
    def ended(self) -> bool:
        """Whether the hub is done with it; what still waits is not worth sending."""
        return self._ended

    def go_direct(self, direct: Direct | None) -> None:
        """From now on write by this whenever nothing waits; what waits is taken first, so the order stays."""
        self._direct = direct

    def push(self, feed: str, block: Block) -> None:
        """Write a block of a feed's events, or queue it."""
        if feed in self._pulls:
            return  # the pull that waits will bring these changes too
        if self._direct is not None and self.idle() and not self._ended and self._direct(block):
            return
        if self._blocks and self._size + len(block) > self.limit:
            for name, _ in self._blocks:
                self._pulls[name] = None
            self._pulls[feed] = None
            self._blocks.clear()
            self._size = 0
        else:
            self._blocks.append((feed, block))
            self._size += len(block)
        self._ready.set()

    def pull(self, feed: str) -> None:
        """Tell the reader to pull a feed; what is queued of it no longer matters."""
        self._blocks = deque((name, block) for name, block in self._blocks if name != feed)
        self._size = sum(len(block) for _, block in self._blocks)
        self._pulls[feed] = None
        self._ready.set()

    def end(self) -> None:
        """Let the stream end."""
        self._ended = True
        self._ready.set()

    async def take(self, seconds: float) -> bytes | None:
        """The next of what waits; nothing once ``seconds`` have passed; ``None`` once the stream has to end.

        One block at a time: what a slow reader has not room for stays here, where it is shared and bounded.
        """
        if not self._ready.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._ready.wait()
            except TimeoutError:
                return b""
        if self._ended:
            return None
        taken = b"".join(pull_frame(feed) for feed in self._pulls)
        self._pulls.clear()
        if not taken and self._blocks:
            _, taken = self._blocks.popleft()
            self._size -= len(taken)
        if self.idle():
            self._ready.clear()
        return taken
