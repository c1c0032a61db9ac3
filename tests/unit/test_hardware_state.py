"""The pure state of devices: contacts of a gate, cards in a field, codes in view, slow readers, queues,
back-off.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.backoff import LONGEST_SECONDS, Backoff
from hardware.events import EventQueue
from hardware.gates.contacts import Contacts, Sample
from hardware.interfaces import (
    Direction,
    Down,
    FireOff,
    FireOn,
    Forced,
    GateEvent,
    Passed,
    Presented,
    Removed,
    SourceEvent,
    Tamper,
    Unreadable,
    Up,
)
from hardware.nfc.presence import FAILURES_BEFORE_NOTICE, Presence
from hardware.nfc.presence import LEAVE_SECONDS as CARD_LEAVE_SECONDS
from hardware.nfc.watch import BASELINE_POLLS, SLOW_POLLS, PollWatch
from hardware.qr.view import LEAVE_SECONDS, View

OPEN, CLOSED = Sample(passage=False), Sample(passage=True)


def run(contacts: Contacts, *samples: Sample, start: float = 0.0) -> list[GateEvent]:
    events: list[GateEvent] = []
    for index, sample in enumerate(samples):
        events += contacts.sample(sample, start + index * 0.02)
    return events


def test_a_bouncing_contact_does_not_count_one_person_twice() -> None:
    contacts = Contacts(passage_seconds=10)
    contacts.released("entry", 0.5, 0.0)
    assert run(contacts, OPEN, CLOSED, OPEN, CLOSED, CLOSED, OPEN, CLOSED) == [Passed(direction="entry")]


def test_a_release_that_nobody_used_does_not_excuse_a_later_passage() -> None:
    contacts = Contacts(passage_seconds=10)
    contacts.released("entry", 0.5, 0.0)
    assert run(contacts, OPEN, OPEN, CLOSED, start=10.6) == [Forced()]


def test_a_contact_found_closed_after_the_line_was_down_is_no_passage() -> None:
    contacts = Contacts(passage_seconds=10)
    contacts.released("entry", 0.5, 0.0)
    contacts.reconnected()
    assert run(contacts, CLOSED, CLOSED) == []
    assert run(contacts, OPEN, OPEN, CLOSED) == [Passed(direction="entry")]


def test_one_contact_takes_the_direction_of_its_release() -> None:
    contacts = Contacts(passage_seconds=10)
    contacts.released("exit", 0.5, 0.0)
    assert run(contacts, OPEN, CLOSED) == [Passed(direction="exit")]


def test_a_gate_that_starts_in_a_fire_knows_it() -> None:
    contacts = Contacts(passage_seconds=10)
    assert contacts.sample(Sample(passage=False, fire_signal=False, tamper=False), 0.0) == [FireOn()]
    assert contacts.fire
    assert contacts.sample(Sample(passage=False, fire_signal=True, tamper=True), 0.1) == [
        FireOff(),
        Tamper(active=True),
    ]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("release"), st.sampled_from(["entry", "exit"])),
        st.tuples(st.just("sample"), st.tuples(st.booleans(), st.booleans(), st.booleans())),
    ),
    max_size=60,
)


@given(steps)
def test_nobody_passes_on_a_release_that_was_not_given(story: list[tuple[str, object]]) -> None:
    contacts = Contacts(passage_seconds=1000)
    unused: dict[str, int] = {"entry": 0, "exit": 0}
    fire = False
    for kind, value in story:
        if kind == "release":
            direction: Direction = "entry" if value == "entry" else "exit"
            contacts.released(direction, 0.5, 0.0)
            unused[direction] += 1
            continue
        assert isinstance(value, tuple)
        sample = Sample(passage=value[0], exit_passage=value[1], fire_signal=value[2])
        for event in contacts.sample(sample, 0.0):
            if isinstance(event, FireOn | FireOff):
                # Fire and its end take turns.
                assert fire != isinstance(event, FireOn)
                fire = isinstance(event, FireOn)
            elif isinstance(event, Passed):
                assert event.during_fire == fire
                if not fire:
                    assert unused[event.direction] > 0
                unused[event.direction] = max(0, unused[event.direction] - 1)
            else:
                assert isinstance(event, Forced)
                assert not fire
        assert fire == contacts.fire == (not value[2])


def kinds(events: list[SourceEvent]) -> list[type]:
    return [type(event) for event in events]


def test_a_card_that_flickers_at_the_edge_of_the_field_is_one_card() -> None:
    presence = Presence("nfc")
    assert kinds([*presence.found(0.0), *presence.read(b"a", "nfc-ndef", 0.1)]) == [Presented]
    presence.seen(1.0)
    assert presence.absent(1.2) == []
    assert [*presence.found(1.3), *presence.read(b"a", "nfc-ndef", 1.35)] == []
    assert kinds(presence.absent(1.35 + CARD_LEAVE_SECONDS + 0.01)) == [Removed]


def test_the_same_card_held_again_is_a_new_presentation() -> None:
    presence = Presence("nfc")
    presence.read(b"a", "nfc-ndef", 0.0)
    assert kinds([*presence.found(2.0), *presence.read(b"a", "nfc-ndef", 2.1)]) == [Removed, Presented]


def test_another_card_without_a_gap_is_a_new_presentation() -> None:
    presence = Presence("nfc")
    presence.read(b"a", "nfc-ndef", 0.0)
    assert kinds([*presence.found(0.1), *presence.read(b"b", "nfc-ndef", 0.2)]) == [Removed, Presented]


def test_a_person_is_told_once_of_a_card_that_cannot_be_read_and_then_served() -> None:
    presence = Presence("nfc")
    told = [event for turn in range(10) for event in presence.failed("torn", turn * 0.1)]
    assert kinds(told) == [Unreadable]
    assert kinds(presence.read(b"a", "nfc-ndef", 1.0)) == [Removed, Presented]
    assert FAILURES_BEFORE_NOTICE > 1
    assert kinds(presence.failed("a bus card", 1.1, certain=True)) == [Removed, Unreadable]
    assert kinds(presence.leave(1.2)) == [Removed]
    assert presence.leave(1.3) == []


@given(st.lists(st.tuples(st.floats(0.01, 3), st.sets(st.sampled_from([b"a", b"b", b"c"]))), max_size=40))
def test_a_code_is_presented_once_for_each_time_it_comes_into_view(
    story: list[tuple[float, set[bytes]]],
) -> None:
    view, now, last_seen = View("camera"), 0.0, dict[bytes, float]()
    for gap, codes in story:
        now += gap
        events = view.frame(sorted(codes), now)
        presented = {event.data for event in events if isinstance(event, Presented)}
        expected = {code for code in codes if now - last_seen.get(code, -9.0) >= LEAVE_SECONDS}
        assert presented == expected
        last_seen |= dict.fromkeys(codes, now)


def test_a_reader_that_became_slow_is_opened_anew_and_a_busy_moment_is_not() -> None:
    watch = PollWatch()
    assert not any(watch.reopen_after(0.02) for _ in range(BASELINE_POLLS))
    assert not any(watch.reopen_after(9.0) for _ in range(SLOW_POLLS - 1))
    assert not watch.reopen_after(0.02)
    assert [watch.reopen_after(9.0) for _ in range(SLOW_POLLS)].index(True) == SLOW_POLLS - 1


def test_waiting_grows_to_its_bound_and_starts_afresh() -> None:
    backoff = Backoff()
    fresh = [backoff.fresh]
    waits = [backoff.next() for _ in range(10)]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_SECONDS
    fresh.append(backoff.fresh)
    backoff.reset()
    fresh.append(backoff.fresh)
    assert fresh == [True, False, True]
    assert backoff.next() == waits[0]


async def test_a_consumer_that_stands_still_keeps_the_newest_card_and_every_alarm() -> None:
    queue: EventQueue[SourceEvent] = EventQueue(limit=4)
    queue.attach()
    queue.put(Up(source="s"))
    for number in range(10):
        queue.put(Presented(data=b"%d" % number, media="qr", source="s", at_monotonic=0.0))
    queue.put(Down(source="s", reason="gone"))
    queue.close()
    left = [event async for event in queue]
    assert left[0] == Up(source="s")
    assert [event.data for event in left if isinstance(event, Presented)] == [b"8", b"9"]
    assert left[-1] == Down(source="s", reason="gone")


async def test_events_of_a_thread_arrive_in_order() -> None:
    queue: EventQueue[int] = EventQueue()
    queue.attach()

    def work() -> None:
        for number in range(200):
            queue.put_from_thread(number)

    await asyncio.to_thread(work)
    queue.close()
    assert [number async for number in queue] == list(range(200))


def test_an_event_before_the_device_was_entered_is_a_fault_of_the_driver() -> None:
    with pytest.raises(RuntimeError, match="entered"):
        EventQueue[int]().put_from_thread(1)
