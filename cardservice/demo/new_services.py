"""A chapter: two services that nobody wrote code for go from a template to an open gate."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cardservice.demo import catalogue
from cardservice.demo.cards import Holder
from cardservice.demo.client import Api, until
from cardservice.errors import DemoError

if TYPE_CHECKING:
    from cardservice.demo.story import Story

HUB_SERVICE: Final = "wcc.hub.room"
VOCABULARY: Final = {"permit": {"ev_vehicle": "a vehicle permit"}, "role": {"partner": "an innovation hub partner"}}


class NewServices:
    """Chapter 7. Two managers of Westminster, each with an own token: one writes, the other approves."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.record = story.record
        self.api: Api = story.api
        self.charger = story.theatre.leisure.lanes[catalogue.EV_LANE]
        self.room = story.theatre.library.lanes[catalogue.HUB_LANE]
        self.writer: Api
        self.approver: Api

    async def tell(self) -> None:
        """EV charging, then the innovation hub."""
        self.record.begin("7", "Two new services, and nobody writes code")
        self.writer = await self._manager("Wren, EV and hub manager")
        self.approver = await self._manager("Ash, head of service")
        await self._words()
        await self._charging()
        await self._hub()

    async def _manager(self, label: str) -> Api:
        body = {"label": label, "roles": ["manager"], "valid_days": 1}
        made = await self.api.call("POST", "/v1/tokens", body, tenant="wcc")
        return Api(self.api.http, self.api.url, made["token"])

    async def _words(self) -> None:
        """What the council calls things and who supplies them, so that the linter knows the facts."""
        for kind, names in VOCABULARY.items():
            for name, title in names.items():
                body = {"title": title, "supplied_by": "the permits team"}
                await self.writer.call("PUT", f"/v1/vocabulary/{kind}/{name}", body, tenant="wcc")

    # --- EV charging ---

    async def _charging(self) -> None:
        holder = self.story.holders[1]
        draft: dict[str, Any] = {}

        await self.record.step(
            "A manager begins EV charging from a template",
            "no errors",
            self._begin(draft, "ev-charging", {"kwh_a_month": 60}),
        )
        await self.record.step("The same manager tries to approve it", "refused: second_person", self._alone(draft))
        await self.record.step(
            "A second person approves and publishes it", "published, and at the gates", self._publish(draft)
        )

        async def without() -> tuple[str, str]:
            return await self._hold(self.charger, holder)

        await self.record.step("At the bay, without a vehicle permit", "deny not_eligible", without)

        async def permitted() -> tuple[str, str]:
            fact = {"kind": "permit", "name": "ev_vehicle", "from": "2026-01-01"}
            await self.api.call("POST", f"/v1/people/{holder.person_id}/facts", fact, tenant="wcc")
            return await self._hold(self.charger, holder)

        await self.record.step("The permit is granted; the same card again", "allow ok", permitted)

        async def counted() -> str:
            account = await until("the tap in the ledger", lambda: self._account(holder, "ev_kwh"))
            return f"{account['used']} of {account['max']} used"

        await self.record.step("The household's account has counted it", "1 of 60 used", counted)

    # --- innovation hub ---

    async def _hub(self) -> None:
        holder = self.story.holders[2]
        draft: dict[str, Any] = {}
        # A room of this telling alone: an earlier one on the same data may have booked its own for the next hour.
        room = f"room-{secrets.token_hex(2)}"
        answers = {"sites": [catalogue.LIBRARY_SITE], "resource": room}
        await self.record.step(
            "The innovation hub's room, from its template", "no errors", self._begin(draft, "hub-room", answers)
        )
        await self.record.step(
            "Approved and published by the second person", "published, and at the gates", self._publish(draft)
        )

        async def unbooked() -> tuple[str, str]:
            return await self._hold(self.room, holder)

        await self.record.step("At the room, without a booking", "deny no_booking", unbooked)

        async def booked() -> tuple[str, str]:
            start = datetime.now(UTC).replace(microsecond=0)
            body = {
                "service": HUB_SERVICE,
                "resource": room,
                "person_id": holder.person_id,
                "start": start.isoformat(),
                "end": (start + timedelta(hours=1)).isoformat(),
            }
            await self.api.call("POST", "/v1/bookings", body, tenant="wcc")
            return await self._hold(self.room, holder)

        await self.record.step("The room is booked; the same card again", "allow ok", booked)

    # --- parts ---

    def _begin(
        self, draft: dict[str, Any], template: str, answers: dict[str, Any]
    ) -> Callable[[], Awaitable[tuple[str, str]]]:
        async def see() -> tuple[str, str]:
            body = {"template": template, "answers": answers}
            draft.update(await self.writer.call("POST", "/v1/drafts", body, tenant="wcc"))
            path = f"/v1/drafts/{draft['draft_id']}"
            findings = (await self.writer.call("POST", f"{path}/lint", tenant="wcc"))["findings"]
            errors = [finding["message"] for finding in findings if finding["severity"] == "error"]
            explained = await self.writer.call("GET", f"{path}/explain", tenant="wcc")
            return "; ".join(errors) or "no errors", f"read back: {explained['lead']}"

        return see

    def _alone(self, draft: dict[str, Any]) -> Callable[[], Awaitable[str]]:
        async def see() -> str:
            path = f"/v1/drafts/{draft['draft_id']}"
            await self.writer.call("POST", f"{path}/submit", {"why": "Bays open on Monday"}, tenant="wcc")
            try:
                await self.writer.call("POST", f"{path}/approve", {"why": "Looks right to me"}, tenant="wcc")
            except DemoError as error:
                return "refused: second_person" if "second_person" in str(error) else str(error)
            return "approved by its own author"

        return see

    def _publish(self, draft: dict[str, Any]) -> Callable[[], Awaitable[str]]:
        async def see() -> str:
            path = f"/v1/drafts/{draft['draft_id']}"
            now = await self.writer.call("GET", path, tenant="wcc")
            if now["state"] == "draft":
                await self.writer.call("POST", f"{path}/submit", {"why": "Ready"}, tenant="wcc")
            await self.approver.call("POST", f"{path}/approve", {"why": "Checked with the site"}, tenant="wcc")
            done = await self.approver.call("POST", f"{path}/publish", tenant="wcc")
            await until("the new service at the gates", self.story.everywhere)
            return f"{done['state']}, and at the gates"

        return see

    async def _hold(self, lane: Any, holder: Holder) -> tuple[str, str]:
        decision = await self.story.hold(lane, holder.token.encode())
        return f"{decision['outcome']} {decision['reason']}", f"on the display: {decision['text']}"

    async def _account(self, holder: Holder, account: str) -> dict[str, Any] | None:
        """The holder's account once something was taken from it."""
        found = await self.api.call("GET", f"/v1/people/{holder.person_id}/accounts", tenant="wcc")
        return next((item for item in found["items"] if item["account"] == account and item["used"]), None)
