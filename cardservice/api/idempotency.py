"""A write is done once for its ``Idempotency-Key``, and answered the same every time.

See draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
from typing import Final

from aiohttp import web

from cardservice.api.call import Call
from cardservice.db import Connection, Reading, queries
from cardservice.errors import ApiProblem

MAX_KEY_CHARACTERS: Final = 200


class Keyed:
    """One write by staff under the key that it came with."""

    def __init__(self, call: Call, raw: bytes) -> None:
        """Of a call and its body.

        Raises:
            ApiProblem: 400 without a usable key.
        """
        request = call.request
        key = request.headers.get("Idempotency-Key", "")
        if not (1 <= len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable()):
            raise ApiProblem(
                400,
                "idempotency_key_missing",
                "A write needs the header Idempotency-Key, a value of your own of 1 to 200 plain characters.",
            )
        self._mine = {"tenant": call.tenant, "actor": call.actor.name, "key": key}
        self._digest = hashlib.sha256(b"\n".join((request.method.encode(), request.path_qs.encode(), raw))).digest()
        # A remembered reply may hold a token or a person's data: it is sealed, under the name of its row.
        self._name, self._sealer = "\n".join(self._mine.values()), call.platform.replies

    async def known(self, conn: Connection | Reading) -> web.Response | None:
        """What the first request with this key was answered, if there was one.

        Raises:
            ApiProblem: 422 where that was another request.
        """
        first = await queries().api.find_idempotent_answer(conn, **self._mine)
        if first is None:
            return None
        known = first["request_sha256"]
        # One of 32 bytes was stored before they were sealed; none is older than a day.
        if len(known) != len(self._digest):
            known = await self._sealer.unseal_aside(f"{self._name}\nrequest", known)
        if known != self._digest:
            raise ApiProblem(422, "idempotency_key_reused", "This Idempotency-Key was used for another request.")
        body = await self._sealer.unseal_aside(self._name, first["response"])
        return web.Response(
            status=first["status"],
            body=body,
            content_type="application/json" if body else "application/octet-stream",
            headers={"Idempotency-Replayed": "true"},
        )

    async def claim(self, conn: Connection) -> bool:
        """Take the key in the transaction of the change; false where another request has it and has been answered."""
        # The digest is sealed too: from that of a body with a four-digit PIN the PIN is found by trying.
        claimed = await self._sealer.seal_aside(f"{self._name}\nrequest", self._digest)
        return bool(await queries().api.claim_idempotency_key(conn, **self._mine, request_sha256=claimed))

    async def keep(self, conn: Connection, response: web.StreamResponse) -> None:
        """Remember the answer, in that same transaction."""
        made = response.body if isinstance(response, web.Response) else None
        sealed = await self._sealer.seal_aside(self._name, made if isinstance(made, bytes) else b"")
        await queries().api.keep_idempotent_answer(conn, **self._mine, status=response.status, response=sealed)
