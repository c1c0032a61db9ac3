"""What is left: the same answer at the desk as at the gate, with the moment at which it begins anew."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from tests.support.feed import document, publish
from tests.support.reader import enrolled_reader
from tests.support.service import Service
from tests.support.state import fact, get, post, resident, swims, upload, visit


async def accounts(service: Service, card: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return list((await get(service, f"/v1/people/{card['person_id']}/accounts", **more))["items"])


async def test_what_is_left_and_when_it_begins_anew(service: Service) -> None:
    await publish(service, document(**swims(most=3)))
    reader = await enrolled_reader(service)
    card = await resident(service)
    await upload(reader, visit(reader, card), visit(reader, card))
    (left,) = await accounts(service, card, roles="desk")
    assert (left["kind"], left["account"], left["max"], left["used"], left["left"]) == ("quota", "swims", 3, 2, 1)
    begins = [
        datetime.fromisoformat(left[name]).astimezone(ZoneInfo("Europe/London")) for name in ("since", "resets_at")
    ]
    assert [(one.weekday(), one.hour, one.minute) for one in begins] == [(0, 0, 0)] * 2, "weeks begin on Monday"
    assert begins[0] <= datetime.now(UTC) < begins[1]
    await upload(reader, visit(reader, card), visit(reader, card))
    (left,) = await accounts(service, card)
    assert (left["used"], left["left"]) == (4, 0), "what is too much is never owed"


async def test_a_household_shares_one_account(service: Service) -> None:
    await publish(service, document(**swims(most=3, scope="household", period="rolling", days=7)))
    reader = await enrolled_reader(service)
    one, other = await resident(service, household="oak-1"), await resident(service, household="oak-1")
    alone = await resident(service)
    eight_days = int(time.time() * 1000) - 8 * 86_400_000
    await upload(reader, visit(reader, one), visit(reader, one, at=eight_days))
    (left,) = await accounts(service, other)
    assert (left["scope"], left["used"], left["resets_at"]) == ("household", 1, None)
    (mine,) = await accounts(service, alone)
    assert (mine["scope"], mine["left"]) == ("person", 3), "who lives with nobody recorded is a household of one"


async def test_an_allowance_of_a_grant_begins_with_the_right(service: Service) -> None:
    who = {"all": [{"evidence": "student"}]}
    await publish(service, document(who=who, **swims(most=5, period="grant")))
    reader = await enrolled_reader(service)
    card = await resident(service)
    first = (datetime.now(UTC) - timedelta(days=5)).date()
    await fact(service, card["person_id"], kind="evidence", name="student", **{"from": str(first)})
    for days in (1, 9):
        await upload(reader, visit(reader, card, at=int(time.time() * 1000) - days * 86_400_000))
    (left,) = await accounts(service, card)
    assert (left["used"], left["resets_at"]) == (1, None)
    assert datetime.fromisoformat(left["since"]).astimezone(ZoneInfo("Europe/London")).date() == first


async def test_only_services_that_are_theirs_are_shown(service: Service) -> None:
    await publish(service, document("wcc.leisure.students", who={"all": [{"evidence": "student"}]}, **swims()))
    loan = {"loan": {"pool": "tools", "max_out": 2, "period": "P7D"}}
    await publish(service, document("wcc.leisure.tools", kind="loan", limits=[loan]))
    card = await resident(service)
    reader = await enrolled_reader(service)
    await upload(reader, reader.tap(card=card["card_id"], service="wcc.leisure.tools"))
    (left,) = await accounts(service, card)
    assert (left["service_id"], left["used"], left["left"]) == ("wcc.leisure.tools", 1, 1)
    assert (await service.call("GET", f"/v1/people/{uuid4()}/accounts"))[0] == 404
    assert (await service.call("GET", f"/v1/people/{card['person_id']}/accounts", tenant="rbkc"))[0] == 404
    assert (await service.call("GET", f"/v1/people/{card['person_id']}/accounts", roles="manager"))[0] == 403


async def test_a_correction_shows_at_once(service: Service) -> None:
    await publish(service, document(**swims(most=3)))
    card = await resident(service)
    body = {"service": "wcc.leisure.gym", "account": "swims", "person_id": card["person_id"], "units": 2}
    await post(service, "/v1/ledger/adjustments", body | {"reason": "Counted by hand while the line was down."})
    (left,) = await accounts(service, card)
    assert left["left"] == 1
