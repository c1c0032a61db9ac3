"""Life of a card: which event may meet which state, and what comes of it. Pure.

============= =========== =========== ===========
event          active      suspended   lost
============= =========== =========== ===========
suspend        suspended   -           -
resume         -           active      -
lose           lost        lost        -
renew          replaced    -           -
replace        replaced    -           replaced
steal          lost        -           replaced
expire         expired     expired     expired
revoke         revoked     revoked     revoked
============= =========== =========== ===========

``replaced``, ``expired`` and ``revoked`` are final: no event leaves them, and such a card is never signed again.

Choices worth writing down. A hold is ``suspended``: whoever reports somebody else's card lost gets that first, because
it can be undone. ``lost`` cannot: a card that was found again may have been copied. A suspended card is neither renewed
nor replaced, or a suspension could be walked round. ``renew``, ``replace`` and ``steal`` bring a new card; the old one
ends in the same transaction, so the overlap is nil. A stolen card ends as ``lost``, so that a gate tells the thief.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from entitlements.model import CardState


class CardEvent(StrEnum):
    """What can happen to a card after its issue."""

    SUSPEND = "suspend"
    RESUME = "resume"
    LOSE = "lose"
    RENEW = "renew"
    REPLACE = "replace"
    STEAL = "steal"
    EXPIRE = "expire"
    REVOKE = "revoke"

    @property
    def refused(self) -> str:
        """What the card then cannot do, in words."""
        words = {"lose": "be marked as lost", "steal": "be replaced", "expire": "expire", "suspend": "be suspended"}
        return words.get(self.value, f"be {self.value.removesuffix('e')}ed")


_A, _S, _L = CardState.ACTIVE, CardState.SUSPENDED, CardState.LOST
_R, _E, _V = CardState.REPLACED, CardState.EXPIRED, CardState.REVOKED

TRANSITIONS: Final[Mapping[CardEvent, Mapping[CardState, CardState]]] = {
    CardEvent.SUSPEND: {_A: _S},
    CardEvent.RESUME: {_S: _A},
    CardEvent.LOSE: {_A: _L, _S: _L},
    CardEvent.RENEW: {_A: _R},
    CardEvent.REPLACE: {_A: _R, _L: _R},
    CardEvent.STEAL: {_A: _L, _L: _R},
    CardEvent.EXPIRE: {_A: _E, _S: _E, _L: _E},
    CardEvent.REVOKE: {_A: _V, _S: _V, _L: _V},
}
"""Event -> state before -> state after. What is not here is refused."""

FINAL: Final = frozenset({_R, _E, _V})
SUCCEEDED_BY_A_NEW_CARD: Final = frozenset({CardEvent.RENEW, CardEvent.REPLACE, CardEvent.STEAL})


def next_state(state: CardState, event: CardEvent) -> CardState | None:
    """The state after an event; ``None`` where the event may not meet this state."""
    return TRANSITIONS[event].get(state)


def may_be_signed(state: CardState) -> bool:
    """Whether a code of the card may be made: only while it is active."""
    return state is CardState.ACTIVE


def allowed_events(state: CardState) -> tuple[CardEvent, ...]:
    """Events that may meet a state, for people who were refused another."""
    return tuple(event for event, table in TRANSITIONS.items() if state in table)
