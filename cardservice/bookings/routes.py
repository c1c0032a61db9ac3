"""Bookings, for the desk."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from cardservice.api.call import Call
from cardservice.api.models import encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.bookings import office
from cardservice.bookings.models import BookingList, BookingReply, BookingRequest, BookingsPage
from cardservice.db import queries
from cardservice.errors import not_found

routes = Routes(tag="bookings")


@routes.add("POST", "/v1/bookings", "Book a resource for somebody", roles=("desk",), status=201)
async def add_booking(call: Call, body: BookingRequest) -> BookingReply:
    row = await office.book(call, body)
    call.after_commit.append(call.platform.hub.wake)
    return BookingReply.at(row, call.now)


@routes.add("GET", "/v1/bookings", "List bookings", roles=("desk", "manager", "auditor"))
async def list_bookings(call: Call, query: BookingsPage) -> BookingList:
    after_at, after_id = read_cursor(query.cursor, datetime.fromisoformat, UUID)
    rows = queries().bookings.page(
        call.conn,
        tenant=call.tenant,
        **query.model_dump(exclude={"cursor", "limit"}),
        now=call.now,
        after_at=after_at,
        after_id=after_id,
        limit=query.limit + 1,
    )
    items = [BookingReply.at(row, call.now) async for row in rows]
    shown = items[: query.limit]
    last = shown[-1] if len(items) > len(shown) else None
    more = encode_cursor(last.starts_at.isoformat(), str(last.booking_id)) if last is not None else None
    return BookingList(items=shown, next=more)


@routes.add("GET", "/v1/bookings/{booking_id}", "Look up a booking", roles=("desk", "manager", "auditor"))
async def get_booking(call: Call) -> BookingReply:
    booking_id = call.path_uuid("booking_id", "booking")
    row = await queries().bookings.get(call.conn, tenant=call.tenant, booking_id=booking_id)
    if row is None:
        raise not_found("booking", booking_id)
    return BookingReply.at(row, call.now)


@routes.add("POST", "/v1/bookings/{booking_id}/cancel", "Cancel a booking", roles=("desk",))
async def cancel_booking(call: Call) -> BookingReply:
    row = await office.cancel(call, call.path_uuid("booking_id", "booking"))
    call.after_commit.append(call.platform.hub.wake)
    return BookingReply.at(row, call.now)
