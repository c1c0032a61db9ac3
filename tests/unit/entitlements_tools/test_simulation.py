"""What a draft would have done last month: the replay against deciding tap by tap, and what it keeps between taps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.compile import CompiledService, compile_profile, compile_service
from entitlements.decide import decide
from entitlements.facts import ALWAYS, PersonFacts
from entitlements.model import CardState, Instant, Outcome, PersonId, SiteId, TenantId, ZoneId
from entitlements.profile import Horizon, Profile
from entitlements.simulate import Inside, ReplayTap, Start, simulate, typical_residents, what_if
from entitlements.situation import NOTHING, Moment, State, Subject, TapInput, UpstreamCheck
from tests.support.documents import changed, titles, world

Change = Callable[[dict[str, Any]], object]
MONDAY = Instant(1_780_308_000)
"""2026-06-01T10:00:00Z, 11 in the morning in London."""
HOUR = 3600
DAY = 24 * HOUR


def service(name: str, change: Change = lambda value: None) -> CompiledService:
    return compile_service(changed(name, change), world())


def profile(compiled: CompiledService, born: int = 1980, **facts: Any) -> Profile:
    person = PersonFacts(id=PersonId("p"), date_of_birth=date(born, 1, 1), residency={TenantId("wcc"): ALWAYS}, **facts)
    horizon = Horizon(start=Instant(MONDAY - DAY), end=Instant(MONDAY + 40 * DAY))
    return compile_profile(person, [compiled], world(), horizon)


def tip(change: Change = lambda value: None) -> CompiledService:
    return service("hwrc", change)


def quota(number: int) -> Change:
    return lambda value: value["limits"][0]["quota"].update(max=number)


def visit(old: CompiledService | None, new: CompiledService, person: str, at: int, **more: Any) -> ReplayTap:
    given: dict[str, Any] = {
        "at": Instant(at),
        "site": SiteId("hwrc-a"),
        "person": person,
        "old_profile": None if old is None else profile(old),
        "new_profile": profile(new),
        "keys": {"person": person, "household": f"h-{person}"},
    }
    return ReplayTap(**{**given, **more})


def test_a_higher_limit_lets_in_just_those_whom_the_old_one_kept_out() -> None:
    old, new = tip(quota(2)), tip(quota(3))
    taps = [visit(old, new, person, MONDAY + n * HOUR) for person in ("a", "b") for n in range(4)]
    found = simulate(old, new, taps)
    assert (found.taps, found.now_allowed, found.now_refused) == (8, 2, 0)
    assert found.people_gaining == 2
    changes = {(change.before.reason, change.after.reason): change.taps for change in found.changes}
    assert changes == {("quota_used", "ok"): 2, ("quota_used", "quota_used"): 2, ("ok", "ok"): 4}
    assert found.sentences()[0] == "Of 8 taps, 2 refused today would be allowed, none the other way."


def test_each_version_keeps_its_own_units() -> None:
    # By person instead of by household: under the draft nobody uses up what the other has.
    old, new = tip(quota(1)), tip(lambda value: value["limits"][0]["quota"].update(max=1, scope="person"))
    shared = {"household": "h"}
    taps = [
        visit(old, new, "a", MONDAY, keys={"person": "a", **shared}),
        visit(old, new, "b", MONDAY + HOUR, keys={"person": "b", **shared}),
        visit(old, new, "b", MONDAY + 2 * HOUR, keys={"person": "b", **shared}),
    ]
    found = simulate(old, new, taps)
    assert [(change.before.reason, change.after.reason, change.taps) for change in found.changes] == [
        ("quota_used", "ok", 1),
        ("ok", "ok", 1),
        ("quota_used", "quota_used", 1),
    ]


def test_units_used_before_the_month_count() -> None:
    old, new = tip(quota(2)), tip(quota(1))
    start = Start(entries=(("hwrc_visits", "h-a", 1, Instant(MONDAY - DAY)),))
    found = simulate(old, new, [visit(old, new, "a", MONDAY)], start=start)
    assert (found.now_allowed, found.now_refused) == (0, 1)
    assert found.changes[0].examples[0].person == "a"
    assert found.changes[0].examples[0].after.reason == "quota_used"


def test_a_double_tap_is_one_visit_in_the_replay_too() -> None:
    new = tip(quota(1))
    found = simulate(new, new, [visit(new, new, "a", MONDAY), visit(new, new, "a", MONDAY + 60)])
    assert {change.after.reason for change in found.changes} == {"ok", "repeat_scan"}
    assert all(change.same for change in found.changes)


def test_taps_are_replayed_by_event_time_whatever_their_order() -> None:
    old, new = tip(quota(1)), tip(quota(2))
    taps = [visit(old, new, "a", MONDAY + n * HOUR) for n in range(5)]
    assert simulate(old, new, taps) == simulate(old, new, list(reversed(taps)))


def gym_tap(new: CompiledService, person: str, at: int, **more: Any) -> ReplayTap:
    rights = profile(new, evidence={"student": ALWAYS})
    return visit(
        new, new, person, at,
        **{"site": SiteId("porchester"), "zone": ZoneId("gym"), "old_profile": rights, "new_profile": rights, **more},
    )  # fmt: skip


def reasons(old: CompiledService, taps: list[ReplayTap], start: Start = Start()) -> Counter[str]:  # noqa: B008
    found = simulate(old, old, taps, start=start)
    counts: Counter[str] = Counter()
    for change in found.changes:
        counts[change.after.reason] += change.taps
    return counts


def test_somebody_inside_is_refused_until_they_left_or_midnight_passed() -> None:
    gym = service("gym-offpeak")
    come, go = MONDAY, MONDAY + HOUR
    again = [gym_tap(gym, "a", come), gym_tap(gym, "a", come + 600)]
    assert reasons(gym, again) == {"ok": 1, "already_inside": 1}
    left = [gym_tap(gym, "a", come), gym_tap(gym, "a", go, direction="out"), gym_tap(gym, "a", go + 600)]
    assert reasons(gym, left) == {"ok": 2}
    assert reasons(gym, [gym_tap(gym, "a", come), gym_tap(gym, "a", come + DAY)]) == {"ok": 2}


def test_a_full_gym_is_full_in_the_replay_until_somebody_leaves() -> None:
    gym = service("gym-offpeak", lambda value: value["limits"][0]["capacity"].update(max=2))
    three = [gym_tap(gym, person, MONDAY + n * 60) for n, person in enumerate("abc")]
    assert reasons(gym, three) == {"ok": 2, "full": 1}
    out = gym_tap(gym, "a", MONDAY + 90, direction="out")
    assert reasons(gym, [*three, out]) == {"ok": 3}
    elsewhere = gym_tap(gym, "c", MONDAY + 120, site=SiteId("queen-mother"))
    assert reasons(gym, [*three[:2], elsewhere]) == {"ok": 3}
    next_day = gym_tap(gym, "c", MONDAY + DAY)
    assert reasons(gym, [*three[:2], next_day]) == {"ok": 3}


def test_heads_that_were_inside_at_the_start_count() -> None:
    gym = service("gym-offpeak", lambda value: value["limits"][0]["capacity"].update(max=3))
    early = Inside(site=SiteId("porchester"), zone=ZoneId("gym"), key="x", since=Instant(MONDAY - 600), heads=2)
    taps = [gym_tap(gym, "a", MONDAY), gym_tap(gym, "b", MONDAY + 60)]
    assert reasons(gym, taps, Start(inside=(early,))) == {"ok": 1, "full": 1}


def test_the_longest_stay_empties_a_room_without_exits() -> None:
    def stay(value: dict[str, Any]) -> None:
        value["presence"] = {"anti_passback": "person", "max_stay": "PT1H"}
        value["limits"][0]["capacity"]["max"] = 1

    gym = service("gym-offpeak", stay)
    assert reasons(gym, [gym_tap(gym, "a", MONDAY), gym_tap(gym, "b", MONDAY + HOUR - 1)]) == {"ok": 1, "full": 1}
    assert reasons(gym, [gym_tap(gym, "a", MONDAY), gym_tap(gym, "b", MONDAY + HOUR)]) == {"ok": 2}
    assert reasons(gym, [gym_tap(gym, "a", MONDAY), gym_tap(gym, "a", MONDAY + HOUR)]) == {"ok": 2}


def test_what_a_replay_cannot_keep_is_taken_as_it_was_known() -> None:
    library = service("open-plus")
    rights = profile(library, member_of={"library": ALWAYS}, prerequisites={"open-plus-induction": frozenset(("*",))})
    at = MONDAY - 4 * HOUR  # 07:00 in London
    given: dict[str, Any] = {
        "site": SiteId("pimlico-lib"), "zone": ZoneId("door"), "old_profile": rights, "new_profile": rights,
        "tap": TapInput(pin="right"),
    }  # fmt: skip
    fresh = State(upstream={"lms": UpstreamCheck(age=60, not_blocked=True)})
    fined = State(upstream={"lms": UpstreamCheck(age=60, not_blocked=False)})
    taps = [visit(library, library, person, at, known=known, **given) for person, known in (("a", fresh), ("b", fined))]
    assert reasons(library, taps) == {"ok": 1, "library_blocked": 1}


def test_prices_that_change_are_counted_in_pence() -> None:
    old, new = service("gym-offpeak"), service("gym-offpeak", lambda value: value["price"][1].update(pence=310))
    taps = [
        visit(
            old, new, person, MONDAY, site=SiteId("porchester"), zone=ZoneId("gym"),
            old_profile=profile(old, born, evidence={"student": ALWAYS}),
            new_profile=profile(new, born, evidence={"student": ALWAYS}),
        )
        for person, born in (("a", 1990), ("b", 1991), ("c", 1950))
    ]  # fmt: skip
    prices = simulate(old, new, taps).prices
    assert (prices.dearer, prices.cheaper, prices.difference) == (2, 0, 40)


def test_a_new_service_says_how_many_it_would_let_in() -> None:
    new = tip(quota(1))
    found = simulate(None, new, [visit(None, new, "a", MONDAY), visit(None, new, "a", MONDAY + HOUR)])
    assert found.sentences() == ["The service is new: 1 of 2 taps would be allowed."]
    assert {change.before.outcome for change in found.changes} == {""}


def test_nothing_to_replay_is_said() -> None:
    assert simulate(tip(), tip(), []).sentences() == ["There are no taps to replay."]


def test_a_draft_that_changes_nothing_says_so() -> None:
    new = tip()
    found = simulate(new, new, [visit(new, new, "a", MONDAY)])
    assert found.sentences() == ["Nobody would be let in or kept out differently: 1 tap replayed."]


def test_examples_are_few_and_people_are_all_counted() -> None:
    old, new = tip(quota(0)), tip(quota(5))
    taps = [visit(old, new, f"p{n}", MONDAY + n) for n in range(40)]
    found = simulate(old, new, taps, examples=3)
    assert len(found.changes[0].examples) == 3
    assert (found.changes[0].taps, found.changes[0].people, found.people_gaining) == (40, 40, 40)


def test_the_replay_says_how_far_it_agrees_with_what_gates_did() -> None:
    new = tip(quota(1))
    taps = [
        visit(new, new, "a", MONDAY, recorded=Outcome.ALLOW),
        visit(new, new, "a", MONDAY + HOUR, recorded=Outcome.ALLOW),  # the gate was offline, say
        visit(new, new, "b", MONDAY),
    ]
    found = simulate(new, new, taps)
    assert (found.compared, found.agreed) == (2, 1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 14 * DAY), st.sampled_from("abcd"), st.sampled_from(["active", "lost"]), st.booleans()
        ),
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None)
def test_without_state_a_replay_is_deciding_one_by_one(rows: list[tuple[int, str, str, bool]]) -> None:
    def stateless(value: dict[str, Any]) -> None:
        value.pop("limits")
        value.pop("presence")

    old = service("gym-offpeak", stateless)

    def weekdays(value: dict[str, Any]) -> None:
        stateless(value)
        value["when"]["windows"].pop()

    new = service("gym-offpeak", weekdays)
    both = {
        True: (profile(old, evidence={"student": ALWAYS}), profile(new, evidence={"student": ALWAYS})),
        False: (profile(old), profile(new)),
    }
    taps, expected = [], Counter[tuple[str, ...]]()
    for after, person, state, student in rows:
        at = Instant(MONDAY + after)
        moment = Moment(at=at, site=SiteId("porchester"), zone=ZoneId("gym"))
        key: tuple[str, ...] = ()
        for compiled, rights in zip((old, new), both[student], strict=True):
            decision = decide(compiled, Subject(card=CardState(state), profile=rights), moment, TapInput(), NOTHING)
            key = (*key, decision.outcome.value, decision.reason)
        expected[key] += 1
        taps.append(
            ReplayTap(
                at=at, site=moment.site, zone=moment.zone, person=person, card=CardState(state),
                old_profile=both[student][0], new_profile=both[student][1],
            )
        )  # fmt: skip
    found = simulate(old, new, taps)
    assert expected == {
        (one.before.outcome, one.before.reason, one.after.outcome, one.after.reason): one.taps for one in found.changes
    }


@given(st.lists(st.tuples(st.integers(0, 60 * DAY), st.sampled_from("abc"), st.integers(1, 3)), max_size=40))
@settings(max_examples=60, deadline=None)
def test_with_a_quota_a_replay_lets_in_as_much_as_the_ledger_allows(rows: list[tuple[int, str, int]]) -> None:
    """Against the plainest count there is: units per household and local month, taken in order of time."""

    def monthly(value: dict[str, Any]) -> None:
        value["limits"][0]["quota"].update(max=4, period="month")
        value["limits"][0]["quota"].pop("year_start")
        value.pop("presence")
        value["when"] = {}

    new = tip(monthly)
    rights = profile_for(new)
    taps = [
        visit(new, new, person, MONDAY + after, old_profile=rights, new_profile=rights, tap=TapInput(units=units))
        for after, person, units in rows
    ]
    used: Counter[tuple[str, int, int]] = Counter()
    admitted = 0
    for tap in sorted(taps, key=lambda one: one.at):
        local = new.time.datetime(tap.at)
        month = (tap.person, local.year, local.month)
        if used[month] + tap.tap.units <= 4:
            used[month] += tap.tap.units
            admitted += 1
    found = simulate(new, new, taps)
    assert sum(change.taps for change in found.changes if change.after.admitted) == admitted


def profile_for(compiled: CompiledService) -> Profile:
    person = PersonFacts(id=PersonId("p"), date_of_birth=date(1980, 1, 1), residency={TenantId("wcc"): ALWAYS})
    horizon = Horizon(start=Instant(MONDAY - DAY), end=Instant(MONDAY + 90 * DAY))
    return compile_profile(person, [compiled], world(), horizon)


def test_example_residents_stand_on_both_sides_of_every_age() -> None:
    draft = changed("loan", lambda value: value["who"]["all"][1]["any"].pop())
    residents = typical_residents([changed("loan", lambda value: None), draft], date(2026, 6, 1), titles=titles())
    labels = [resident.label for resident in residents]
    assert "Aged 64, lives in Kensington and Chelsea" in labels
    assert "Aged 65, lives in Kensington and Chelsea, has evidence of a disability" in labels
    assert "Aged 65, lives elsewhere" in labels
    old, new = service("loan"), compile_service(draft, world())
    outlooks = {str(one) for one in what_if(old, new, world(), residents, MONDAY)}
    assert "Aged 65, lives in Kensington and Chelsea: cannot use it; before: can use it." in outlooks
    assert "Aged 64, lives in Kensington and Chelsea: cannot use it, as before." in outlooks


def test_example_residents_see_their_price() -> None:
    gym = service("gym-offpeak")
    residents = typical_residents([gym.document], date(2026, 6, 1))
    told = {one.resident.label: str(one.after) for one in what_if(None, gym, world(), residents, MONDAY)}
    assert told["Aged 60, lives in WCC"] == "can use it (free)"
    assert told["Aged 59, lives in WCC, has evidence of a disability"] == "can use it (£2.90)"
    assert told["Aged 59, lives in WCC"] == "cannot use it"


@pytest.mark.parametrize("on", [date(2028, 2, 29), date(2026, 2, 28), date(2026, 3, 1)])
def test_an_example_has_the_age_it_is_called_by(on: date) -> None:
    gym = service("gym-offpeak")
    at = Instant(gym.time.wall(on.toordinal(), 12 * HOUR))
    residents = typical_residents([gym.document], on)
    free = [one for one in what_if(None, gym, world(), residents, at) if one.after.pence == 0]
    assert {one.resident.label.partition(",")[0] for one in free} == {"Aged 60", "Aged 70"}
