"""The clock: a gate with a wrong wall clock must not open at the wrong hour, nor refuse everybody."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
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
    clock.observe(T0 + 3_600_000 + 50, 100)
    assert clock.now_ms() == T0 + 3_600_000 + 100


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
    clock.observe(T0 + MAX_DRIFT_MS + 1, 0)
    assert "waiting for it to be confirmed" in str(clock.problem)
    assert clock.keep() is None
    clock.observe(T0 + MAX_DRIFT_MS + 1, 0)
    assert clock.trusted
    assert clock.now_ms() == T0 + MAX_DRIFT_MS + 1


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
    clock.observe(T0 + 5 * MINUTE, 10)
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
