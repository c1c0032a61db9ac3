"""The chapter on keys: a council's key is rotated while people walk in, and an intruder's key is thrown out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import jwt

from cardservice.db import Database, queries
from cardservice.demo.cards import Holder, resigned
from cardservice.demo.client import Api, until
from cardservice.errors import DemoError
from cardservice.feed.writer import publish_keys
from cardservice.keys.encryption import KeyEncryption
from cardservice.keys.sealing import Sealed, Sealer
from entitlements.credential.es256 import private_key_to_pem
from entitlements.credential.keys import SigningKey
from entitlements.model import TenantId

if TYPE_CHECKING:
    from cardservice.demo.story import Story

VISITORS: Final = 3
"""People who come to the turnstile with a card of the old key; the library door opens for others meanwhile."""
TAPS_SECONDS: Final = 20.0


class Keys:
    """Chapter 8. The story's residents hold cards of the key that signs when it begins."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.record = story.record
        self.api: Api = story.api
        self.key: dict[str, Any] = {}
        self.visitors: list[Holder] = []
        self.newcomer: Holder

    async def tell(self) -> None:
        """A rotation, and an emergency."""
        self.record.begin("8", "A key is rotated while the gates work")
        await self._rotate()
        await self._intruder()

    # --- rotation ---

    async def _rotate(self) -> None:
        before = len(self.story.taps)

        async def publish() -> tuple[str, str]:
            self.visitors = [await self.story.theatre.new_holder() for _ in range(VISITORS)]
            self.record.restart_clock()
            self.key = await self.api.call("POST", "/v1/keys/rotate", tenant="wcc")
            return f"it is {self.key['state']}", f"key {self.key['kid']}; it signs when the slowest gate has it"

        await self.record.step("An administrator asks for a new key", "it is published", publish)
        await self.record.step(
            "People walk in until every gate has the key and it signs by itself", "everybody was let in", self._walk_in
        )

        async def newcomer() -> tuple[str, str]:
            self.newcomer = await self.story.theatre.new_holder()
            signed_by = jwt.get_unverified_header(self.newcomer.token)["kid"]
            return await self.story.show(self.newcomer), f"signed by {signed_by}"

        await self.record.step("A resident with a card of the new key, at the turnstile", "allow ok", newcomer)

        async def old() -> str:
            return await self.story.show(self.visitors[-1], await self._picture_of(self.visitors[-1].token))

        await self.record.step("A resident with a card of the old key, straight after", "allow ok", old)

        async def arrived() -> tuple[str, str]:
            mine = self.story.taps[before:]
            await until("the taps of this chapter", lambda: self._stored(mine), TAPS_SECONDS)
            return "every tap exactly once", f"{len(mine)} taps since the rotation was asked for"

        await self.record.step("Every tap arrives", "every tap exactly once", arrived)

    async def _walk_in(self) -> tuple[str, str]:
        """Cards of the old key at turnstile and door, one after another, until the new key signs."""
        began = datetime.now(UTC)
        pictures = [await self._picture_of(holder.token) for holder in self.visitors[:-1]]
        seen: list[str] = []
        for holder, picture in zip(self.visitors, pictures, strict=False):
            seen.append(await self.story.show(holder, picture))
        status = await self._status()
        while status["state"] != "active":
            decision = await self.story.hold(self.story.door, self.story.holders[3].token.encode())
            seen.append(f"{decision['outcome']} {decision['reason']}")
            status = await self._status()
        took = (datetime.fromisoformat(status["activated_at"]) - began).total_seconds()
        refused = [word for word in seen if word != "allow ok"]
        told = f"{len(seen)} people; the key signs {took:.1f} s after it was asked for"
        return "; ".join(refused) or "everybody was let in", told

    async def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.api.call("GET", f"/v1/keys/{self.key['kid']}", tenant="wcc")
        return found

    async def _picture_of(self, token: str) -> bytes:
        """The code as it was given out: the service's own picture would be signed by whatever key signs now."""
        from cardservice.cards.pictures import qr_png

        return await asyncio.to_thread(qr_png, token, 4)

    async def _stored(self, taps: Sequence[str]) -> bool | None:
        found = await self.story.all_taps()
        if len(found) != len(set(found)):
            raise DemoError(what="service", detail="a tap was stored twice")
        return True if set(taps) <= set(found) else None

    # --- emergency ---

    async def _intruder(self) -> None:
        key = SigningKey.generate(TenantId("wcc"))
        forged = resigned(self.newcomer.token, key).encode()

        async def slipped_in() -> str:
            await self._slip_in(key)
            await until("the intruder's key at the gates", self.story.everywhere)
            decision = await self.story.hold(self.story.door, forged)
            return f"{decision['outcome']} {decision['reason']}"

        await self.record.step(
            "An intruder's key got into the database: its card opens the door", "allow ok", slipped_in
        )

        async def revoke() -> tuple[str, str]:
            path = f"/v1/keys/{key.kid}/revoke"
            done = await self.api.call("POST", path, {"reason": "nobody knows this key"}, tenant="wcc")
            await until("the revocation at the gates", self.story.everywhere)
            return f"key is {done['state']}, and at the gates", f"{done['cards']['issued']} cards need a new code"

        await self.record.step("The administrator revokes it", "key is revoked, and at the gates", revoke)

        async def refused() -> tuple[str, str]:
            decision = await self.story.hold(self.story.door, forged)
            return f"{decision['outcome']} {decision['reason']}", f"on the display: {decision['text']}"

        await self.record.step("The intruder's card again", "deny bad_signature", refused)

        async def honest() -> str:
            decision = await self.story.hold(self.story.door, self.newcomer.token.encode())
            return f"{decision['outcome']} {decision['reason']}"

        await self.record.step("An honest card straight after", "allow ok", honest)

    async def _slip_in(self, key: SigningKey) -> None:
        """What somebody with the database and the key-encryption key could do."""
        database = Database(self.story.theatre.settings.database_url, pool_size=1)
        sealer = Sealer(KeyEncryption.of(self.story.theatre.settings), Sealed.SIGNING_KEYS)
        await database.open()
        try:
            async with database.transaction("wcc") as conn:
                await queries().keys.add(
                    conn,
                    tenant="wcc",
                    kid=key.kid,
                    purpose="card",
                    state="published",
                    public_jwk=key.verification_key.to_jwk(),
                    private_sealed=sealer.seal(key.kid, private_key_to_pem(key.private)),
                )
                await publish_keys(conn, "wcc")
        finally:
            await database.close()
