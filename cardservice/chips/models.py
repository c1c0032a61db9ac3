"""Chips as requests and replies carry them. Octets are capital hexadecimal digits, as on the bench of a station."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from cardservice.api.models import ApiModel

ChipNumber = Annotated[str, StringConstraints(pattern=r"^([0-9A-F]{2}){7}$")]
AnyNumber = Annotated[str, StringConstraints(pattern=r"^(([0-9A-F]{2}){4}|([0-9A-F]{2}){7}|([0-9A-F]{2}){10})$")]


class ChipRequest(ApiModel):
    """A blank NTAG 424 DNA that is to hold a card."""

    uid: ChipNumber = Field(description="Its serial number, 7 octets.")


class NumberRequest(ApiModel):
    """A legacy chip by whose serial number a card shall be known."""

    uid: AnyNumber = Field(description="Its serial number, 4, 7 or 10 octets.")


class ChipRegistered(ApiModel):
    """A card that is known by its chip. `kind`: `signed` for a chip that proves itself, `number` if it cannot."""

    card_id: str
    kind: Literal["signed", "number"]
    registered_at: datetime


class ChipSetup(ChipRegistered):
    """All that a station writes into one chip, in the commands of docs/protocols/chip.md. Nobody else is shown it.

    `keys` are the chip's five, from number 0. `old_keys` are those that it holds if it was written for another card
    before; null for one from the factory, whose keys are zero.
    """

    ndef_file: str = Field(description="Content of file 2 from its first octet.")
    file_settings: str = Field(description="Data of ChangeFileSettings for file 2.")
    picc_offset: int
    mac_input_offset: int
    mac_offset: int
    key_version: int
    keys: list[str]
    old_keys: list[str] | None
    expires_at: datetime = Field(description="First second in which the card on it is no longer good.")
