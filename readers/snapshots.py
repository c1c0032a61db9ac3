"""Fetching a snapshot: manifest signed by a pinned key, parts whole and as named, or nothing at all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec
import structlog

from entitlements.credential.errors import TokenError
from entitlements.credential.jws import verify_compact
from entitlements.wire.feed import FORMAT, MANIFEST_TYP, Manifest, Part
from entitlements.wire.rows import ROW_BYTES
from readers.client import ServiceClient
from readers.errors import SnapshotRefusedError, UnknownFormatError
from readers.identity import Identity
from readers.parts import unpack

MAX_ROWS: Final = 1 << 30
"""Octets: 134 million cards, far beyond any council."""
MAX_META: Final = 256 << 20
"""Octets: a million profiles."""

_log = structlog.get_logger(__name__)


class FetchedSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot whose signature, sizes and digests were found good; ``rows`` is the file of the rows part."""

    manifest: Manifest
    meta: bytes
    rows: Path


class _Formatted(msgspec.Struct):
    format: str


class Snapshots:
    """Fetches snapshots of feeds into a folder of their own."""

    def __init__(self, client: ServiceClient, identity: Identity) -> None:
        self._client = client
        self._identity = identity

    async def fetch(self, feed: str, folder: Path, *, since: int | None = None) -> FetchedSnapshot:
        """Fetch the newest snapshot of a feed. The caller removes nothing: the part files are overwritten.

        Args:
            since: ask for one made after this (ms).

        Raises:
            ServiceError: it could not be fetched whole.
            SnapshotRefusedError: it is not signed by a pinned key, or not a snapshot of this feed.
            UnknownFormatError: it is of a version that this reader does not know.
            OSError: it could not be written.
        """
        manifest = self._read(feed, await self._client.snapshot(feed, since=since))
        rows, meta = folder / "rows.part", folder / "meta.part"
        for part, path in ((manifest.meta, meta), (manifest.rows, rows)):
            await self._client.part(feed, part, path)
            await asyncio.to_thread(unpack, feed, part, path)
        octets = await asyncio.to_thread(meta.read_bytes)
        await asyncio.to_thread(meta.unlink)
        return FetchedSnapshot(manifest=manifest, meta=octets, rows=rows)

    def _read(self, feed: str, token: str) -> Manifest:
        tenant, _, area = feed.partition("/")
        try:
            payload = verify_compact(token, self._identity.feed_keys(tenant), MANIFEST_TYP)
            version = msgspec.json.decode(payload, type=_Formatted).format
            if version != FORMAT:
                raise UnknownFormatError(feed, f"format {version!r} is not known to this reader, only {FORMAT!r}")
            manifest = msgspec.json.decode(payload, type=Manifest)
        except TokenError as error:
            raise SnapshotRefusedError(feed, f"the manifest is refused: {error.detail}") from error
        except msgspec.DecodeError as error:
            raise SnapshotRefusedError(feed, f"the manifest cannot be read: {error}") from error
        if (manifest.tenant, manifest.area) != (tenant, area):
            raise SnapshotRefusedError(feed, f"the manifest is of {manifest.tenant}/{manifest.area}")
        _check_part(feed, "rows", manifest.rows, MAX_ROWS)
        _check_part(feed, "meta", manifest.meta, MAX_META)
        if manifest.rows.content.size % ROW_BYTES:
            raise SnapshotRefusedError(feed, f"{manifest.rows.content.size} octets are no whole number of rows")
        return manifest


def _check_part(feed: str, name: str, part: Part, most: int) -> None:
    for content in (part, part.content):
        if not 0 <= content.size <= most:
            raise SnapshotRefusedError(feed, f"the part {name} has {content.size} octets, at most {most} are taken")
        if len(content.sha256) != 64 or not all(letter in "0123456789abcdef" for letter in content.sha256):
            raise SnapshotRefusedError(feed, f"the part {name} is not named by a SHA-256")
