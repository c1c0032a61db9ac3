"""Life of a signing key, and the one place where it moves on.

========== ============ ======== =========
event      published    active   retired
========== ============ ======== =========
activate   active       -        -
retire     retired      refused  -
revoke     revoked      revoked  revoked
========== ============ ======== =========

Activating a key retires the active one of its purpose in the same transaction, so there is always a key that signs and
never two. That is why an active key is not retired by itself: activate the next one instead. Revoking the active key is
for emergencies: nothing of that purpose is signed until another is activated. A retired key stays in the key set until
it is revoked, because cards that it signed are still good.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.db import queries
from cardservice.errors import conflict, not_found
from cardservice.feed.writer import publish_keys
from cardservice.keys.store import Purpose, StoredKey


class KeyEvent(StrEnum):
    """What can happen to a key."""

    ACTIVATE = "activate"
    RETIRE = "retire"
    REVOKE = "revoke"


TRANSITIONS: Final[Mapping[KeyEvent, Mapping[str, str]]] = {
    KeyEvent.ACTIVATE: {"published": "active"},
    KeyEvent.RETIRE: {"published": "retired"},
    KeyEvent.REVOKE: {"published": "revoked", "active": "revoked", "retired": "revoked"},
}


async def add_key(call: Call, purpose: Purpose) -> StoredKey:
    """A new key, published but not signing yet, so that gates learn it first."""
    key = await call.platform.keys.create(call.conn, call.tenant, purpose, "published")
    await audit(call, "key.added", f"key:{key.kid}", purpose=purpose)
    await _publish(call, purpose)
    return key


async def change_key(call: Call, kid: str, event: KeyEvent) -> dict[str, Any]:
    """Move a key on; gives its row.

    Raises:
        ApiProblem: 404, or 409 ``key_state`` where the event may not meet its state.
    """
    row = await queries().keys.get_for_change(call.conn, tenant=call.tenant, kid=kid)
    if row is None:
        raise not_found("key", kid[:80])
    after = TRANSITIONS[event].get(row["state"])
    if after is None:
        advice = "; activate its successor instead" if (event, row["state"]) == (KeyEvent.RETIRE, "active") else ""
        raise conflict("key_state", f"The key is {row['state']}, so it cannot {event}{advice}.")
    if event is KeyEvent.ACTIVATE:
        await queries().keys.retire_active(call.conn, tenant=call.tenant, purpose=row["purpose"])
    await queries().keys.set_state(call.conn, tenant=call.tenant, kid=kid, state=after)
    await audit(call, f"key.{event}", f"key:{kid}", before=row["state"], after=after)
    await _publish(call, row["purpose"])
    return {**row, "state": after}


async def _publish(call: Call, purpose: str) -> None:
    """Gates verify cards with keys of purpose ``card``; they get the others' when they ask for their assignment."""
    if purpose == "card":
        await publish_keys(call.conn, call.tenant, now=call.now)
        call.after_commit.append(call.platform.hub.wake)
