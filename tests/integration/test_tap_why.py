"""Somebody was refused, or let in, and asks why: the answer is what was so then, not what is so now."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from cardservice.app import PLATFORM
from tests.support.feed import number_of, publish
from tests.support.life import GYM, gym
from tests.support.reader import FakeReader, add_site, enrolled_reader
from tests.support.service import Service

FEED = "wcc/leisure"


async def _card(service: Service, born: str, **facts: Any) -> dict[str, Any]:
    status, person = await service.call(
        "POST", "/v1/people", {"given_name": "Juniper", "family_name": "Exampleton", "date_of_birth": born}
    )
    assert status == 201
    made = {}
    for kind, name in ({"residency": "wcc"} | facts).items():
        path = f"/v1/people/{person['person_id']}/facts"
        status, made[kind] = await service.call("POST", path, {"kind": kind, "name": name})
        assert status == 201
    status, card = await service.call("POST", "/v1/cards", {"person_id": person["person_id"]})
    assert status == 201
    return dict(card) | {"facts": made}


def _now() -> int:
    """The clock of readers and service in whole ms, rounded up: what was recorded a moment ago was so by then."""
    return int(time.time() * 1000) + 1


async def _tapped(service: Service, reader: FakeReader, card: str | None, /, **more: Any) -> str:
    tap = reader.tap(card=card, at=_now(), feed_number=await number_of(service, FEED)) | more
    status, answer = await reader.upload(tap)
    assert (status, answer["results"][0]["result"]) == (200, "stored"), answer
    return str(tap["tap_id"])


async def _why(service: Service, tap: str, *, roles: str = "desk", expect: int = 200) -> dict[str, Any]:
    status, answer = await service.call("GET", f"/v1/taps/{tap}/why", roles=roles)
    assert status == expect, answer
    return dict(answer)


async def _opened(service: Service, **more: Any) -> FakeReader:
    await add_site(service)
    await publish(service, gym(**more))
    return await enrolled_reader(service)


async def test_an_allowed_tap_shows_the_rules_and_facts_that_let_the_person_in(service: Service) -> None:
    reader = await _opened(service)
    card = await _card(service, "1990-02-03")
    answer = await _why(service, await _tapped(service, reader, card["card_id"]))
    assert (answer["agrees"], answer["replayed"]["reason"], answer["may_explain"]) == (True, "ok", [])
    assert (answer["rules"]["service"], answer["rules"]["version"], answer["rules"]["in_force"]) == (GYM, 1, 1)
    assert any(fact.startswith("Aged 3") for fact in answer["facts"]), answer["facts"]
    assert "Residency in wcc: held." in answer["facts"]
    assert answer["recorded"]["resident"] == "Welcome."
    assert {step["result"] for step in answer["steps"][:-1]} == {"passed"}


async def test_a_refused_tap_names_the_step_and_keeps_the_fact_from_the_resident(service: Service) -> None:
    reader = await _opened(
        service, who={"all": [{"resident_of": ["wcc"]}, {"evidence": "disability"}, {"age": {"gte": 18}}]}
    )
    card = await _card(service, "1990-02-03")
    tap = await _tapped(service, reader, card["card_id"], outcome="deny", reason="not_eligible")
    answer = await _why(service, tap)
    assert (answer["agrees"], answer["recorded"]["step"]) == (True, "who")
    assert "Evidence of disability: not recorded." in answer["facts"]
    assert "disab" not in answer["recorded"]["resident"]
    results = {step["step"]: step["result"] for step in answer["steps"]}
    assert (results["site and zone"], results["who"], results["when"]) == ("passed", "decided", "not asked")
    # An operator sees which step it was, and nothing of the person.
    seen = await _why(service, tap, roles="operator")
    assert (seen["facts"], seen["changed_since"], seen["recorded"]["step"]) == ([], [], "who")
    assert (await service.call("GET", f"/v1/taps/{tap}/why", roles="manager"))[0] == 403
    assert (await service.call("GET", f"/v1/taps/{tap}/why", tenant="rbkc"))[0] == 404
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        looks = await conn.fetch("SELECT actor, detail FROM audit WHERE action = 'tap.explained' ORDER BY audit_id")
    assert [(row["actor"], row["detail"]["facts"]) for row in looks] == [
        ("token:test-desk", True),
        ("token:test-operator", False),
    ]


async def test_a_card_revoked_at_a_cut_off_gate_is_explained_by_what_had_not_arrived(service: Service) -> None:
    reader = await _opened(service)
    card = await _card(service, "1990-02-03")
    number = await number_of(service, FEED)
    before = await _tapped(service, reader, card["card_id"])
    assert (await service.call("POST", f"/v1/cards/{card['card_id']}/revoke", {"reason": "found out"}))[0] == 200
    late = await _tapped(service, reader, card["card_id"], online=False, feed_number=number)
    answer = await _why(service, late)
    assert (answer["agrees"], answer["recorded"]["outcome"], answer["replayed"]["reason"]) == (
        False,
        "allow",
        "card_revoked",
    )
    told = " ".join(answer["may_explain"])
    assert f"were at change {number}; change {number + 1} of this card" in told
    assert "offline" in told
    known = await _tapped(service, reader, card["card_id"], outcome="deny", reason="card_revoked")
    assert (await _why(service, known))["agrees"] is True
    assert (await _why(service, known))["recorded"]["step"] == "card state"
    # What was right before the revocation is still right.
    assert (await _why(service, before))["agrees"] is True


async def test_what_changed_since_does_not_change_what_was(service: Service) -> None:
    reader = await _opened(service, who={"all": [{"evidence": "student"}, {"age": {"gte": 16}}]})
    card = await _card(service, "1990-02-03", evidence="student")
    other = await _card(service, "1990-02-03")
    allowed = await _tapped(service, reader, card["card_id"])
    refused = await _tapped(service, reader, other["card_id"], outcome="deny", reason="not_eligible")
    fact = card["facts"]["evidence"]
    path = f"/v1/people/{card['person_id']}/facts/{fact['fact_id']}/end"
    status, answer = await service.call("POST", path)
    assert status == 200, answer
    path = f"/v1/people/{other['person_id']}/facts"
    assert (await service.call("POST", path, {"kind": "evidence", "name": "student"}))[0] == 201
    await publish(service, gym(title="Another gym", who={"all": [{"age": {"gte": 99}}]}))
    first, second = await _why(service, allowed), await _why(service, refused)
    assert (first["agrees"], first["rules"]["version"], first["rules"]["title"]) == (True, 1, "Gym")
    assert (second["agrees"], second["replayed"]["reason"]) == (True, "not_eligible")
    assert ["withdrawn" in text for text in first["changed_since"]] == [True]
    assert ["recorded" in text for text in second["changed_since"]] == [True]


async def test_a_gate_that_had_the_former_rules_is_told_so(service: Service) -> None:
    reader = await _opened(service)
    card = await _card(service, "1990-02-03")
    await publish(service, gym(who={"all": [{"age": {"gte": 99}}]}))
    tap = await _tapped(service, reader, card["card_id"], outcome="deny", reason="outside_hours", service_version=1)
    answer = await _why(service, tap)
    assert (answer["agrees"], answer["replayed"]["reason"]) == (False, "ok")
    assert "The gate still had version 1 of the service; version 2 was in force." in answer["may_explain"]


async def test_units_visits_and_their_lateness_are_as_they_were(service: Service) -> None:
    quota = {"quota": {"id": "swims", "unit": "visit", "period": "day", "max": 1, "scope": "person"}}
    reader = await _opened(
        service, limits=[quota], offline={"max_stale": "PT24H", "lease": {"swims": 1}, "on_overspend": "allow_and_flag"}
    )
    card = await _card(service, "1990-02-03")
    at = _now()
    taken = {"effects": [{"account": "swims", "units": 1, "key": "opaque"}]}
    first = await _tapped(service, reader, card["card_id"], at=at, **taken)
    second = await _tapped(service, reader, card["card_id"], at=at + 5, outcome="deny", reason="quota_used")
    assert (await _why(service, first))["agrees"] is True
    answer = await _why(service, second)
    assert (answer["agrees"], answer["recorded"]["step"]) == (True, "limits and presence")
    assert any("Account swims of this person: 1 visit taken before" in line for line in answer["state"])
    # A second site was cut off and tells of its visit only now: the first one could not know.
    other = await _card(service, "1991-02-03")
    at = _now()
    seen = await _tapped(service, reader, other["card_id"], at=at + 20, **taken)
    await _tapped(service, reader, other["card_id"], at=at + 10, online=False, **taken)
    assert (await _why(service, seen))["agrees"] is True


async def test_somebody_inside_is_still_inside_in_the_replay(service: Service) -> None:
    reader = await _opened(service, presence={"anti_passback": "person", "reset": "local_midnight"})
    card = await _card(service, "1990-02-03")
    at = _now()
    await _tapped(service, reader, card["card_id"], at=at)
    inside = await _tapped(service, reader, card["card_id"], at=at + 5, outcome="deny", reason="already_inside")
    await _tapped(service, reader, card["card_id"], at=at + 10, direction="exit", service=None, service_version=None)
    again = await _tapped(service, reader, card["card_id"], at=at + 15)
    answer = await _why(service, inside)
    # A test at local midnight forgives the missed exit, as the gate would.
    assert answer["agrees"] is True or "23:59" in answer["state"][0], answer
    assert "not gone out since" in answer["state"][0]
    after = await _why(service, again)
    assert (after["agrees"], "gone out since" in after["state"][0]) == (True, True)


async def test_what_cannot_be_replayed_says_plainly_why(service: Service) -> None:
    reader = await _opened(service)
    card = await _card(service, "1990-02-03")
    forged = await _tapped(
        service,
        reader,
        None,
        card_tenant=None,
        service=None,
        service_version=None,
        outcome="deny",
        reason="bad_signature",
    )
    answer = await _why(service, forged)
    assert (answer["replayed"], answer["agrees"], answer["recorded"]["step"]) == (None, None, "credential")
    assert "not kept" in answer["not_known"][0]
    leaving = await _tapped(service, reader, card["card_id"], direction="exit", service=None, service_version=None)
    answer = await _why(service, leaving)
    assert (answer["agrees"], "leaving never needs permission" in answer["not_known"][0]) == (True, True)
    unknown = await _tapped(service, reader, "AQIDBAUGBwg", outcome="deny", reason="unknown_card")
    assert (await _why(service, unknown))["agrees"] is True
    theirs = await _tapped(service, reader, "AQIDBAUGBwg", card_tenant="rbkc")
    answer = await _why(service, theirs)
    assert (answer["agrees"], "rbkc" in " ".join(answer["not_known"])) == (None, True)
    ahead = (datetime.now(UTC) - timedelta(days=2)).timestamp() * 1000
    early = await _tapped(service, reader, card["card_id"], at=int(ahead), clock_trusted=False)
    answer = await _why(service, early)
    assert (answer["agrees"], answer["replayed"]["reason"]) == (False, "unknown_card")
    assert "The gate did not trust its clock, so the time of the tap may be wrong." in answer["may_explain"]
    assert (await service.call("GET", f"/v1/taps/{card['person_id']}/why"))[0] == 404


async def test_a_replay_asks_of_the_card_what_the_gate_asked(service: Service) -> None:
    reader = await _opened(service, requires=[{"presentation": ["live", "chip"]}])
    card = await _card(service, "1990-02-03")
    refused = {"outcome": "deny", "reason": "presentation_not_accepted"}
    for proven, more, reason in [
        ("live", {}, "ok"),
        ("chip", {"media": "nfc-ndef"}, "ok"),
        ("static", {"media": "nfc-ndef"} | refused, "presentation_not_accepted"),
        ("uid", {"media": "nfc-uid"} | refused, "presentation_not_accepted"),
    ]:
        answer = await _why(service, await _tapped(service, reader, card["card_id"], presentation=proven, **more))
        assert (answer["agrees"], answer["replayed"]["reason"]) == (True, reason), proven
        assert answer["tap"]["presentation"] == proven
    # A gate that let a photograph in is found out, also where the card was issued for a phone.
    let_in = await _why(service, await _tapped(service, reader, card["card_id"], presentation="static"))
    assert (let_in["agrees"], let_in["replayed"]["reason"]) == (False, "presentation_not_accepted")
    # A reader of before does not say; what it refused for the presentation is not called a fault.
    old = await _why(service, await _tapped(service, reader, card["card_id"], **refused))
    assert (old["agrees"], old["tap"]["presentation"]) == (True, None)


async def test_the_desk_gets_the_same_answer_at_a_terminal(service: Service) -> None:
    reader = await _opened(service)
    card = await _card(service, "2015-02-03")
    tap = await _tapped(service, reader, card["card_id"], outcome="deny", reason="not_eligible")
    environment = dict(os.environ) | {"RESCARD_URL": service.url, "RESCARD_TOKEN": await service.token(roles="desk")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-m", "cardservice", "why", tap), env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    said = out.decode()
    assert process.returncode == 0
    assert "Decided by: who" in said
    assert "The replay comes to the same." in said
    assert "Say to the resident: This card does not open this service." in said
