"""The clock: a gate with a wrong wall clock must not open at the wrong hour, nor refuse everybody."""

from __future__ import annotations

import random
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readers.clock import MAX_DRIFT_MS, KeptClock, TrustedClock

T0 = 1_780_315_200_000
MINUTE = 60_000


@dataclass
class Machine:
    """A machine whose two clocks a test turns."""

    wall: int = T0
    steady: int = 5_000
    boot: str = "boot-1"

    def clock(self) -> TrustedClock:
        return TrustedClock(wall=lambda: self.wall, steady=lambda: self.steady, boot=self.boot)

    def go_on(self, ms: int) -> None:
        self.wall += ms
        self.steady += ms

    def reboot(self, off_ms: int) -> None:
        self.wall += off_ms
        self.steady, self.boot = 100, self.boot + "'"


def test_a_clock_that_never_saw_the_service_is_not_trusted() -> None:
    machine = Machine()
    clock = machine.clock()
    assert not clock.trusted
    assert clock.now_ms() == machine.wall


@pytest.mark.parametrize("wrong", [-10 * MINUTE, 10 * MINUTE])
def test_a_wall_clock_ten_minutes_wrong_is_put_right_by_the_first_reply(wrong: int) -> None:
    machine = Machine(wall=T0 + wrong)
    clock = machine.clock()
    clock.observe(T0, 40)
    assert clock.trusted
    assert abs(clock.now_ms() - T0) <= 20
    machine.go_on(3_600_000)
    assert clock.now_ms() == T0 + 20 + 3_600_000
    assert abs(clock.offset_ms + wrong) <= 20


def test_the_surest_measurement_wins_until_it_has_aged() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.observe(T0, 10)
    clock.observe(T0 + 400, 900)
    assert clock.now_ms() == T0 + 5
    machine.go_on(3_600_000)
    assert clock.error_ms > 500
    clock.observe(T0 + 3_600_000 + 50, 100)
    assert abs(clock.now_ms() - (T0 + 3_600_000 + 100)) <= 50
    assert clock.error_ms <= 50


def test_a_wall_clock_that_somebody_sets_changes_no_decision_time_but_is_told() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.observe(T0, 0)
    machine.wall += 119_000
    assert clock.problem is None
    machine.wall += 2_000
    assert "jumped" in str(clock.problem)
    assert clock.now_ms() == T0
    clock.observe(T0, 0)
    assert clock.trusted


def test_a_service_time_that_contradicts_ours_must_be_confirmed() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.observe(T0, 0)
    for _ in range(2):
        clock.observe(T0 + MAX_DRIFT_MS + 1, 0)
        assert "waiting for it to be confirmed" in str(clock.problem)
        assert clock.keep() is None
    clock.observe(T0 + MAX_DRIFT_MS + 1, 0)
    assert clock.trusted
    assert clock.now_ms() == T0 + MAX_DRIFT_MS + 1


def test_one_odd_reply_among_good_ones_changes_no_time() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.observe(T0, 10)
    clock.observe(T0 + 3_600_000, 10)
    assert "waiting" in str(clock.problem)
    machine.go_on(1000)
    clock.observe(T0 + 1000, 10)
    assert clock.trusted
    assert abs(clock.now_ms() - (T0 + 1005)) <= 5


def test_replies_that_contradict_each_other_are_never_believed() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.observe(T0, 10)
    for number in range(1, 20):
        machine.go_on(1000)
        clock.observe(T0 + number * 600_000, 10)
        assert not clock.trusted
    for _ in range(2):
        machine.go_on(1000)
        clock.observe(clock.now_ms() + 30_000, 10)
        assert not clock.trusted, "half a minute apart is no agreement"


def kept(machine: Machine, server: int) -> KeptClock:
    """What a process kept that was measured at ``server``, ran a minute more and was killed then."""
    clock = machine.clock()
    clock.observe(server, 0)
    machine.go_on(MINUTE)
    state = clock.keep()
    assert state is not None
    return msgspec.json.decode(msgspec.json.encode(state), type=KeptClock)


def restarted(machine: Machine, state: KeptClock) -> TrustedClock:
    clock = machine.clock()
    clock.restore(state)
    return clock


def test_a_killed_reader_goes_on_with_the_same_time_although_its_wall_clock_is_wrong() -> None:
    machine = Machine(wall=T0 + 10 * MINUTE)
    state = kept(machine, T0)
    machine.go_on(30_000)
    clock = restarted(machine, state)
    assert clock.trusted
    assert clock.now_ms() == T0 + MINUTE + 30_000


def test_after_a_reboot_without_network_a_sound_wall_clock_is_trusted() -> None:
    machine = Machine(wall=T0 + 300)
    state = kept(machine, T0)
    machine.reboot(off_ms=8 * 3_600_000)
    clock = restarted(machine, state)
    assert clock.trusted
    assert clock.now_ms() == T0 + MINUTE + 8 * 3_600_000


@pytest.mark.parametrize(
    ("wall_wrong", "off", "why"),
    [
        (0, -2 * MINUTE, "before the last known time"),
        (0, 40 * 86_400_000, "31 days"),
        (10 * MINUTE, 3_600_000, "wrong before"),
    ],
)
def test_after_a_reboot_without_network_a_doubtful_clock_is_not_trusted(wall_wrong: int, off: int, why: str) -> None:
    machine = Machine(wall=T0 + wall_wrong)
    state = kept(machine, T0)
    machine.reboot(off_ms=off)
    clock = restarted(machine, state)
    assert why in str(clock.problem)
    for _ in range(3):
        clock.observe(T0 + 5 * MINUTE, 10)
    assert clock.trusted


@given(
    samples=st.lists(
        st.tuples(st.integers(1, 60_000), st.integers(0, 2_000), st.floats(0, 1)), min_size=1, max_size=30
    ),
    wrong=st.integers(-(10**9), 10**9),
)
def test_corrected_time_is_never_further_off_than_the_round_trips_allow(
    samples: list[tuple[int, int, float]], wrong: int
) -> None:
    machine = Machine(wall=T0 + wrong)
    clock = machine.clock()
    true = T0
    for gone, round_trip, share in samples:
        machine.go_on(gone)
        true += gone
        clock.observe(round(true - round_trip * share), round_trip)
        assert clock.trusted
        assert abs(clock.now_ms() - true) <= 1_001


@dataclass
class World:
    """True time, and a machine whose clock is wrong by a share of it."""

    ppm: int
    true: float = float(T0)
    ran: float = 5_000.0
    slept: float = 0.0
    counted: float = 0.0
    """What the steady clock made of the sleep."""
    wall_set: int = 0

    def clock(self) -> TrustedClock:
        return TrustedClock(
            wall=lambda: T0 + self.wall_set + self.steady(), steady=self.steady, awake=lambda: int(self.ran), boot="b"
        )

    def steady(self) -> int:
        return int(self.ran + self.counted)

    def go_on(self, ms: float) -> None:
        self.true += ms
        self.ran += ms * (1 + self.ppm * 1e-6)

    def sleep(self, ms: float, miscounted: float) -> None:
        self.true += ms
        self.counted += max(0.0, ms + miscounted)

    def ask(self, clock: TrustedClock, out_ms: float, back_ms: float) -> None:
        """A request, whose reply was made in between."""
        self.go_on(out_ms)
        said = int(self.true)
        self.go_on(back_ms)
        clock.observe(said, out_ms + back_ms)


events = st.one_of(
    st.tuples(st.just("ask"), st.floats(0, 1500), st.floats(0, 1500)),
    st.tuples(st.just("go on"), st.floats(0, 4 * 3_600_000), st.just(0.0)),
    # A shorter nap, of which the system counts nothing, is one that nobody can know of.
    st.tuples(st.just("sleep"), st.floats(1_600, 12 * 3_600_000), st.floats(-999, 999)),
    st.tuples(st.just("set"), st.integers(-100_000, 100_000).map(float), st.just(0.0)),
)


@settings(deadline=None)
@given(ppm=st.integers(-190, 190), happened=st.lists(events, max_size=40))
def test_whatever_a_machine_goes_through_its_time_is_as_sure_as_it_says(
    ppm: int, happened: list[tuple[str, float, float]]
) -> None:
    world = World(ppm)
    clock = world.clock()
    world.ask(clock, 10, 10)
    unknown = 0.0
    for what, one, two in happened:
        before = clock.now_ms()
        if what == "ask":
            world.ask(clock, one, two)
            unknown = 0.0
            assert clock.error_ms <= (one + two) / 2 + 1
        elif what == "go on":
            world.go_on(one)
            assert clock.now_ms() >= before
        elif what == "sleep":
            # A sleep that is not yet known of: the bound holds again at the next reply.
            world.sleep(one, two)
            unknown += 1000
        else:
            world.wall_set = int(one)  # by hand or by NTP, within what is explained
        assert abs(clock.now_ms() - world.true) <= clock.error_ms + unknown + 4


def seconds_off_after(hours: int, ppm: int, *, seed: int) -> float:
    """How wrong the time is after so many hours without network, by a clock asked for an hour before."""
    world, dice = World(ppm), random.Random(seed)
    clock = world.clock()
    for _ in range(240):
        world.ask(clock, dice.uniform(5, 25), dice.uniform(5, 25))
        world.go_on(dice.uniform(10_000, 20_000))
    assert abs(clock.drift * 1e6 + ppm) < 15
    world.go_on(hours * 3_600_000)
    return abs(clock.now_ms() - world.true) / 1000


@pytest.mark.parametrize("ppm", [-190, -60, 0, 60, 190])
def test_a_night_without_network_costs_no_seconds_although_the_quartz_is_poor(ppm: int) -> None:
    assert all(seconds_off_after(12, ppm, seed=seed) < 0.75 for seed in range(3))


def test_the_services_clock_set_by_a_minute_is_followed_at_once() -> None:
    world = World(50)
    clock = world.clock()
    for _ in range(20):
        world.ask(clock, 10, 10)
        world.go_on(30_000)
    world.true += 60_000
    world.ask(clock, 5, 5)
    assert clock.trusted
    assert abs(clock.now_ms() - world.true) <= 10
    assert clock.drift != 0
