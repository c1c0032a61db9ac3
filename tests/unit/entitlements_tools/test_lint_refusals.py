"""Other things that the linter refuses, and beside each the nearest document that it must let through."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from entitlements.lint import lint, with_lines
from entitlements.service import MAX_SPEND_PENCE
from tests.support.documents import KNOWN, changed, document, pretty, service_ids, worked, world
from tests.support.linting import YEAR, Change, both, codes, errors, put, warnings, who, windows

OVERLAP = [{"from": "09:00", "until": "12:00"}, {"days": ["mon"], "from": "11:00", "until": "13:00"}]
NIGHTS = [
    {"days": ["sun"], "from": "22:00", "until": "02:00"},
    {"days": ["mon"], "from": "01:00", "until": "03:00"},
]


def cap_of(pence: int | None) -> Change:
    """The wallet's cap of the week changed, or taken out."""

    def change(service: dict[str, Any]) -> None:
        balance = service["limits"][0]["balance"]
        if pence is None:
            del balance["per_period"]
        else:
            balance["per_period"]["max_pence"] = pence

    return change


@pytest.mark.parametrize("service_id", service_ids())
def test_no_worked_service_is_refused(service_id: str) -> None:
    found = lint(document(worked(service_id.rpartition(".")[2])), world(), known_facts=KNOWN, year=YEAR)
    assert [finding for finding in found if finding.severity == "error"] == []


def test_the_worked_services_are_warned_of_exactly_what_they_leave_open() -> None:
    told = {
        service_id: [
            finding.code
            for finding in lint(document(worked(service_id.rpartition(".")[2])), world(), known_facts=KNOWN, year=YEAR)
        ]
        for service_id in service_ids()
    }
    assert told == {
        "wcc.leisure.gym-offpeak": [],
        "bi.library.open-plus": ["pin_without_keypad"],
        "wcc.care.wallet": ["no_max_stale"],
        "wcc.ev.bay": ["no_max_stale"],
        "wcc.hub.room": ["no_max_stale"],
        "rbkc.at.loan": [],
        "wcc.waste.hwrc": ["no_max_stale"],
        "wcc.school.late-event": ["quota_refused_offline"],
    }


@pytest.mark.parametrize(
    ("requirement", "pointer"),
    [
        ({"prerequisite": "swim-test"}, "/requires/0/prerequisite"),
        ({"upstream": "crm", "max_age": "PT15M"}, "/requires/0/upstream"),
        ({"presentation": ["chip", "tattoo"]}, "/requires/0/presentation"),
    ],
)
def test_a_requirement_that_nobody_supplies_is_refused(requirement: Any, pointer: str) -> None:
    found = errors("open-plus", put("requires")([requirement]))
    assert [(finding.code, finding.pointer) for finding in found] == [("fact_nobody_supplies", pointer)]


def test_a_price_that_asks_for_an_unknown_fact_is_refused() -> None:
    assert codes("gym-offpeak", put("price", 0, "when")({"evidence": "moon_landing"})) == ["fact_nobody_supplies"]


def test_a_quota_that_says_nothing_of_the_network_being_down_is_refused() -> None:
    assert codes("bay", put("offline")({})) == ["quota_without_offline_rule"]
    assert codes("bay", put("offline")({"presence": "ignore"})) == ["quota_without_offline_rule"]


@pytest.mark.parametrize(
    "offline",
    [
        {"lease": {"ev_kwh": 15}},
        {"lease": {"ev_kwh": 15}, "max_stale": "PT1H"},
        {"lease": {"ev_kwh": 15}, "on_overspend": "allow_and_flag"},
    ],
)
def test_a_second_quota_that_was_forgotten_offline_is_refused(offline: Any) -> None:
    def second(service: dict[str, Any]) -> None:
        service["limits"].append({"quota": {"id": "ev_sessions", "unit": "session", "period": "day", "max": 2}})

    found = errors("bay", both(second, put("offline")(offline)))
    assert [(one.code, one.pointer) for one in found] == [("quota_without_offline_rule", "/limits/1/quota")]
    for units in (0, 1):
        told = offline | {"lease": offline["lease"] | {"ev_sessions": units}}
        assert codes("bay", both(second, put("offline")(told))) == []
    assert codes("bay", both(second, put("offline")({"mode": "staff_only"}))) == []


def test_a_word_on_units_spent_twice_is_no_word_on_a_quota_that_is_not_lent() -> None:
    assert codes("bay", put("offline")({"on_overspend": "allow_and_flag"})) == ["quota_without_offline_rule"]


@pytest.mark.parametrize(
    "offline", [{"lease": {"ev_kwh": 0}}, {"lease": {"ev_kwh": 15}}, {"mode": "staff_only"}, {"max_stale": "PT1H"}]
)
def test_a_quota_with_an_offline_rule_is_let_through(offline: Any) -> None:
    assert codes("bay", put("offline")(offline)) == []


def test_a_quota_counted_when_booked_needs_no_offline_rule() -> None:
    assert codes("room", put("offline")({})) == []


def test_money_that_could_be_spent_offline_is_refused() -> None:
    lend = both(put("limits", 0, "quota", "unit")("pence"), put("offline", "lease")({"ev_kwh": 500}))
    assert codes("bay", lend) == ["balance_spendable_offline"]
    assert codes("bay", both(put("limits", 0, "quota", "unit")("pence"), put("offline", "lease")({"ev_kwh": 0}))) == []


def lent(unit: str) -> Change:
    return both(put("limits", 0, "quota", "unit")(unit), put("offline", "lease")({"ev_kwh": 5}))


@pytest.mark.parametrize(
    "unit",
    [
        "GBP",
        "gbp",
        "GBPs",
        "EUR",
        "p",
        "P",
        "10p",
        "pound",
        "Pounds",
        "pound_sterling",
        "euro-cents",
        "EuroCents",
        "USDollars",
        "gbp.pence",
        "pennies",
        "credits",
        "Credit",
        "cash",
        "store:credit:gbp",
    ],
)
def test_money_by_another_name_is_not_lent_to_sites(unit: str) -> None:
    assert codes("bay", lent(unit)) == ["balance_spendable_offline"]


@pytest.mark.parametrize(
    "unit",
    [
        "kWh",
        "visit",
        "session",
        "cup",
        "try",
        "credit_hour",
        "percent",
        "pass",
        "centre",
        "compound",
        "space",
        "x",
        "1",
        "trip",
        "parking",
        "item.p",
    ],
)
def test_what_only_sounds_like_money_may_be_lent(unit: str) -> None:
    assert codes("bay", lent(unit)) == []


def test_a_quota_that_shares_its_account_with_a_balance_is_not_leased() -> None:
    def change(service: dict[str, Any]) -> None:
        service["limits"].append({"quota": {"id": "care_budget", "period": "day", "max": 3}})
        service["offline"]["lease"] = {"care_budget": 1}

    assert codes("wallet", change) == ["balance_spendable_offline"]


@pytest.mark.parametrize(
    "change",
    [
        lambda service: service["limits"][0]["balance"].pop("confirm"),
        put("limits", 0, "balance", "confirm", "over_pence")(40_000),  # the cap: never more, so never confirmed
        both(cap_of(None), put("limits", 0, "balance", "confirm", "over_pence")(MAX_SPEND_PENCE)),
        both(cap_of(MAX_SPEND_PENCE * 2), put("limits", 0, "balance", "confirm", "over_pence")(MAX_SPEND_PENCE)),
        lambda service: service["limits"].clear(),
    ],
    ids=["no confirmation", "over the cap", "over any payment", "over any payment, in the cap", "no balance at all"],
)
def test_a_spend_that_nobody_confirms_is_refused(change: Change) -> None:
    assert codes("wallet", change) == ["spend_without_confirmation"]


def test_a_spend_that_is_confirmed_below_the_cap_is_let_through() -> None:
    assert codes("wallet", put("limits", 0, "balance", "confirm", "over_pence")(39_999)) == []
    nearly = put("limits", 0, "balance", "confirm", "over_pence")(MAX_SPEND_PENCE - 1)
    assert codes("wallet", both(cap_of(None), nearly)) == []
    assert codes("wallet", both(cap_of(MAX_SPEND_PENCE * 2), nearly)) == []


def test_a_confirmation_that_nobody_can_give_is_refused() -> None:
    by = put("limits", 0, "balance", "confirm", "by")
    assert codes("wallet", by(["delegate:sign"])) == ["nobody_to_confirm"]
    assert codes("wallet", by(["delegate:spend"])) == []
    assert "nobody_to_confirm" in warnings("wallet", by(["holder", "delegate:sign"]))


def test_prices_without_a_default_are_refused() -> None:
    assert codes("gym-offpeak", lambda service: service["price"].pop()) == ["price_without_default"]
    assert codes("gym-offpeak", lambda service: service["price"].clear()) == []


def test_a_price_that_nobody_ever_pays_is_warned_of() -> None:
    def insert(condition: Any) -> Change:
        return lambda service: service["price"].insert(1, {"band": "x", "pence": 100, "when": condition})

    assert "unreachable_price" in warnings("gym-offpeak", insert({"age": {"gte": 65}}))  # seniors came first
    assert "unreachable_price" in warnings("gym-offpeak", insert({"age": {"lt": 16}}))  # who lets none of them in
    assert "unreachable_price" not in warnings("gym-offpeak", insert({"age": {"gte": 59}}))


def test_a_price_after_the_one_for_everyone_is_refused() -> None:
    service = document(worked("gym-offpeak"))
    turned = msgspec.structs.replace(service, price=tuple(reversed(service.price)))
    found = lint(turned, world(), known_facts=KNOWN, year=YEAR)
    assert [finding.code for finding in found if finding.severity == "error"] == ["unreachable_price"]


@pytest.mark.parametrize(
    "change",
    [
        put("where", "sites")(["@nowhere"]),
        put("when", "closed")("@nowhere"),
        put("when", "holidays")("@nowhere"),
        put("allow_only_items")("@nowhere"),
        put("tenant")("camden"),
    ],
)
def test_a_name_that_the_world_does_not_have_is_refused(change: Change) -> None:
    assert "unknown_name" in codes("gym-offpeak", change)


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("gym-offpeak", windows(OVERLAP), "overlapping_windows"),
        ("gym-offpeak", windows(NIGHTS), "overlapping_windows"),
        ("gym-offpeak", windows([{"from": "09:00", "until": "09:00"}]), "a_whole_day"),
        ("gym-offpeak", put("where", "sites")(["@wcc-leisure", "porchester"]), "site_twice"),
        ("gym-offpeak", put("limits", 0, "capacity", "zone")("pool"), "capacity_elsewhere"),
        ("gym-offpeak", lambda service: service["presence"].pop("reset"), "locked_out_for_ever"),
        ("gym-offpeak", lambda service: service.pop("who"), "open_to_everyone"),
        ("gym-offpeak", lambda service: service.pop("where"), "every_site"),
        ("hwrc", put("limits", 0, "quota", "scope")("permit"), "scope_without_permit"),
        ("hwrc", put("offline", "lease", "hwrc_visits")(13), "lease_beyond_quota"),
        ("hwrc", put("limits", 0, "quota", "max")(0), "quota_of_nothing"),
    ],
)  # fmt: skip
def test_what_may_be_right_is_only_warned_of(name: str, change: Change, code: str) -> None:
    assert code in warnings(name, change)
    assert code not in warnings(name, lambda service: None)


def test_windows_that_touch_do_not_overlap() -> None:
    touching = windows([{"from": "09:00", "until": "12:00"}, {"from": "12:00", "until": "13:00"}])
    assert "overlapping_windows" not in warnings("gym-offpeak", touching)


def test_a_list_of_holidays_that_has_run_out_is_warned_of() -> None:
    def told(year: int) -> list[str]:
        return [one.code for one in lint(document(worked("gym-offpeak")), world(), known_facts=KNOWN, year=year)]

    assert "calendar_runs_out" not in told(2027)
    assert "calendar_runs_out" in told(2028)


def test_a_finding_points_at_the_line_as_it_was_written() -> None:
    value = worked("loan")
    value["who"] = {"resident_of": "rbkc", "not": {"evidence": "disability"}}
    text = pretty(value)
    found = with_lines(lint(document(value), world(), known_facts=KNOWN, year=YEAR, source=value), text)
    exclusion = next(finding for finding in found if finding.code == "disability_as_exclusion")
    assert exclusion.pointer == "/who/not/evidence"
    assert exclusion.line is not None
    assert '"evidence": "disability"' in text.splitlines()[exclusion.line - 1]


def test_every_finding_says_what_to_do_in_sentences() -> None:
    spoilt = changed(
        "wallet", both(who({"age": {"lt": 12}}), lambda service: service["limits"][0]["balance"].pop("confirm"))
    )
    found = lint(spoilt, world(), known_facts=KNOWN, year=YEAR, drafted_by="a", approved_by="a")
    assert len(found) > 3
    for finding in found:
        assert finding.message[-1] == "."
        assert finding.advice[-1] == "."
        assert "{" not in finding.message
