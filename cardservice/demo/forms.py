"""The chapter on forms: a card on paper, on a phone and on a chip, and what a copy of each is worth."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from cardservice.cards.pictures import qr_png
from cardservice.demo.cards import Holder
from cardservice.demo.client import Api, until
from cardservice.phone.proof import bind_message
from entitlements.credential import generate_private_key, live_message, live_text
from entitlements.credential.encoding import b64url_decode, b64url_encode
from entitlements.credential.es256 import compress, sign_message

if TYPE_CHECKING:
    from cardservice.demo.story import Story

OLD_SECONDS: Final = 40
"""Age of a photograph that comes too late; a code is good for 30 seconds."""


class Phone:
    """A phone as the card page makes it, without the page: a key of its own, and the card that names it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.key: ec.EllipticCurvePrivateKey = generate_private_key()
        self.card: dict[str, Any] = {}

    async def bind(self, url: str) -> None:
        """Open a one-time link."""
        link, point, at = url.rpartition("/")[2], compress(self.key.public_key()), time.time_ns() // 1_000_000
        body = {
            "link": link,
            "public_key": b64url_encode(point).decode(),
            "at": at,
            "signature": b64url_encode(sign_message(self.key, bind_message(link, point, at))).decode(),
        }
        self.card = await self.api.call("POST", "/v1/phone/bind", body, tenant="wcc")

    def screen(self, *, age: int = 0) -> bytes:
        """PNG of the code that the page showed ``age`` seconds ago."""
        cwt, made = b64url_decode(self.card["cwt"].encode()), int(time.time()) - age
        return qr_png(live_text(cwt, made, sign_message(self.key, live_message(cwt, made))), 8)


class Forms:
    """Chapter 9."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.record = story.record
        self.api: Api = story.api
        self.phone = Phone(story.api)
        self.resident: Holder

    async def tell(self) -> None:
        """Paper, phone, chip."""
        self.record.begin("9", "A card on paper, on a phone, on a chip")
        await self._paper()
        await self._phone()
        await self._chip()

    async def _paper(self) -> None:
        async def show() -> tuple[str, str]:
            holder = await self.story.theatre.new_holder()
            path = f"/v1/cards/{holder.card_id}"
            text = (await self.api.call("GET", f"{path}/code?form=rp1", tenant="wcc"))["token"]
            picture = await self.api.call("GET", f"{path}/qr.png?form=rp1", tenant="wcc")
            return await self.story.show(
                holder, picture
            ), f"{len(text)} characters, where the JWT has {len(holder.token)}"

        await self.record.step("A paper card with a small code, at the turnstile", "allow ok", show)

    async def _phone(self) -> None:
        async def bind() -> tuple[str, str]:
            self.resident = await self.story.theatre.new_holder()
            path = f"/v1/people/{self.resident.person_id}/phone-links"
            await self.phone.bind((await self.api.call("POST", path, {}, tenant="wcc"))["url"])
            return f"the phone has a card of its own: {self.phone.card['state']}", "its key never leaves it"

        await self.record.step("A phone opens a one-time link", "the phone has a card of its own: active", bind)
        pictures: list[bytes] = []

        async def live() -> str:
            pictures.append(self.phone.screen())
            return await self.story.show(self.resident, pictures[0])

        await self.record.step("Its code, which turns every 15 seconds", "allow ok", live)

        async def photograph() -> str:
            return await self.story.show(self.resident, pictures[0])

        await self.record.step("A photograph of that screen, at once", "deny replayed_code", photograph)

        async def late() -> str:
            return await self.story.show(self.resident, self.phone.screen(age=OLD_SECONDS))

        await self.record.step(f"A photograph of {OLD_SECONDS} seconds ago", "deny expired_code", late)

        async def lost() -> str:
            card = await self.api.call("POST", f"/v1/cards/{self.phone.card['card_id']}/lost", {}, tenant="wcc")
            await until("propagation", self._effective)
            return f"{card['state']}: {await self.story.show(self.resident, self.phone.screen())}"

        await self.record.step("The phone is reported lost; a fresh code", "lost: deny card_lost", lost)

        async def other() -> str:
            return f"{await self._door(self.resident)}"

        await self.record.step("The same resident's other card, at the library", "allow ok", other)

    async def _effective(self) -> bool | None:
        path = f"/v1/cards/{self.phone.card['card_id']}/propagation"
        found = await self.api.call("GET", path, tenant="wcc")
        return True if found["effective"] == found["gates"] else None

    async def _door(self, holder: Holder) -> str:
        decision = await self.story.hold(self.story.door, holder.token.encode())
        return f"{decision['outcome']} {decision['reason']}"

    async def _chip(self) -> None:
        device = self.story.door.device
        # A chip of this telling alone, as NXP numbers them (seven octets, 04 first): an earlier one's card still lives.
        number = "04" + secrets.token_hex(6).upper()
        read: list[str] = []

        async def use() -> tuple[str, str]:
            holder = await self.story.theatre.new_holder()
            body = {"person_id": holder.person_id, "channel": "chip"}
            card = await self.api.call("POST", "/v1/cards", body, tenant="wcc")
            path = f"/v1/cards/{card['card_id']}/chip"
            setup = await self.api.call("POST", path, {"uid": number}, tenant="wcc")
            await device.do(
                "chip",
                uid=number,
                file=setup["ndef_file"],
                settings=setup["file_settings"],
                keys="".join(setup["keys"]),
            )
            since = device.mark
            decision = await self.story.present(self.story.door, kind="chip", uid=number)
            message = (await device.wait(lambda event: event.get("event") == "read", since=since))["message"]
            read.append("http://" + bytes.fromhex(str(message))[5:].decode())
            return f"{decision['outcome']} {decision['reason']}", "an NTAG 424 DNA; what it says is new at each touch"

        await self.record.step("A chip card at the library door", "allow ok", use)

        async def copy() -> str:
            decision = await self.story.present(self.story.door, uri=read[0])
            return f"{decision['outcome']} {decision['reason']}"

        await self.record.step("What it said, copied to another tag", "deny replayed_code", copy)
