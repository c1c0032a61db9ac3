"""A stream's queue never grows beyond its bound, and never loses a change without saying so."""

from __future__ import annotations

import random
import re
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from cardservice.feed.channels import Channel, change_frame
from cardservice.feed.subscription import Block, Subscription, pull_frame

LIMIT = 400
FEEDS = ("wcc/leisure", "rbkc/leisure")
READER = UUID(int=1)


def _channel(feed: str) -> Channel:
    tenant, _, area = feed.partition("/")
    return Channel(tenant, area, uuid4(), 0, 0)


async def _take(subscription: Subscription) -> bytes:
    taken = b""
    while not subscription.idle():
        taken += await subscription.take(0.0) or b""
    return taken


# A step is a batch of so many changes of a feed, or the reader taking what waits (None).
steps = st.lists(st.one_of(st.none(), st.tuples(st.sampled_from(FEEDS), st.integers(1, 8))), max_size=40)


@given(steps, st.randoms(use_true_random=False), st.booleans())
async def test_a_reader_gets_each_change_once_or_is_told_to_pull(
    taken: list[tuple[str, int] | None], dice: random.Random, keeps_up: bool
) -> None:
    """Also where its socket takes blocks at once at one moment and not at the next."""
    channels = {feed: _channel(feed) for feed in FEEDS}
    subscription = Subscription(READER, limit=LIMIT)
    sent: list[bytes] = []

    def write(block: Block) -> bool:
        if dice.random() < 0.5:
            return False
        length, _, rest = block.chunk.partition(b"\r\n")
        assert rest == block + b"\r\n"
        assert int(length, 16) == len(block)
        sent.append(block)
        return True

    if keeps_up:
        subscription.go_direct(write)
    for channel in channels.values():
        channel.listeners[subscription] = 0
    knows = dict.fromkeys(FEEDS, 0)
    largest = 0
    for step in [*taken, None]:
        if step is not None:
            feed, count = step
            first = channels[feed].number + 1
            bodies = [b'{"n":%d}' % number for number in range(first, first + count)]
            largest = max(largest, sum(len(change_frame(feed, body)) for body in bodies))
            channels[feed].deliver(bodies)
            assert subscription.waiting <= max(LIMIT, largest)
            continue
        sent.append(await _take(subscription))
        events, sent = b"".join(sent), []
        for event in events.split(b"\n\n")[:-1]:
            found = re.search(rb'"feed":"([^"]+)"', event)
            assert found is not None
            feed = found[1].decode()
            if event.startswith(b"event: pull"):
                knows[feed] = channels[feed].number  # the reader pulls up to the head
            else:
                number = re.search(rb'"n":(\d+)', event)
                assert number is not None
                assert int(number[1]) == knows[feed] + 1
                knows[feed] += 1
    assert knows == {feed: channel.number for feed, channel in channels.items()}


@given(st.integers(0, 12), st.integers(1, 12))
async def test_who_read_ahead_of_the_pump_gets_only_what_is_new(ahead: int, count: int) -> None:
    channel = _channel(FEEDS[0])
    subscription = Subscription(READER, limit=1 << 20)
    channel.listeners[subscription] = ahead
    bodies = [b'{"n":%d}' % number for number in range(1, count + 1)]
    channel.deliver(bodies)
    expected = b"".join(change_frame(FEEDS[0], body) for body in bodies[ahead:])
    assert await _take(subscription) == expected
    assert channel.listeners[subscription] == max(ahead, count)


async def test_a_new_epoch_drops_what_waits_of_that_feed_alone() -> None:
    subscription = Subscription(READER, limit=1 << 20)
    one, other = (_channel(feed) for feed in FEEDS)
    for channel in (one, other):
        channel.listeners[subscription] = 0
        channel.deliver([b'{"n":1}'])
    one.restart(uuid4(), 9)
    assert await _take(subscription) == pull_frame(FEEDS[0]) + change_frame(FEEDS[1], b'{"n":1}')
    one.deliver([b'{"n":10}'])
    assert await _take(subscription) == change_frame(FEEDS[0], b'{"n":10}')


async def test_a_thousand_slow_readers_keep_one_copy_of_what_they_wait_for() -> None:
    channel = _channel(FEEDS[0])
    slow = [Subscription(UUID(int=number)) for number in range(1000)]
    channel.listeners |= dict.fromkeys(slow, 0)
    channel.deliver([b'{"n":1}', b'{"n":2}'])
    assert len({id(block) for subscription in slow for _, block in subscription._blocks}) == 1
    taken = [await subscription.take(0.0) for subscription in slow]
    assert len({id(block) for block in taken}) == 1, "and none makes one of its own to write it"


async def test_an_ended_stream_ends_at_once() -> None:
    subscription = Subscription(READER)
    subscription.push(FEEDS[0], Block(b"event: beat\n\n"))
    subscription.end()
    assert await subscription.take(60.0) is None
    assert await subscription.take(60.0) is None
