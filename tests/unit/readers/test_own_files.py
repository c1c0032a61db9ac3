"""Whoever can write a reader's files and not read its key lets nobody in: an altered row or change is not believed."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from entitlements.model import CardState
from entitlements.wire.feed import encode
from readers.basefile import BaseFile, digest_block, write_base
from readers.errors import CacheFileError, IdentityError
from readers.identity import CACHE_KEY_FILE, Identity
from tests.unit.readers.kit.council import Council
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.rig import rig
from tests.unit.readers.kit.site import ready, running, site_settings, until


def rewritten(path: Path, feed: str, key: bytes) -> None:
    """The same base with every revoked card active, its digests as they must be."""
    old = BaseFile(path, feed=feed, key=key)
    octets = bytearray(b"".join(old.row(index).to_bytes(8, "little") for index in range(old.header.rows)))
    for start in range(0, len(octets), 8):
        octets[start] = (octets[start] & 0xF0) | 1
    head, block = old.header, bytes(octets)
    write_base(
        path, feed=feed, epoch=head.epoch, number=head.number, issue_number=head.issue_number,
        created_at=head.created_at, last_at=head.last_at, meta=[old.meta],
        profiles=old.profiles(0, head.profiles_size), rows=head.rows, digests=digest_block(block), blocks=[block],
    )  # fmt: skip


async def test_a_revoked_card_stays_out_when_somebody_writes_it_active_into_the_cache(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    council.put(card, CardState.REVOKED)
    async with rig(tmp_path, council=council) as site:
        service = site.service
    path = next(tmp_path.glob("feeds/*/base.rdb"))
    key = Identity(tmp_path).cache_key
    rewritten(path, council.feed, key)
    with pytest.raises(CacheFileError, match="was not written by this reader"):
        BaseFile(path, feed=council.feed, key=key)
    await service.start()
    try:
        devices = Devices()
        async with running(site_settings(service.url, tmp_path), devices, code=None) as daemon:
            await ready(daemon)
            devices.sources["qr:in-1"].present(card.token)
            await until(lambda: next(lane for lane in daemon.lanes if lane.name == "in-1").counts["deny"] == 1)
        assert len(list(path.parent.glob("base.rdb.damaged-*"))) == 1
    finally:
        await service.stop()


async def test_a_change_that_somebody_alters_in_the_journal_is_fetched_again(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    async with rig(tmp_path, council=council) as site:
        change = council.put(card, CardState.REVOKED)
        site.service.push(change)
        await until(lambda: site.daemon.feeds[council.feed].cache.number == change.n)  # type: ignore[union-attr]
        service = site.service
    connection = sqlite3.connect(tmp_path / "state.db")
    (body,) = connection.execute("SELECT body FROM run WHERE last = ?", (change.n,)).fetchone()
    assert encode(change) in body
    altered = body.replace(b'"revoked"', b'"active"')
    assert altered != body
    connection.execute("UPDATE run SET body = ? WHERE last = ?", (altered, change.n))
    connection.commit()
    connection.close()
    await service.start()
    try:
        async with running(site_settings(service.url, tmp_path), Devices(), code=None) as daemon:
            await ready(daemon)
            await until(lambda: daemon.feeds[council.feed].cache.number == change.n)  # type: ignore[union-attr]
            found = daemon.feeds[council.feed].lookup(card.claims.index, card.tag)
            assert found is not None
            assert found[0] is CardState.REVOKED
    finally:
        await service.stop()


def test_the_key_is_one_readers_own_and_kept_from_others(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first = Identity(tmp_path / "a").cache_key
    assert Identity(tmp_path / "a").cache_key == first
    path = tmp_path / "a" / CACHE_KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(first[:-1])
    assert Identity(tmp_path / "a").cache_key not in (first, first[:-1])
    path.chmod(0o644)
    with pytest.raises(IdentityError, match="others may read it"):
        _ = Identity(tmp_path / "a").cache_key
