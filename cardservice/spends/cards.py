"""Whose card it is that pays or is presented: by its signed code, or by its id."""

from __future__ import annotations

from typing import Any, Final

from cardservice.api.call import Call
from cardservice.db import queries
from entitlements.credential.claims import CARD_ID_BYTES, Refused
from entitlements.credential.encoding import b64url_decode
from entitlements.credential.errors import InvalidEncodingError
from entitlements.credential.keys import KeySet
from entitlements.credential.presentation import verify_static
from entitlements.model import CardState, Reason, TenantId

ID_CHARACTERS: Final = 11


async def find_card(call: Call, text: str) -> Any:
    """The row of a card of this council, or the reason why there is none.

    Args:
        text: the card's code, whose signature is checked, or its id.
    """
    if len(text) == ID_CHARACTERS:
        try:
            card_id = b64url_decode(text.encode("ascii"))
        except (InvalidEncodingError, UnicodeEncodeError):
            card_id = b""
        if len(card_id) != CARD_ID_BYTES:
            return Reason.UNKNOWN_CARD
    else:
        jwks = await call.platform.keys.jwks(call.conn, call.tenant, "card")
        keys = KeySet.from_jwks(TenantId(call.tenant), jwks)
        card = verify_static(text.encode(), keys, int(call.now.timestamp()))
        if isinstance(card, Refused):
            return card.reason
        card_id = bytes(card.claims.card_id)
    row = await queries().cards.get(call.conn, tenant=call.tenant, card_id=card_id)
    return Reason.UNKNOWN_CARD if row is None else row


def state_now(call: Call, row: Any) -> CardState:
    """The state; a card whose last second is over is expired before the hourly job has said so."""
    state = CardState(row["state"])
    return CardState.EXPIRED if state is CardState.ACTIVE and row["expires_at"] <= call.now else state
