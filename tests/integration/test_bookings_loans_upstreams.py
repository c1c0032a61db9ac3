"""Rooms, loans and other systems' words: right at the desk, told to the gates, moved on by a tap."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from entitlements.wire.state import BookingChange, LoanChange, UnitsChange, UpstreamChange
from tests.support.feed import document, publish, take_snapshot
from tests.support.reader import FakeReader, enrolled_reader
from tests.support.service import Service
from tests.support.state import changes_after, entries, fact, flags, get, post, resident, upload

FEED = "wcc/leisure"
ROOM = "wcc.leisure.room"
LENDING = "wcc.leisure.lending"


def room(most: int = 2, **more: Any) -> dict[str, Any]:
    """A room with bookings, counted when they are made."""
    booking = {"resource": "room-1", "early": "PT10M", "late": "PT15M", "party_max": 8}
    quota = {"id": "room_bookings", "unit": "booking", "period": "week", "max": most, "counts": "created"}
    limits = [{"booking": booking}, {"quota": quota}]
    who = {"all": [{"resident_of": ["wcc", "rbkc"]}]}
    return document(ROOM, kind="book", title="Hub room", who=who, limits=limits, **more)


def lending(**more: Any) -> dict[str, Any]:
    """Two items at a time for four weeks, renewed once."""
    loan = {"pool": "tools", "max_out": 2, "period": "P28D", "renewals": 1, "block_if_overdue_days": 14}
    return document(LENDING, kind="loan", title="Tool loans", limits=[{"loan": loan | more}])


def slot(hours: float, length: float = 1.0) -> dict[str, str]:
    """``[start, end)`` from so many hours ahead."""
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)
    return {"start": start.isoformat(), "end": (start + timedelta(hours=length)).isoformat()}


async def book(service: Service, card: dict[str, Any], times: dict[str, str], **more: Any) -> tuple[int, Any]:
    body = {"service": ROOM, "person_id": card["person_id"], **times}
    tenant = more.pop("tenant", "wcc")
    return await service.call("POST", "/v1/bookings", body | more, tenant=tenant, roles="desk")


async def booked(service: Service, card: dict[str, Any], times: dict[str, str], **more: Any) -> dict[str, Any]:
    status, answer = await book(service, card, times, **more)
    assert status == 201, answer
    return dict(answer)


async def hub(service: Service, made: dict[str, Any]) -> FakeReader:
    await publish(service, made)
    return await enrolled_reader(service)


async def test_a_booking_reaches_the_gate_and_the_tap_checks_it_in(service: Service) -> None:
    reader = await hub(service, room())
    card = await resident(service)
    mirror = await take_snapshot(reader, FEED)
    (holder,) = mirror.meta.state.holders
    far, near = await booked(service, card, slot(2)), await booked(service, card, slot(0.1))
    told = [change.booking for change in await changes_after(reader, mirror) if isinstance(change, BookingChange)]
    assert [(one.booking, one.resource, one.key, one.checked_in) for one in told] == [
        (made["booking_id"], "room-1", holder.keys["person"], False) for made in (far, near)
    ]
    await upload(reader, reader.tap(card=card["card_id"], service=ROOM))
    (change,) = await changes_after(reader, mirror)
    assert isinstance(change, BookingChange)
    assert (change.booking.booking, change.booking.checked_in) == (near["booking_id"], True)
    await upload(reader, reader.tap(card=card["card_id"], service=ROOM))
    assert await changes_after(reader, mirror) == [], "in again: nothing changes, and the other booking is not touched"


async def test_a_gate_that_starts_knows_what_is_booked(service: Service) -> None:
    reader = await hub(service, room())
    card = await resident(service)
    kept, dropped = await booked(service, card, slot(2)), await booked(service, card, slot(4))
    await post(service, f"/v1/bookings/{dropped['booking_id']}/cancel", wanted=200)
    state = (await take_snapshot(reader, FEED)).meta.state
    assert [one.booking for one in state.bookings] == [kept["booking_id"]]


async def test_a_room_is_nobodys_twice_whichever_council_asks(service: Service) -> None:
    await publish(service, room(most=50), shared_with=("rbkc",))
    ours, theirs = await resident(service), await resident(service, tenant="rbkc")
    await booked(service, ours, slot(2, 2))
    for times in (slot(1, 1.5), slot(2.5, 0.5), slot(3.5, 3), slot(1, 5)):
        for card, tenant in ((ours, "wcc"), (theirs, "rbkc")):
            status, problem = await book(service, card, times, tenant=tenant)
            assert (status, problem["code"]) == (409, "resource_taken")
    later = slot(6)
    asked = [(ours, "wcc"), (theirs, "rbkc")] * 3
    answers = await asyncio.gather(*(book(service, card, later, tenant=tenant) for card, tenant in asked))
    assert sorted(status for status, _ in answers) == [201, 409, 409, 409, 409, 409]
    start = (await get(service, "/v1/bookings?limit=1"))["items"][0]["ends_at"]
    following = {"start": start, "end": (datetime.fromisoformat(start) + timedelta(minutes=30)).isoformat()}
    await booked(service, theirs, following, tenant="rbkc")


async def test_bookings_are_counted_when_made_and_given_back_when_cancelled(service: Service) -> None:
    reader = await hub(service, room())
    card = await resident(service)
    first = await booked(service, card, slot(24))
    await booked(service, card, slot(48))
    status, problem = await book(service, card, slot(72))
    assert (status, problem["code"]) == (409, "quota_used")
    assert datetime.fromisoformat(problem["resets_at"]) > datetime.now(UTC)
    mirror = await take_snapshot(reader, FEED)
    await post(service, f"/v1/bookings/{first['booking_id']}/cancel", wanted=200, roles="desk")
    changes = await changes_after(reader, mirror)
    assert [change.entry.units for change in changes if isinstance(change, UnitsChange)] == [-1]
    assert [change.booking.gone for change in changes if isinstance(change, BookingChange)] == [True]
    await booked(service, card, slot(72))
    assert [entry["units"] for entry in await entries(service)].count(1) == 3
    assert (await service.call("POST", f"/v1/bookings/{first['booking_id']}/cancel"))[0] == 409
    assert (await service.call("POST", f"/v1/bookings/{uuid4()}/cancel"))[0] == 404


async def test_what_was_used_cannot_be_cancelled(service: Service) -> None:
    reader = await hub(service, room())
    card = await resident(service)
    made = await booked(service, card, slot(-0.1))
    await upload(reader, reader.tap(card=card["card_id"], service=ROOM))
    status, problem = await service.call("POST", f"/v1/bookings/{made['booking_id']}/cancel")
    assert (status, problem["code"]) == (409, "booking_used")
    assert (await get(service, f"/v1/bookings/{made['booking_id']}"))["checked_in_at"] is not None


async def test_only_who_may_use_the_room_books_it(service: Service) -> None:
    windows = [{"from": "00:00", "until": "00:00", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}]
    today = datetime.now(UTC).date()
    closed = [str(today + timedelta(days=days)) for days in (9, 10)]
    await publish(service, room(when={"windows": windows, "closed": closed}))
    card = await resident(service)
    stranger = await resident(service)
    await fact(service, stranger["person_id"], kind="block", name=ROOM)
    nobody = {"person_id": (await resident(service, card=False))["person_id"]}
    assert (await book(service, stranger, slot(2)))[1]["code"] == "blocked"
    assert (await book(service, nobody, slot(2)))[1]["code"] in ("not_eligible", "eligibility_unknown")
    assert (await book(service, card, slot(9 * 24 + 1)))[1]["code"] == "outside_hours"
    for wrong in (slot(2, 0), slot(2, -1), slot(-3), slot(2, 24 * 60), slot(24 * 900)):
        assert (await book(service, card, wrong))[0] == 422
    assert (await book(service, card, slot(2), party=9))[0] == 422
    assert (await book(service, card, slot(2), resource="room-9"))[0] == 422
    assert (await book(service, {"person_id": str(uuid4())}, slot(2)))[0] == 404
    body = {"service": "wcc.none", "person_id": card["person_id"], **slot(2)}
    assert (await service.call("POST", "/v1/bookings", body))[0] == 404


async def begun(service: Service, made: dict[str, Any], minutes: int) -> dict[str, Any]:
    """The booking as if it had begun so many minutes ago: nobody can book the past, and no test waits for it."""
    from cardservice.app import PLATFORM

    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute(
            "UPDATE booking SET starts_at = now() - make_interval(mins => $2), ends_at = now() + interval '1 hour' "
            "WHERE tenant = 'wcc' AND booking_id = $1",
            UUID(made["booking_id"]),
            minutes,
        )
    return await get(service, f"/v1/bookings/{made['booking_id']}")


async def states(service: Service, state: str) -> set[str]:
    """Ids of the bookings that are listed under a state."""
    return {item["booking_id"] for item in (await get(service, f"/v1/bookings?state={state}"))["items"]}


async def test_a_room_that_nobody_came_for_is_free_without_anybody_doing_anything(service: Service) -> None:
    await publish(service, room(most=50), shared_with=("rbkc",))
    ours, theirs = await resident(service), await resident(service, tenant="rbkc")
    made = await booked(service, ours, slot(2))
    assert datetime.fromisoformat(made["releases_at"]) == datetime.fromisoformat(made["starts_at"]) + timedelta(
        minutes=15
    )
    assert (await begun(service, made, 14))["state"] == "open"
    assert (await book(service, theirs, slot(0), tenant="rbkc"))[1]["code"] == "resource_taken"
    assert (await begun(service, made, 16))["state"] == "released"
    assert (await states(service, "released"), await states(service, "open")) == ({made["booking_id"]}, set())
    assert (await booked(service, theirs, slot(0), tenant="rbkc"))["state"] == "open"
    assert (await book(service, ours, slot(0)))[1]["code"] == "resource_taken", "it is the next one's now"


async def test_whoever_came_in_time_keeps_the_room(service: Service) -> None:
    reader = await hub(service, room(most=50))
    one, other = await resident(service), await resident(service)
    made = await booked(service, one, slot(2))
    await begun(service, made, 16)
    in_time = int((time.time() - 5 * 60) * 1000)
    await upload(reader, reader.tap(card=one["card_id"], service=ROOM, at=in_time, online=False))
    kept = await get(service, f"/v1/bookings/{made['booking_id']}")
    assert (kept["state"], kept["releases_at"]) == ("open", None)
    assert (await book(service, other, slot(0)))[1]["code"] == "resource_taken"


async def test_who_was_late_and_books_again_is_checked_in_to_the_new_booking(service: Service) -> None:
    strict = room(most=50)
    strict["limits"][0]["booking"]["late"] = "PT5M"
    reader = await hub(service, strict)
    card = await resident(service)
    old = await booked(service, card, slot(2))
    await begun(service, old, 6)
    new = await booked(service, card, slot(0.15, 0.5))
    await upload(reader, reader.tap(card=card["card_id"], service=ROOM))
    checked = {
        made["booking_id"]: (await get(service, f"/v1/bookings/{made['booking_id']}"))["checked_in_at"] is not None
        for made in (old, new)
    }
    assert checked == {old["booking_id"]: False, new["booking_id"]: True}


async def test_the_document_in_force_says_when_a_room_is_free(service: Service) -> None:
    await publish(service, room(most=50))
    card = await resident(service)
    made = await booked(service, card, slot(2))
    assert (await begun(service, made, 20))["state"] == "released"
    patient = room(most=50)
    patient["limits"][0]["booking"]["late"] = "PT30M"
    await publish(service, patient)
    assert (await get(service, f"/v1/bookings/{made['booking_id']}"))["state"] == "open"
    assert (await book(service, card, slot(0)))[1]["code"] == "resource_taken"
    del patient["limits"][0]["booking"]["late"]
    await publish(service, patient)
    forever = await begun(service, made, 600)
    assert (forever["state"], forever["releases_at"]) == ("open", None)


async def test_nobody_is_sold_a_booking_that_is_released_already(service: Service) -> None:
    await publish(service, room())
    card = await resident(service)
    status, problem = await book(service, card, slot(-0.3))
    assert (status, problem["code"]) == (422, "wrong_values")
    assert await entries(service) == []
    await booked(service, card, slot(-0.2))


async def test_bookings_are_listed_by_time_and_person(service: Service) -> None:
    await publish(service, room(most=50))
    one, other = await resident(service), await resident(service)
    ids = [(await booked(service, (one, other)[n % 2], slot(n + 1, 0.5)))["booking_id"] for n in range(5)]
    leafed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await get(service, f"/v1/bookings?limit=2{cursor and '&cursor=' + cursor}")
        leafed += [item["booking_id"] for item in page["items"]]
        cursor = page["next"]
    assert leafed == ids
    mine = await get(service, f"/v1/bookings?person_id={other['person_id']}&resource=room-1&state=open")
    assert [item["booking_id"] for item in mine["items"]] == ids[1::2]


async def test_a_tap_takes_an_item_out_and_the_desk_takes_it_back(service: Service) -> None:
    reader = await hub(service, lending())
    card = await resident(service)
    mirror = await take_snapshot(reader, FEED)
    tap = reader.tap(card=card["card_id"], service=LENDING, item="drill-7")
    assert await upload(reader, tap, tap) == ["stored", "duplicate"]
    (change,) = await changes_after(reader, mirror)
    assert isinstance(change, LoanChange)
    assert (change.loan.pool, change.loan.gone) == ("tools", False)
    assert change.loan.loan == tap["tap_id"], "the gate knows its own loan again"
    (loan,) = (await get(service, "/v1/loans?state=out"))["items"]
    assert (loan["loan_id"], loan["item"], loan["person_id"]) == (change.loan.loan, "drill-7", card["person_id"])
    out = (date.fromisoformat(loan["due"]) - datetime.fromisoformat(loan["lent_at"]).date()).days
    assert loan["due"] == change.loan.due
    assert out in (28, 29), "local days, which may be ahead of UTC"
    await post(service, f"/v1/loans/{loan['loan_id']}/return", wanted=200, roles="desk")
    (gone,) = await changes_after(reader, mirror)
    assert isinstance(gone, LoanChange)
    assert (gone.loan.loan, gone.loan.gone) == (loan["loan_id"], True)
    assert (await service.call("POST", f"/v1/loans/{loan['loan_id']}/return"))[0] == 409
    assert (await get(service, "/v1/loans?state=out"))["items"] == []


async def test_a_loan_is_renewed_as_often_as_the_service_lets_it(service: Service) -> None:
    reader = await hub(service, lending())
    card = await resident(service)
    ago = int(time.time() * 1000) - 10 * 86_400_000
    await upload(reader, reader.tap(card=card["card_id"], service=LENDING, at=ago))
    (loan,) = (await get(service, "/v1/loans"))["items"]
    path = f"/v1/loans/{loan['loan_id']}/renew"
    renewed = await post(service, path, wanted=200, roles="desk")
    gained = (date.fromisoformat(renewed["due"]) - date.fromisoformat(loan["due"])).days
    assert (renewed["renewed"], gained) == (1, 10)
    status, problem = await service.call("POST", path)
    assert (status, problem["code"]) == (409, "renewals_used")


@pytest.mark.parametrize(("days", "wanted"), [(40, 200), (43, 409)])
async def test_what_is_long_overdue_has_to_come_back_first(service: Service, days: int, wanted: int) -> None:
    reader = await hub(service, lending())
    card = await resident(service)
    ago = int(time.time() * 1000) - days * 86_400_000
    await upload(reader, reader.tap(card=card["card_id"], service=LENDING, at=ago))
    (loan,) = (await get(service, "/v1/loans?state=overdue"))["items"]
    assert (await service.call("POST", f"/v1/loans/{loan['loan_id']}/renew"))[0] == wanted


async def test_an_item_too_many_is_told_to_people(service: Service) -> None:
    reader = await hub(service, lending(max_out=1))
    card = await resident(service)
    await upload(reader, *(reader.tap(card=card["card_id"], service=LENDING) for _ in range(2)))
    (flag,) = await flags(service)
    assert (flag["kind"], flag["units"], flag["account"]) == ("over_lent", 1, "tools")


async def test_a_collector_takes_the_item_for_the_holder(service: Service) -> None:
    made = lending() | {"delegation": {"acts_for": {"scopes": ["collect"]}}}
    reader = await hub(service, made)
    holder, collector = await resident(service), await resident(service)
    detail = {"person": collector["person_id"], "scopes": ["collect"]}
    await fact(service, holder["person_id"], kind="delegate", detail=detail)
    await upload(reader, reader.tap(card=collector["card_id"], service=LENDING, acts_for=holder["index"]))
    (loan,) = (await get(service, "/v1/loans"))["items"]
    assert loan["person_id"] == holder["person_id"]
    state = (await take_snapshot(reader, FEED)).meta.state
    assert [one.loan for one in state.loans] == [loan["loan_id"]], "a gate that starts knows what is out"


async def test_another_systems_word_reaches_the_gates_that_ask_for_it(service: Service) -> None:
    asks = [{"upstream": "lms", "check": "not_blocked", "max_age": "PT15M", "if_unknown": "deny"}]
    reader = await hub(service, document(requires=asks))
    card = await resident(service)
    mirror = await take_snapshot(reader, FEED)
    (holder,) = mirror.meta.state.holders
    path = f"/v1/people/{card['person_id']}/upstreams/lms"
    status, word = await service.call("PUT", path, {"not_blocked": True}, roles="operator")
    assert (status, word["not_blocked"]) == (200, True)
    (change,) = await changes_after(reader, mirror)
    assert isinstance(change, UpstreamChange)
    told = change.upstream
    assert (told.name, told.key, told.not_blocked) == ("lms", holder.keys["person"], True)
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    status, problem = await service.call("PUT", path, {"not_blocked": False, "said_at": long_ago})
    assert (status, problem["code"]) == (409, "older_word")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert (await service.call("PUT", path, {"not_blocked": False, "said_at": tomorrow}))[0] == 422
    assert (await service.call("PUT", f"/v1/people/{uuid4()}/upstreams/lms", {"not_blocked": True}))[0] == 404
    other = f"/v1/people/{card['person_id']}/upstreams/other"
    assert (await service.call("PUT", other, {"not_blocked": None}))[0] == 200
    assert await changes_after(reader, mirror) == [], "no gate asks for that one"
    words = (await get(service, f"/v1/people/{card['person_id']}/upstreams", roles="desk"))["items"]
    assert [word["name"] for word in words] == ["lms", "other"]
    listed = f"/v1/people/{card['person_id']}/upstreams?limit=1"
    page = await get(service, listed, roles="desk")
    rest = await get(service, f"{listed}&cursor={page['next']}", roles="desk")
    assert (page["items"] + rest["items"], rest["next"]) == (words, None)


async def test_a_gate_that_starts_hears_only_words_that_are_still_believed(service: Service) -> None:
    asks = [{"upstream": "lms", "check": "not_blocked", "max_age": "PT15M", "if_unknown": "deny"}]
    reader = await hub(service, document(requires=asks))
    fresh, stale = await resident(service), await resident(service)
    for card, minutes in ((fresh, 5), (stale, 20)):
        said = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
        body = {"not_blocked": True, "said_at": said}
        status, _ = await service.call("PUT", f"/v1/people/{card['person_id']}/upstreams/lms", body)
        assert status == 200
    state = (await take_snapshot(reader, FEED)).meta.state
    keys = {holder.index: holder.keys["person"] for holder in state.holders}
    assert [word.key for word in state.upstreams] == [keys[fresh["index"]]]
