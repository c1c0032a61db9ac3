"""The service's half of the reader contract on a loopback port, with switches for every way it may misbehave."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import msgspec
from aiohttp import web

from entitlements.credential.assertion import unverified_reader_id, verify_assertion
from entitlements.credential.errors import AssertionRefused
from entitlements.credential.es256 import public_key_from_jwk, thumbprint
from entitlements.wire.feed import Beat, encode
from entitlements.wire.secrets import SecretsPage
from entitlements.wire.taps import ReaderStatus, TapBatch
from tests.unit.readers.kit.council import SITE, Council


class FakeService:
    """Speaks the contract of one council. ``seconds_off`` shifts its clock against the machine's."""

    def __init__(self, council: Council) -> None:
        self.council = council
        self.seconds_off = council.now - time.time()
        self.codes = {"code-1"}
        self.keys: dict[str, Any] = {}
        self.revoked = False
        self.lose_roll = False
        self.pruned_to = 0
        self.broken_parts: list[str] = []
        """How the next part replies are broken: ``half``, ``other``, or ``lost`` with the connection in the middle."""
        self.ranges: list[str] = []
        """What of parts was asked for, where not all of it."""
        self.reject: set[str] = set()
        self.taps: dict[str, dict[str, Any]] = {}
        self.tap_posts = 0
        self.statuses: list[ReaderStatus] = []
        self.stream_mode = "well"
        self.streams_opened = 0
        self.snapshots_given = 0
        self.fail_with: int | None = None
        self.secrets = SecretsPage(tag="none")
        self.secrets_given = 0
        """Times that a page of secrets was sent, not counting "not modified"."""
        self.secrets_asked = 0
        self.heard = asyncio.Condition()
        self._streams: set[asyncio.Queue[bytes]] = set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def now_ms(self) -> int:
        return round((time.time() + self.seconds_off) * 1000)

    async def start(self) -> None:
        """Listen; again on the same port after :meth:`stop`."""
        app = web.Application(middlewares=[self._outer])
        app.add_routes(
            [
                web.post("/v1/readers/enrol", self._enrol),
                web.get("/v1/reader/site", self._site),
                web.post("/v1/reader/key", self._roll),
                web.get("/v1/reader/secrets", self._secrets),
                web.get("/v1/feeds/{tenant}/{area}/snapshot", self._snapshot),
                web.get("/v1/feeds/{tenant}/{area}/parts/{sha256}", self._part),
                web.get("/v1/feeds/{tenant}/{area}/changes", self._changes),
                web.get("/v1/stream", self._stream),
                web.post("/v1/taps", self._post_taps),
                web.post("/v1/reader/status", self._post_status),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Go away; open streams break."""
        if self._runner is not None:
            for queue in self._streams:
                queue.put_nowait(b"")
            await self._runner.cleanup()
            self._runner = None

    async def until(self, condition: Any) -> None:
        """Wait until something that a request changed is true."""
        async with self.heard:
            await self.heard.wait_for(condition)

    def push(self, change: Any) -> None:
        """Send one change down every open stream."""
        data = msgspec.json.encode({"feed": self.council.feed, "change": msgspec.Raw(encode(change))})
        self.send(b"event: change\ndata: " + data + b"\n\n")

    def send(self, octets: bytes) -> None:
        """Send octets down every open stream."""
        for queue in self._streams:
            queue.put_nowait(octets)

    def beat(self) -> bytes:
        value = Beat(server_time=self.now_ms(), heads={self.council.feed: self.council.head}, secrets=self.secrets.tag)
        return b"event: beat\ndata: " + encode(value) + b"\n\n"

    @web.middleware
    async def _outer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response = await self._guarded(request, handler)
        except web.HTTPException as error:
            response = error
        if not response.prepared:
            response.headers["Rescard-Time"] = str(self.now_ms())
        async with self.heard:
            self.heard.notify_all()
        return response

    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.fail_with is not None:
            return problem(self.fail_with, "down", "as the test wants")
        token = request.headers["Authorization"].removeprefix("Reader ")
        reader = unverified_reader_id(token)
        if request.path.endswith("/enrol"):
            key = public_key_from_jwk((await request.json())["public_key"])
            assert reader == thumbprint(key)
        else:
            key = self.keys[reader]
        try:
            verify_assertion(token, key, request.method, request.path, "rescard", self.now_ms() // 1000)
        except AssertionRefused as error:
            return problem(401, error.code, error.detail, server_time=self.now_ms())
        if self.revoked:
            return problem(403, "reader_revoked", "this reader was revoked")
        response: web.StreamResponse = await handler(request)
        return response

    async def _enrol(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["code"] not in self.codes:
            return problem(403, "enrolment_code", "the code is not known or was used")
        self.codes.discard(body["code"])
        self.keys["r-1"] = public_key_from_jwk(body["public_key"])
        reply = {
            "reader_id": "r-1",
            "tenant": "wcc",
            "site": SITE,
            "feeds": [self.council.feed],
            "feed_keys": self.council.feed_keys,
            "server_time": self.now_ms(),
        }
        return raw_json(msgspec.json.encode(reply))

    async def _roll(self, request: web.Request) -> web.Response:
        self.keys["r-1"] = public_key_from_jwk((await request.json())["public_key"])
        return problem(503, "down", "the reply got lost") if self.lose_roll else web.Response(status=204)

    async def _secrets(self, request: web.Request) -> web.Response:
        self.secrets_asked += 1
        tag = f'"{self.secrets.tag}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        self.secrets_given += 1
        return raw_json(encode(self.secrets))

    async def _site(self, _request: web.Request) -> web.Response:
        return raw_json(
            msgspec.json.encode(
                {"tenant": "wcc", "site": SITE, "feeds": [self.council.feed], "feed_keys": self.council.feed_keys}
            )
        )

    async def _snapshot(self, _request: web.Request) -> web.Response:
        self.snapshots_given += 1
        self.manifest, self.parts = self.council.snapshot()
        return web.json_response({"manifest": self.manifest})

    async def _part(self, request: web.Request) -> web.StreamResponse:
        data = self.parts[request.match_info["sha256"]]
        how = self.broken_parts.pop(0) if self.broken_parts else ""
        if how == "half":
            data = data[: len(data) // 2]
        elif how == "other":
            data = bytes([data[0] ^ 1]) + data[1:]
        elif how == "lost":
            response = web.StreamResponse(headers={"Content-Length": str(len(data))})
            await response.prepare(request)
            await response.write(data[: len(data) // 2])
            if request.transport is not None:
                request.transport.close()
            return response
        if "Range" in request.headers:
            self.ranges.append(request.headers["Range"])
            first = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            headers = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
            return web.Response(status=206, body=data[first:], headers=headers)
        return web.Response(body=data, content_type="application/octet-stream")

    async def _changes(self, request: web.Request) -> web.Response:
        council = self.council
        after = int(request.query["after"])
        if request.query["epoch"] != council.epoch or after > council.number:
            return problem(409, "feed_epoch", "not of our past", epoch=council.epoch, number=council.number)
        if after < self.pruned_to:
            return problem(410, "feed_pruned", "no longer kept")
        page = [change for change in council.changes if change.n > after][: int(request.query["limit"])]
        body = {
            "head": council.head,
            "changes": [msgspec.Raw(change) if isinstance(change, bytes) else change for change in page],
            "server_time": self.now_ms(),
        }
        return raw_json(msgspec.json.encode(body))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.streams_opened += 1
        async with self.heard:
            self.heard.notify_all()
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._streams.add(queue)
        try:
            if self.stream_mode == "well":
                await response.write(self.beat())
            while (octets := await queue.get()) != b"":
                await response.write(octets)
        finally:
            self._streams.discard(queue)
        return response

    async def _post_taps(self, request: web.Request) -> web.Response:
        self.tap_posts += 1
        results = []
        for raw in msgspec.json.decode(await request.read(), type=TapBatch).items:
            item = msgspec.json.decode(raw)
            key = f"{item['t']} {item['tap_id']}"
            if item.get("reason") in self.reject:
                results.append({"result": "rejected", "problem": "as the test wants"})
            else:
                results.append({"result": "duplicate" if key in self.taps else "stored"})
                self.taps[key] = item
        return web.json_response({"results": results, "server_time": self.now_ms()})

    async def _post_status(self, request: web.Request) -> web.Response:
        self.statuses.append(msgspec.json.decode(await request.read(), type=ReaderStatus))
        return web.json_response({"server_time": self.now_ms()})

    def number_reported(self) -> int:
        """Number of the feed in the last status; -1 as long as there is none."""
        last = self.statuses[-1].feeds.get(self.council.feed) if self.statuses else None
        return -1 if last is None else last.number

    def tap_list(self) -> list[dict[str, Any]]:
        """Stored taps without passages, in order."""
        return [item for item in self.taps.values() if item["t"] == "tap"]


def card_text(card_id: bytes) -> str:
    return base64.urlsafe_b64encode(card_id).rstrip(b"=").decode()


def problem(status: int, code: str, detail: str, **more: Any) -> web.Response:
    return web.json_response(
        {"type": "about:blank", "status": status, "code": code, "detail": detail, **more},
        status=status,
        content_type="application/problem+json",
    )


def raw_json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
