"""Life of a signing key, and the one place where it moves on.

========== ============ ======== ========= =======
event      published    active   retired   ended
========== ============ ======== ========= =======
activate   active       -        -         -
retire     retired      refused  -         -
end        -            -        ended     -
revoke     revoked      revoked  revoked   revoked
========== ============ ======== ========= =======

A key is published first and signs later: when it has been in the key set for longer than others may keep an older
one, and when every reader has it (:mod:`cardservice.keys.spread`); earlier only by force, with a reason. Activating a
key retires the active one of its purpose in the same transaction, so there is always a key that signs and never two.
That is why an active key is not retired by itself: activate the next one instead. Revoking the active key is for
emergencies: nothing of that purpose is signed until another is activated. A retired key stays in the key set until the
last card that it may have signed is over, and ends then by itself (:mod:`cardservice.keys.rotation`).

Every change takes the tenant's row lock before the key's, as every writer does: cards that are being issued refer to
the key, and would otherwise wait for it while holding what it waits for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from cardservice.api.call import Work
from cardservice.api.server import audit
from cardservice.db import Connection, queries
from cardservice.errors import ApiProblem, conflict, not_found
from cardservice.feed.writer import lock_tenant, publish_keys
from cardservice.keys.spread import AwaitedReader, awaited, names, readers_without
from cardservice.keys.store import KeyStore, Purpose, StoredKey
from cardservice.settings import Settings

MARGIN: Final = timedelta(seconds=60)
"""A key set fetched in the last moment before a publication is kept for its whole age, and clocks differ a little."""


class KeyEvent(StrEnum):
    """What can happen to a key."""

    ACTIVATE = "activate"
    RETIRE = "retire"
    END = "end"
    REVOKE = "revoke"


TRANSITIONS: Final[Mapping[KeyEvent, Mapping[str, str]]] = {
    KeyEvent.ACTIVATE: {"published": "active"},
    KeyEvent.RETIRE: {"published": "retired"},
    KeyEvent.END: {"retired": "ended"},
    KeyEvent.REVOKE: dict.fromkeys(("published", "active", "retired", "ended"), "revoked"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a published key still waits for before it may sign."""

    earliest: datetime
    readers: Sequence[AwaitedReader]

    def over(self, now: datetime) -> bool:
        """Whether it may sign."""
        return now >= self.earliest and not awaited(self.readers)


def least_age(settings: Settings) -> timedelta:
    """How long a key is published before it signs: longer than anybody may keep a key set without it."""
    longest = timedelta(seconds=settings.jwks_seconds)
    return longest + min(MARGIN, longest)


async def wait_of(conn: Connection, settings: Settings, key: Mapping[str, Any], now: datetime) -> Wait:
    """What a published key waits for. Readers take keys other than those for cards by themselves, each minute."""
    readers: Sequence[AwaitedReader] = ()
    if key["purpose"] == "card":
        readers = await readers_without(
            conn,
            tenant=key["tenant"],
            kid=key["kid"],
            absent_after=timedelta(days=settings.absent_reader_days),
            now=now,
        )
    return Wait(earliest=key["created_at"] + least_age(settings), readers=readers)


async def publish_key(work: Work, store: KeyStore, purpose: Purpose) -> StoredKey:
    """A new key, published but not signing yet, so that gates learn it first."""
    await lock_tenant(work.conn, work.tenant)
    key = await store.create(work.conn, work.tenant, purpose, "published")
    await audit(work, "key.added", f"key:{key.kid}", purpose=purpose)
    await _tell(work, purpose)
    if purpose == "card":
        await queries().keys.publish_numbers(work.conn, tenant=work.tenant, kid=key.kid)
    return key


async def find_key(conn: Connection, tenant: str, kid: str) -> dict[str, Any]:
    """A key's row.

    Raises:
        ApiProblem: 404.
    """
    row = await queries().keys.get(conn, tenant=tenant, kid=kid)
    if row is None:
        raise not_found("key", kid[:80])
    return dict(row)


async def activate_key(work: Work, settings: Settings, kid: str, *, force: str | None = None) -> dict[str, Any]:
    """Let a published key sign in place of the active one; gives its row.

    Args:
        force: why it cannot wait for readers and caches; ``None`` waits.

    Raises:
        ApiProblem: 404; 409 ``key_state``, ``key_too_young`` or ``key_not_everywhere``, which names the readers.
    """
    row = await _locked(work, kid, KeyEvent.ACTIVATE)
    wait = await wait_of(work.conn, settings, row, work.now)
    if force is None:
        _refuse_early(wait, work.now)
    await queries().keys.retire_active(work.conn, tenant=work.tenant, purpose=row["purpose"], now=work.now)
    told: dict[str, Any] = {}
    if force is not None:
        told = {"forced": force, "without": [reader.name for reader in awaited(wait.readers)]}
        # A rotation that was on its way would soon put its key in place of the one that is forced.
        off = queries().keys.call_off(work.conn, tenant=work.tenant, purpose=row["purpose"], kid=kid)
        told["called_off"] = [each["kid"] async for each in off]
    return await _move(work, row, KeyEvent.ACTIVATE, **told)


async def change_key(work: Work, kid: str, event: KeyEvent, **told: Any) -> dict[str, Any]:
    """Let an event other than activation happen to a key; gives its row.

    Raises:
        ApiProblem: 404, or 409 ``key_state`` where the event may not meet its state.
    """
    return await _move(work, await _locked(work, kid, event), event, **told)


async def _locked(work: Work, kid: str, event: KeyEvent) -> dict[str, Any]:
    await lock_tenant(work.conn, work.tenant)
    row = await queries().keys.get_for_change(work.conn, tenant=work.tenant, kid=kid)
    if row is None:
        raise not_found("key", kid[:80])
    if row["state"] not in TRANSITIONS[event]:
        advice = "; activate its successor instead" if (event, row["state"]) == (KeyEvent.RETIRE, "active") else ""
        raise conflict("key_state", f"The key is {row['state']}, so it cannot {event}{advice}.")
    return dict(row)


async def _move(work: Work, row: dict[str, Any], event: KeyEvent, **told: Any) -> dict[str, Any]:
    after = TRANSITIONS[event][row["state"]]
    moved = await queries().keys.set_state(work.conn, tenant=work.tenant, kid=row["kid"], state=after, now=work.now)
    if event is KeyEvent.REVOKE and row["purpose"] == "feed":
        # Stored snapshots are signed by it: no reader would take them.
        await queries().feed.forget_snapshots(work.conn, tenant=work.tenant)
    await audit(work, f"key.{event}", f"key:{row['kid']}", before=row["state"], after=after, **told)
    await _tell(work, row["purpose"])
    return dict(moved)


def _refuse_early(wait: Wait, now: datetime) -> None:
    held_up = awaited(wait.readers)
    if held_up:
        raise ApiProblem(
            409,
            "key_not_everywhere",
            f"Readers that would refuse what it signs: {names(held_up)}. Wait for them, end those that are gone, or "
            "activate it with force and a reason.",
            extra={"readers": [reader.model_dump(mode="json") for reader in held_up]},
        )
    if now < wait.earliest:
        raise ApiProblem(
            409,
            "key_too_young",
            f"Others may hold a key set without it until {wait.earliest.isoformat(timespec='seconds')}. Wait, or "
            "activate it with force and a reason.",
            extra={"earliest": wait.earliest.isoformat()},
        )


async def _tell(work: Work, purpose: str) -> None:
    """Gates verify cards with keys of purpose ``card``; they get the others' when they ask for their assignment.

    Whoever calls wakes the hub once this has committed.
    """
    if purpose == "card":
        await publish_keys(work.conn, work.tenant, now=work.now)
