"""The story: a card is issued, opens gates, the network is cut, a reader is killed, the card is revoked, forgers fail,
two new services go live without code, and a key is rotated while people walk in.

Every step goes through the real parts: HTTP to the service, pictures in front of the camera, an NFC card in the field,
relays that click. What happened is read from the reader's status page, the turnstile and the service's own records.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from cardservice.demo import catalogue, content
from cardservice.demo.cards import (
    Holder,
    card_of_unknown_key,
    check_with_pyjwt,
    expired_card,
    forged_card,
    random_bytes,
)
from cardservice.demo.client import Api, until
from cardservice.demo.forms import Forms
from cardservice.demo.keys import Keys
from cardservice.demo.new_services import NewServices
from cardservice.demo.record import Record
from cardservice.demo.site import DemoLane, DemoSite
from cardservice.demo.theatre import Theatre
from cardservice.errors import DemoError

MIME: Final = "application/vnd.rescard+jwt"
"""NDEF media type of a card as JWT."""
TAPS_SECONDS: Final = 20.0


class Story:
    """One telling. ``out`` gets ``card.jwt``, ``card.png``, ``jwks.json`` and ``story.json``."""

    def __init__(self, theatre: Theatre, record: Record, out: Path) -> None:
        self.theatre = theatre
        self.api: Api = theatre.api
        self.leisure: DemoSite = theatre.leisure
        self.library: DemoSite = theatre.library
        self.record = record
        self.out = out
        self.turnstile = theatre.leisure.lanes[catalogue.LEISURE_LANE]
        self.door = theatre.library.lanes[catalogue.LIBRARY_LANE]
        self.began = datetime.now(UTC)
        self.taps: list[str] = []
        self.last: dict[str, Any] = {}
        self.holders: list[Holder] = []

    async def tell(self) -> None:
        """All chapters."""
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            await self._issue()
            await self._leisure()
            await self._library()
            await self._cut()
            await self._revoke()
            await self._forgers()
            await NewServices(self).tell()
            await Keys(self).tell()
            await Forms(self).tell()
        finally:
            self.record.write(self.out / "story.json")

    # --- 1 ---

    async def _issue(self) -> None:
        self.record.begin("1", "A resident gets a signed card")

        async def issue() -> tuple[str, str]:
            self.holders = [await self.theatre.new_holder() for _ in range(4)]
            holder = self.holders[0]
            (self.out / "card.jwt").write_text(holder.token + "\n")
            (self.out / "card.png").write_bytes(await holder.picture())
            return f"card is {holder.card['state']}", f"card {holder.card_id}, {len(holder.token)} characters"

        await self.record.step("The service issues a card over its HTTP API", "card is active", issue)

        async def verify() -> tuple[str, str]:
            async with self.api.http.get(f"{self.api.url}/v1/tenants/wcc/jwks.json") as response:
                body = await response.read()
            (self.out / "jwks.json").write_bytes(body)
            claims = check_with_pyjwt(self.holders[0].token, await self._jwks())
            told = ", ".join(sorted(claims))
            return "the signature is good", f"it says only: {told}; no name, no entitlement"

        await self.record.step("PyJWT checks it with the council's public keys alone", "the signature is good", verify)

    async def _jwks(self) -> dict[str, Any]:
        async with self.api.http.get(f"{self.api.url}/v1/tenants/wcc/jwks.json") as response:
            keys: dict[str, Any] = await response.json()
            return keys

    # --- 2 ---

    async def _leisure(self) -> None:
        self.record.begin("2", "At the leisure centre: a picture of the code opens a turnstile")
        holder = self.holders[0]
        board = self.turnstile.board
        since = board.mark

        async def show() -> tuple[str, str]:
            return await self.show(holder), f"on the display: {self.last['text']}"

        await self.record.step("The camera sees the code, tilted, blurred and noisy", "allow ok", show)

        async def passage() -> str:
            await board.wait(lambda event: event.get("event") == "released", since=since)
            await board.wait(lambda event: event.get("event") == "passed", since=since)
            return "released, then a person passed"

        await self.record.step("The relay board pulses the turnstile", "released, then a person passed", passage)

        async def stored() -> str:
            tap = await self._tap(self.last["tap_id"], lambda found: found["passage"] is not None)
            return f"{tap['outcome']} {tap['reason']}, {tap['passage']['result']}"

        await self.record.step("The tap is stored by the service", "allow ok, passed", stored)

        async def again() -> str:
            return await self.show(holder)

        await self.record.step("The same card again, handed back over the turnstile", "deny already_inside", again)

    # --- 3 ---

    async def _library(self) -> None:
        self.record.begin("3", "At the library: an NFC card, and opening hours")

        async def tap() -> str:
            return said(await self.hold(self.door, self.holders[0].token.encode()))

        await self.record.step("The NFC card is held to the door", "allow ok", tap)

        async def close() -> str:
            await content.publish_library(self.api, catalogue.closed_now(datetime.now(UTC)))
            return "published"

        await self.record.step("The library's manager moves the hours: closed at this hour", "published", close)

        async def refused() -> tuple[str, str]:
            decision = await self.hold(self.door, self.holders[0].token.encode())
            return f"{said(decision)}, {'with' if 'pens' in decision['text'] else 'without'} the next opening", (
                f"on the display: {decision['text']}"
            )

        await self.record.step("The same card at that hour", "deny outside_hours, with the next opening", refused)

        async def reopen() -> str:
            await content.publish_library(self.api, catalogue.open_now(datetime.now(UTC)))
            return said(await self.hold(self.door, self.holders[0].token.encode()))

        await self.record.step("The hours are moved back, and the door opens again", "allow ok", reopen)

    # --- 4 ---

    async def _cut(self) -> None:
        self.record.begin("4", "The network is cut, a reader is killed, nothing is lost")
        pictures = [await holder.picture() for holder in self.holders]

        async def cut() -> str:
            self.theatre.service.kill()
            return "the service is gone"

        await self.record.step("The service's process is killed", "the service is gone", cut)

        async def leisure() -> str:
            return await self.show(self.holders[1], pictures[1])

        await self.record.step("Turnstile, next resident, no network", "allow ok", leisure)

        async def library() -> str:
            return said(await self.hold(self.door, self.holders[2].token.encode()))

        await self.record.step("Library door, another resident, no network", "allow ok", library)

        async def queued() -> tuple[str, str]:
            waiting = await until("queue of taps", self._waiting)
            return "taps wait on disk", f"{waiting} items wait in the two outboxes"

        await self.record.step("The taps have not gone anywhere", "taps wait on disk", queued)

        async def kill() -> str:
            await self.turnstile.clear()
            self.leisure.reader.kill()
            await self.leisure.start_reader()
            return "it is up again, without the service"

        await self.record.step("The leisure reader is killed (SIGKILL)", "it is up again, without the service", kill)

        async def restarted() -> str:
            return await self.show(self.holders[3], pictures[3])

        await self.record.step("It decides from its own disk", "allow ok", restarted)

        async def remembers() -> str:
            return await self.show(self.holders[1], pictures[1])

        await self.record.step("It still knows who is inside", "deny already_inside", remembers)

        async def returns() -> str:
            await self.theatre.start_service()
            return "the service answers"

        await self.record.step("The service returns", "the service answers", returns)

        async def connected() -> str:
            await until("streams of both readers", self._connected, TAPS_SECONDS)
            return "both are connected"

        await self.record.step("The readers find it again by themselves", "both are connected", connected)

        async def arrived() -> tuple[str, str]:
            await until("empty outboxes", self._empty, TAPS_SECONDS)
            found = await self.all_taps()
            missing, strange = set(self.taps) - set(found), set(found) - set(self.taps)
            if missing or strange or len(found) != len(self.taps):
                return f"{len(missing)} missing, {len(strange)} that nobody presented", ""
            return "every tap exactly once", f"{len(self.taps)} taps so far"

        await self.record.step("Every tap arrives", "every tap exactly once", arrived)

    async def _waiting(self) -> int | None:
        counts = [(await site.status())["outbox_waiting"] for site in (self.leisure, self.library)]
        return sum(counts) if all(counts) else None

    async def _empty(self) -> bool | None:
        counts = [(await site.status())["outbox_waiting"] for site in (self.leisure, self.library)]
        return None if any(counts) else True

    async def _connected(self) -> bool | None:
        streams = [(await site.status())["streaming"] for site in (self.leisure, self.library)]
        return True if all(streams) else None

    async def all_taps(self) -> list[str]:
        """Every tap that the service has stored since the story began."""
        found: list[str] = []
        since = quote(self.began.isoformat())
        cursor = ""
        while True:
            page = await self.api.call("GET", f"/v1/taps?limit=500&since={since}{cursor}", tenant="wcc")
            found += [tap["tap_id"] for tap in page["items"]]
            if page["next"] is None:
                return found
            cursor = f"&cursor={quote(page['next'])}"

    # --- 5 ---

    async def _revoke(self) -> None:
        self.record.begin("5", "The card is lost and revoked")
        holder = self.holders[0]

        async def revoke() -> tuple[str, str]:
            card = await self.api.call("POST", f"/v1/cards/{holder.card_id}/revoke", {"reason": "lost"}, tenant="wcc")
            found = await until("propagation", self._effective)
            told = ", ".join(
                f"{gate['name']} {reader['milliseconds']} ms"
                for area in found["areas"]
                for reader in area["readers"]
                for gate in reader["gates"]
            )
            return f"card is {card['state']}; {found['summary']}", f"after the commit: {told}"

        await self.record.step("The desk revokes it", "card is revoked; Effective at 4 of 4 gates.", revoke)

        async def leisure() -> str:
            picture = (self.out / "card.png").read_bytes()
            return await self.show(holder, picture)

        await self.record.step("At the turnstile", "deny card_revoked", leisure)

        async def library() -> str:
            return said(await self.hold(self.door, holder.token.encode()))

        await self.record.step("At the library door", "deny card_revoked", library)

    async def _effective(self) -> dict[str, Any] | None:
        """How far the revocation has come, once every gate has it."""
        path = f"/v1/cards/{self.holders[0].card_id}/propagation"
        found: dict[str, Any] = await self.api.call("GET", path, tenant="wcc")
        return found if found["effective"] == found["gates"] else None

    # --- 6 ---

    async def _forgers(self) -> None:
        self.record.begin("6", "Forgers and broken cards")
        honest = self.holders[2].token
        key = await self.theatre.council_key()
        cases: tuple[tuple[str, bytes, str], ...] = (
            ("A forged card: right words, somebody else's key", forged_card(honest).encode(), "deny bad_signature"),
            ("A card of a key nobody published", card_of_unknown_key(honest).encode(), "deny bad_signature"),
            ("A card that ended a week ago", expired_card(honest, key).encode(), "deny card_expired"),
            ("200 random bytes", random_bytes(), "deny presentation_not_accepted"),
        )
        for what, data, expected in cases:
            await self.record.step(what, expected, self._refusal(data))

        async def honest_after_all() -> str:
            return said(await self.hold(self.door, self.holders[3].token.encode()))

        await self.record.step("An honest card straight after", "allow ok", honest_after_all)

    def _refusal(self, data: bytes) -> Callable[[], Awaitable[tuple[str, str]]]:
        async def see() -> tuple[str, str]:
            decision = await self.hold(self.door, data)
            return said(decision), f"on the display: {decision['text']}"

        return see

    # --- presenting ---

    async def show(self, holder: Holder, picture: bytes | None = None) -> str:
        """A picture of the card before the turnstile's camera: outcome and reason."""
        png = picture if picture is not None else await holder.picture()
        code = base64.b64encode(png).decode()
        return said(await self._present(self.turnstile, "show", base64=code, tilt=20, blur=0.8, noise=8))

    async def hold(self, lane: DemoLane, data: bytes) -> dict[str, Any]:
        """An NFC card with these bytes in a lane's field: the decision."""
        return await self.present(lane, payload_base64=base64.b64encode(data).decode(), mime=MIME)

    async def present(self, lane: DemoLane, **what: Any) -> dict[str, Any]:
        """Whatever the virtual NFC field can hold, in a lane's field: the decision."""
        return await self._present(lane, "present", **what)

    async def _present(self, lane: DemoLane, do: str, **what: Any) -> dict[str, Any]:
        before = await lane.clear()
        self.record.restart_clock()
        await lane.present(do, **what)

        async def look() -> dict[str, Any] | None:
            return next((found for found in await lane.decisions() if found["tap_id"] not in before), None)

        decision = await until(f"decision at {lane.lane}", look)
        self.taps.append(decision["tap_id"])
        self.last = decision
        return decision

    async def everywhere(self) -> bool | None:
        """Whether both readers have every change of the feeds they follow."""
        areas = (await self.api.call("GET", "/v1/areas", tenant="wcc"))["items"]
        heads = {area["feed"]: area["number"] for area in areas}
        for site in (self.leisure, self.library):
            for name, feed in (await site.status())["feeds"].items():
                if feed["number"] < heads.get(name, 0):
                    return None
        return True

    async def _tap(self, tap_id: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            try:
                tap: dict[str, Any] = await self.api.call("GET", f"/v1/taps/{tap_id}", tenant="wcc")
            except DemoError:
                return None  # not there yet
            return tap if wanted(tap) else None

        return await until(f"tap {tap_id} at the service", look)


def said(decision: dict[str, Any]) -> str:
    """Outcome and reason, as the story tells them."""
    return f"{decision['outcome']} {decision['reason']}"
