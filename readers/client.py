"""Requests to the service: signed, timed, and with every foreign error translated in this one place."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
import structlog

from entitlements.credential.assertion import sign_assertion
from entitlements.credential.es256 import public_key_to_jwk
from entitlements.wire.feed import Head, Part, Site, encode
from entitlements.wire.secrets import SecretsPage, decode_secrets
from entitlements.wire.taps import ReaderStatus, ReaderStatusReply, TapBatch, TapBatchReply
from readers.clock import TrustedClock
from readers.errors import (
    AssertionTimeError,
    ReaderRevokedError,
    ServiceError,
    ServiceRefusedError,
    ServiceReplyError,
    ServiceUnreachableError,
    SnapshotNeededError,
)
from readers.identity import Enrolment, Identity

AUDIENCE: Final = "rescard"
TIME_HEADER: Final = "Rescard-Time"
MAX_REPLY: Final = 64 << 20
"""Octets of a JSON reply: a page of 1,000 changes has at most a few MB."""
CHUNK: Final = 1 << 16
PART_SECONDS: Final = 600.0
"""How long one part may take: 80 MB over a poor site link of 1.5 Mbit/s."""

PART_ATTEMPTS: Final = 4
"""Connections that one part may take before the reader rests and asks for the manifest anew."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class SnapshotReply(msgspec.Struct, frozen=True):
    """Reply of the snapshot call."""

    manifest: str


class RawChangesPage(msgspec.Struct, frozen=True, kw_only=True):
    """:class:`entitlements.wire.feed.ChangesPage` with the changes unread: one that this version does not know must
    not hide those before it.
    """

    head: Head
    changes: list[msgspec.Raw]
    server_time: int


class SiteReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of ``GET /v1/reader/site``."""

    tenant: str
    site: Site
    feeds: tuple[str, ...]
    feed_keys: dict[str, dict[str, Any]]


class _Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    reader_id: str
    tenant: str
    site: Site
    feeds: tuple[str, ...]
    feed_keys: dict[str, dict[str, Any]]
    server_time: int


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    code: str = "unknown"
    title: str = ""
    detail: str = ""
    server_time: int | None = None
    epoch: str | None = None
    number: int | None = None


class ServiceClient:
    """The service as this reader sees it. Enter it to open its connections.

    Every call raises :class:`ServiceError` or one of its kinds, and nothing else.
    """

    def __init__(
        self,
        base_url: str,
        identity: Identity,
        clock: TrustedClock,
        *,
        timeout_seconds: float = 10.0,
        tls_ca: str | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._identity = identity
        self._clock = clock
        self._timeout = timeout_seconds
        self._tls_ca = tls_ca
        self._session: aiohttp.ClientSession | None = None
        self._signing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sign")
        self.reachable = False
        """Whether the last request was answered."""
        self.streaming = False
        """Whether the stream of changes is open: only then are changes known at once."""

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=self._tls_ca) if self._tls_ca else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=8),
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(self._timeout, 5.0)),
            headers={"User-Agent": "rescard-reader"},
            raise_for_status=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        self._signing.shutdown(wait=False)

    async def enrol(self, code: str) -> Enrolment:
        """Trade a one-time code for an identity; the request is signed with the key it presents."""
        body = msgspec.json.encode({"code": code, "public_key": self._identity.public_jwk})
        reply = await self._call("POST", "/v1/readers/enrol", _Enrolled, body=body, issuer=self._identity.thumbprint)
        return Enrolment(
            reader_id=reply.reader_id,
            tenant=reply.tenant,
            site=reply.site.site,
            feeds=reply.feeds,
            feed_keys=reply.feed_keys,
            lanes=reply.site,
        )

    async def site(self) -> SiteReply:
        """The reader's present assignment."""
        return await self._call("GET", "/v1/reader/site", SiteReply)

    async def roll_key(self) -> None:
        """Announce a new key, signed with the old one, which ends with the reply.

        The new key is on disk before it is announced. If the reply gets lost the next call finds out which of the two
        the service knows.
        """
        key, left = self._identity.next_key()
        body = msgspec.json.encode({"public_key": public_key_to_jwk(key.public_key())})
        try:
            async with self._open("POST", "/v1/reader/key", body=body):
                pass
        except ServiceRefusedError as error:
            if not (left and error.code == "assertion_bad_signature"):
                raise
            # The service does not know the old key any more: the earlier call was heard.
        self._identity.roll()

    async def snapshot(self, feed: str, *, since: int | None = None) -> str:
        """The signed manifest of a feed's newest snapshot; made after ``since`` (ms), if the service can."""
        query = None if since is None else {"since": str(since)}
        return (await self._call("GET", f"/v1/feeds/{quote(feed)}/snapshot", SnapshotReply, query=query)).manifest

    async def part(self, feed: str, part: Part, target: Path) -> None:
        """Fetch one part into a file; its size and SHA-256 are those of the manifest, or it is refused.

        A connection that breaks on the way is taken up where it broke: a site on a poor link gets its 50 MB in the end.
        """
        for attempt in range(1, PART_ATTEMPTS + 1):
            try:
                await self._part(feed, part, target, begin=attempt == 1)
                return
            except ServiceUnreachableError as error:
                if attempt == PART_ATTEMPTS:
                    raise
                _log.info("a part of a snapshot broke off and is taken up again", feed=feed, because=str(error))

    async def _part(self, feed: str, part: Part, target: Path, *, begin: bool) -> None:
        path = f"/v1/feeds/{quote(feed)}/parts/{part.sha256}"
        digest, size = hashlib.sha256(), 0
        if not begin and target.exists():
            with target.open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
        if size and size >= part.size:  # whole but for the end of the reply; or of an older part: then all of it anew
            if (size, digest.hexdigest()) == (part.size, part.sha256):
                return
            digest, size = hashlib.sha256(), 0
        async with self._open("GET", path, seconds=PART_SECONDS, first=size) as response:
            if response.status != 206:  # from the beginning after all, as RFC 9110 section 14.2 leaves to the server
                digest, size = hashlib.sha256(), 0
            with target.open("ab" if size else "wb") as file:
                async for chunk in response.content.iter_chunked(CHUNK):
                    size += len(chunk)
                    if size > part.size:
                        break
                    digest.update(chunk)
                    file.write(chunk)
        if size != part.size:
            raise ServiceReplyError(f"GET {path}", f"{size} octets came of a part of {part.size}")
        if digest.hexdigest() != part.sha256:
            raise ServiceReplyError(f"GET {path}", "the part is not the one that the manifest names (SHA-256)")

    async def changes(self, feed: str, *, epoch: str, after: int, at: int, limit: int = 1000) -> RawChangesPage:
        """Changes after a number. ``at`` is that of the change of this number, 0 where it is not known.

        Raises:
            SnapshotNeededError: they cannot be had any more, or what is here is of another past.
        """
        query = {"epoch": epoch, "after": str(after), "limit": str(limit)} | ({"at": str(at)} if at else {})
        return await self._call("GET", f"/v1/feeds/{quote(feed)}/changes", RawChangesPage, query=query)

    async def send_taps(self, batch: TapBatch) -> TapBatchReply:
        """Upload taps and passages."""
        return await self._call("POST", "/v1/taps", TapBatchReply, body=encode(batch))

    async def send_status(self, status: ReaderStatus) -> ReaderStatusReply:
        """Report the reader's status."""
        return await self._call("POST", "/v1/reader/status", ReaderStatusReply, body=encode(status))

    async def secrets(self, tag: str | None) -> SecretsPage | None:
        """What this reader's site keeps secret; None if it is still the page of this tag."""
        path = "/v1/reader/secrets"
        async with self._open("GET", path, tag=tag) as response:
            if response.status == 304:
                return None
            data = await self._body(f"GET {path}", response)
        try:
            return decode_secrets(data)
        except msgspec.DecodeError:
            # Not even the place of the fault: this is the one reply of which nothing may come into a log.
            raise ServiceReplyError(f"GET {path}", "the page cannot be read") from None

    @asynccontextmanager
    async def stream(self, feeds: list[tuple[str, str, int, int]]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the stream of feeds (name, epoch, number, its ``at`` or 0); yields octets as long as it lives."""
        query = [("feed", f"{feed}:{epoch}:{number}" + f":{at}" * bool(at)) for feed, epoch, number, at in feeds]
        async with self._open("GET", "/v1/stream", query=query, seconds=None, accept="text/event-stream") as response:
            self.streaming = True
            try:
                yield response.content.iter_any()
            finally:
                self.streaming = False

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        issuer: str | None = None,
    ) -> T:
        async with self._open(method, path, query=query, body=body, issuer=issuer) as response:
            data = await self._body(f"{method} {path}", response)
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError as error:
            raise ServiceReplyError(f"{method} {path}", f"the reply cannot be read: {error}") from error

    @staticmethod
    async def _body(request: str, response: aiohttp.ClientResponse) -> bytes:
        data = await response.content.read(MAX_REPLY + 1)
        while not response.content.at_eof() and len(data) <= MAX_REPLY:
            data += await response.content.read(MAX_REPLY + 1 - len(data))
        if len(data) > MAX_REPLY:
            raise ServiceReplyError(request, f"the reply has more than {MAX_REPLY} octets")
        return data

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        *,
        query: Any = None,
        body: bytes | None = None,
        issuer: str | None = None,
        seconds: float | None = -1.0,
        accept: str = "application/json",
        tag: str | None = None,
        first: int = 0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request and yield its good response; once more after the clock was corrected.

        ``first`` asks for the octets from there on (RFC 9110 section 14.2).

        With the ``tag`` of what we hold (an ETag) "not modified" is a good response too (RFC 9110 section 13.1.2).
        """
        request = f"{method} {path}"
        if self._session is None:
            raise ServiceUnreachableError(request, "the client is closed")
        total = self._timeout if seconds == -1.0 else seconds
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=min(self._timeout, 5.0))
        try:
            for attempt in (1, 2):
                headers = {"Accept": accept, "Authorization": f"Reader {await self._assertion(method, path, issuer)}"}
                if body is not None:
                    headers["Content-Type"] = "application/json"
                if tag is not None:
                    headers["If-None-Match"] = f'"{tag}"'
                if first:
                    headers["Range"] = f"bytes={first}-"
                began = time.monotonic()
                async with self._session.request(
                    method,
                    self._base + path,
                    params=query,
                    data=body,
                    headers=headers,
                    timeout=timeout,
                    allow_redirects=False,
                ) as response:
                    round_trip_ms = (time.monotonic() - began) * 1000
                    self.reachable = True
                    self._measure(response.headers.get(TIME_HEADER), round_trip_ms)
                    if 200 <= response.status < 300 or (response.status == 304 and tag is not None):
                        yield response
                        return
                    problem = await self._problem(request, response)
                    if not isinstance(problem, AssertionTimeError) or attempt == 2:
                        raise problem
                    if problem.server_time is not None and TIME_HEADER not in response.headers:
                        # Else it was measured: one reply must not count as two that agree.
                        self._clock.observe(problem.server_time, round_trip_ms)
                    _log.warning("the service says that our clock is wrong; corrected", offset_ms=self._clock.offset_ms)
        except ServiceError:
            raise
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            self.reachable = False
            raise ServiceUnreachableError(request, str(error) or type(error).__name__) from error

    async def _assertion(self, method: str, path: str, issuer: str | None) -> str:
        enrolment = self._identity.enrolment
        reader = issuer or ("" if enrolment is None else enrolment.reader_id)
        # In a thread, which leaves the interpreter to the gates for most of the time that a signature takes; in one of
        # its own, as the others may be busy with a new base for seconds.
        work = partial(
            sign_assertion,
            reader_id=reader,
            key=self._identity.key,
            method=method,
            path=self._path_prefix + path,
            audience=AUDIENCE,
            now=self._clock.now_ms() // 1000,
        )
        return await asyncio.get_running_loop().run_in_executor(self._signing, work)

    @property
    def _path_prefix(self) -> str:
        # The service signs for the path it is asked for; behind a proxy with a prefix that is the whole path.
        return urlsplit(self._base).path.rstrip("/")

    def _measure(self, header: str | None, round_trip_ms: float) -> None:
        if header is not None and header.isascii() and header.isdigit() and len(header) < 16:
            self._clock.observe(int(header), round_trip_ms)

    @staticmethod
    async def _problem(request: str, response: aiohttp.ClientResponse) -> ServiceError:
        text = await response.content.read(CHUNK)
        try:
            problem = msgspec.json.decode(text, type=_Problem)
        except msgspec.DecodeError:
            problem = _Problem(detail=f"no problem document, {len(text)} octets of {response.content_type}")
        detail = problem.detail or problem.title
        if problem.code == "assertion_time":
            return AssertionTimeError(request, detail=detail, server_time=problem.server_time)
        if problem.code in {"feed_epoch", "feed_pruned"}:
            return SnapshotNeededError(
                request,
                status=response.status,
                code=problem.code,
                detail=detail,
                epoch=problem.epoch,
                number=problem.number,
            )
        kind = ReaderRevokedError if problem.code == "reader_revoked" else ServiceRefusedError
        return kind(request, status=response.status, code=problem.code, detail=detail)
