"""Whose card it is that pays or is presented, and what was proven: by its signed code, by a live code, or by its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cardservice.api.call import Call
from cardservice.db import queries
from entitlements.credential.claims import CARD_ID_BYTES, Channel, Refused
from entitlements.credential.encoding import b64url_decode
from entitlements.credential.errors import InvalidEncodingError
from entitlements.credential.keys import KeySet
from entitlements.credential.presentation import verify_at_till
from entitlements.model import CardState, Reason, TenantId
from entitlements.service import Presentation, ServiceDocument

ID_CHARACTERS: Final = 11
NOTHING_PROVEN: Final = "none"
"""No document can name it (:data:`~entitlements.service.PRESENTATION_KINDS`): a card's id says which card is meant, and
nobody has shown it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCard:
    """A card of this council at a till.

    ``proven`` is what was shown now, whatever the card was issued for; ``None`` where somebody gave the card's id.
    ``made_at`` is the second in which its one-time code was made, if it was one.
    """

    row: Any
    proven: Channel | None
    made_at: int | None

    @property
    def card_id(self) -> bytes:
        """The card's id."""
        return bytes(self.row["card_id"])

    def state(self, call: Call) -> CardState:
        """The state; a card whose last second is over is expired before the hourly job has said so."""
        state = CardState(self.row["state"])
        over = state is CardState.ACTIVE and self.row["expires_at"] <= call.now
        return CardState.EXPIRED if over else state

    def presentation(self, document: ServiceDocument) -> str:
        """The word for it that a document's rule is held against.

        An id passes where a document says nothing of how cards are shown: there the member of staff vouches for it,
        and a printed code, which anybody may have photographed, would prove little more.
        """
        if self.proven is not None:
            return self.proven.value
        asked = any(isinstance(rule, Presentation) for rule in document.requires)
        return NOTHING_PROVEN if asked else Channel.STATIC.value


async def find_card(call: Call, text: str) -> ShownCard | Reason:
    """A card of this council, or the reason why there is none. No one-time code is used up by it.

    Args:
        text: the card's code, whose signature is checked, the live code of a phone, or the card's id.
    """
    proven = made_at = None
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
        card = verify_at_till(text.encode(), keys, int(call.now.timestamp()))
        if isinstance(card, Refused):
            return card.reason
        card_id, proven, made_at = bytes(card.claims.card_id), card.presentation, card.sequence
    row = await queries().cards.get(call.conn, tenant=call.tenant, card_id=card_id)
    return Reason.UNKNOWN_CARD if row is None else ShownCard(row=row, proven=proven, made_at=made_at)


def weaker_state(call: Call, holder: ShownCard, presenter: ShownCard) -> CardState:
    """The state by which a spend is judged: both cards count. A delegation hangs on the holder's card as well, so a
    lost or revoked one lends nobody its money, as at a gate.
    """
    state = presenter.state(call)
    return holder.state(call) if state is CardState.ACTIVE else state


async def use_up(call: Call, *shown: ShownCard) -> bool:
    """Use up what one-time codes were shown, in the transaction of the spend; false if one of them paid before."""
    codes = {card.card_id: card.made_at for card in shown if card.made_at is not None}
    for card_id in sorted(codes):  # always in one order, or two tills could wait for each other
        if not await queries().spends.take_code(call.conn, tenant=call.tenant, card_id=card_id, iat=codes[card_id]):
            return False
    return True
