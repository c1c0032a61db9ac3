"""Feeds that streams of this process listen to, and how one batch of changes reaches all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cardservice.feed.subscription import Block, Subscription
from entitlements.wire.feed import Head, feed_name


def change_frame(feed: str, body: bytes) -> bytes:
    """One change as a server-sent event; made once, written to every stream."""
    return b'event: change\ndata: {"feed":"' + feed.encode() + b'","change":' + body + b"}\n\n"


@dataclass(slots=True)
class Channel:
    """One feed. ``number`` is the last change that was handed to its listeners, who each know their own position."""

    tenant: str
    area: str
    epoch: UUID
    number: int
    issue_number: int
    listeners: dict[Subscription, int] = field(default_factory=dict)
    last: bytes | None = None
    """Change ``number`` as it was handed out, where it was: the database must go on having just this one."""

    @property
    def name(self) -> str:
        """``tenant/area``."""
        return feed_name(self.tenant, self.area)

    @property
    def head(self) -> Head:
        """As far as everything has been handed out."""
        return Head(epoch=str(self.epoch), number=self.number, issue_number=self.issue_number)

    def deliver(self, bodies: Sequence[bytes]) -> int:
        """Hand the changes that follow ``number`` to every listener, each from its own position.

        A listener is never behind ``number`` (see ``Hub.join``), but may be ahead: it read further when it joined.

        Returns:
            How many changes were pushed, over all listeners.
        """
        first, last = self.number + 1, self.number + len(bodies)
        frames = [change_frame(self.name, body) for body in bodies]
        # Encoded once for all listeners at the same position, which is nearly always everybody.
        blocks: dict[int, Block] = {}
        pushed = 0
        for listener, position in self.listeners.items():
            if position >= last:
                continue
            missing = position - first + 1
            if (block := blocks.get(missing)) is None:
                block = blocks[missing] = Block(b"".join(frames[missing:]))
            listener.push(self.name, block)
            self.listeners[listener] = last
            pushed += last - position
        self.number, self.last = last, bodies[-1]
        return pushed

    def restart(self, epoch: UUID, number: int) -> None:
        """The feed went on in a way that cannot be told change by change: everybody pulls."""
        self.epoch, self.number, self.last = epoch, number, None
        for listener in self.listeners:
            listener.pull(self.name)
            self.listeners[listener] = number
