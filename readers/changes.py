"""The changes of a feed as a reader takes them in: a card's rights stay unread until they are needed.

A card's profile is some sixty objects once it is read, and most have been seen before: reading, keeping and letting go
of those of a thousand changes would keep decisions waiting for milliseconds.
"""

from __future__ import annotations

from typing import Final

import msgspec

from entitlements.model import CardState
from entitlements.wire.change import Change
from entitlements.wire.feed import CardChange, HorizonChange, KeysChange, ServiceChange, ServiceWithdrawn, WorldChange
from entitlements.wire.state import BookingChange, HolderChange, LoanChange, UnitsChange, UpstreamChange


class CardRow(Change, frozen=True, kw_only=True, tag="card"):
    """:class:`entitlements.wire.feed.CardChange` with its profile unread; in JSON it is the same."""

    index: int
    tag: int
    state: CardState
    profile: msgspec.Raw


_StateChange = HolderChange | UnitsChange | BookingChange | LoanChange | UpstreamChange
ReadChange = CardRow | ServiceChange | ServiceWithdrawn | WorldChange | KeysChange | HorizonChange | _StateChange
"""What :func:`decode_change` gives."""
AnyChange = ReadChange | CardChange

_decoder: Final[msgspec.json.Decoder[ReadChange]] = msgspec.json.Decoder(ReadChange)


def decode_change(data: bytes | msgspec.Raw) -> ReadChange:
    """A change from its JSON.

    Raises:
        msgspec.DecodeError: not JSON, not a known kind of change, or of the wrong shape; the shape of a card's profile
            is not looked at.
    """
    return _decoder.decode(data)
