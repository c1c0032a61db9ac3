"""A second client of the feed, after docs/protocols/feed.md and reader-api.md, with no code of reader or service."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import struct
import sys
import time
from typing import Any

import aiohttp
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STATES = ("none", "active", "suspended", "lost", "replaced", "expired", "revoked")
TABLES = {"holder": "holders", "units": "units", "booking": "bookings", "loan": "loans", "upstream": "upstreams"}
ES256 = ec.ECDSA(hashes.SHA256())


def armour(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def bare(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def check(octets: bytes, named: dict[str, Any]) -> None:
    if (len(octets), hashlib.sha256(octets).hexdigest()) != (named["size"], named["sha256"]):
        raise InvalidSignature


class TinyFeed:
    def __init__(self, http: aiohttp.ClientSession, url: str, feed: str, reader: str, key: Any) -> None:
        self.http, self.url, self.feed, self.reader, self.key = http, url, feed, reader, key
        self.epoch, self.number = "", -1
        self.rows: dict[int, tuple[int, str, Any]] = {}
        self.one: dict[str, Any] = {}  # world, keys, horizon
        self.services, self.state = dict[str, Any](), dict[tuple[Any, ...], Any]()

    def signed(self, path: str) -> dict[str, str]:
        now = int(time.time())
        head = {"alg": "ES256", "typ": "reader-assertion+jwt", "kid": self.reader}
        claims = {"iss": self.reader, "aud": "rescard", "iat": now, "exp": now + 30, "htm": "GET", "htu": path}
        claims["jti"] = armour(secrets.token_bytes(16))
        text = ".".join(armour(json.dumps(part).encode()) for part in (head, claims))
        r, s = utils.decode_dss_signature(self.key.sign(text.encode(), ES256))
        return {"Authorization": f"Reader {text}.{armour(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"}

    async def get(self, path: str, query: str = "") -> bytes:
        async with self.http.get(f"{self.url}{path}{query}", headers=self.signed(path)) as reply:
            if reply.status in (409, 410):
                raise LookupError("the copy cannot be continued: take a snapshot")
            reply.raise_for_status()
            return await reply.read()

    async def snapshot(self) -> None:
        anchors = json.loads(await self.get("/v1/reader/site"))["feed_keys"][self.feed.partition("/")[0]]["keys"]
        token = json.loads(await self.get(f"/v1/feeds/{self.feed}/snapshot"))["manifest"]
        head, body, signature = token.split(".")
        header = json.loads(bare(head))
        jwk, raw = next(jwk for jwk in anchors if jwk["kid"] == header["kid"]), bare(signature)
        x, y, r, s = (number(octets) for octets in (bare(jwk["x"]), bare(jwk["y"]), raw[:32], raw[32:]))
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        public.verify(utils.encode_dss_signature(r, s), f"{head}.{body}".encode(), ES256)
        manifest = json.loads(bare(body))
        said = (header["alg"], header["typ"], manifest["format"], f"{manifest['tenant']}/{manifest['area']}")
        if said != ("ES256", "rescard-manifest+jwt", "rescard.feed/1", self.feed):
            raise InvalidSignature
        meta, rows = json.loads(await self.part(manifest["meta"])), await self.part(manifest["rows"])
        self.epoch, self.number = manifest["epoch"], manifest["number"]
        self.rows, self.state = {}, {}
        for index, (row,) in enumerate(struct.iter_unpack("<Q", rows)):
            if row & 0xF:
                self.rows[index] = (row >> 32, STATES[row & 0xF], meta["profiles"][row >> 8 & 0xFFFFFF])
        self.services = {entry["document"]["id"]: entry for entry in meta["services"]}
        self.one = {name: meta[name] for name in ("world", "keys", "horizon")}
        for kind, table in TABLES.items():
            for entry in meta["state"][table]:
                self.keep(kind, entry)

    async def part(self, part: dict[str, Any]) -> bytes:
        octets = await self.get(f"/v1/feeds/{self.feed}/parts/{part['sha256']}")
        check(octets, part)
        if part.get("zstd") is not None:
            octets = zstd.ZstdDecompressor().decompress(octets, part["zstd"]["size"] + 1)
            check(octets, part["zstd"])
        return octets

    async def pull(self) -> None:
        while True:
            query = f"?epoch={self.epoch}&after={self.number}"
            page = json.loads(await self.get(f"/v1/feeds/{self.feed}/changes", query))
            for change in page["changes"]:
                self.apply(change)
            if self.number >= page["head"]["number"]:
                return

    async def follow(self, until: int) -> None:
        query = f"?feed={self.feed}:{self.epoch}:{self.number}"
        async with self.http.get(f"{self.url}/v1/stream{query}", headers=self.signed("/v1/stream")) as stream:
            stream.raise_for_status()
            waiting = b""
            async for octets in stream.content.iter_any():
                *events, waiting = (waiting + octets).split(b"\n\n")
                for event in events:
                    name, data = (line.partition(b": ")[2] for line in event.split(b"\n"))
                    told = json.loads(data)
                    last = told["heads"][self.feed]["number"] if name == b"beat" else told.get("change", {}).get("n", 0)
                    if name == b"change" and last == self.number + 1:
                        self.apply(told["change"])
                    elif name == b"pull" or last > self.number:
                        await self.pull()
                if self.number >= until:
                    return

    def apply(self, change: dict[str, Any]) -> None:
        kind = change["t"]
        if kind == "card":
            self.rows[change["index"]] = (change["tag"], change["state"], change["profile"])
        elif kind == "service":
            self.services[change["document"]["id"]] = {name: change[name] for name in ("version", "document")}
        elif kind == "withdrawn":
            self.services.pop(change["service"], None)
        elif kind in ("world", "keys", "horizon"):
            self.one[kind] = change[kind]
        else:
            self.keep(kind, change["entry" if kind == "units" else kind])
        self.number = change["n"]

    def keep(self, kind: str, entry: dict[str, Any]) -> None:
        names = {"holder": ("index",), "units": ("entry", "account", "key"), "upstream": ("name", "key")}
        key = (kind, *(entry[name] for name in names.get(kind, (kind,))))
        self.state.pop(key, None)
        if not entry.get("gone"):
            self.state[key] = entry
