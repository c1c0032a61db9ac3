"""PINs as requests and replies carry them: inwards only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, SecretStr

from cardservice.api.models import ApiModel

PinDigits = Annotated[
    SecretStr,
    Field(
        max_length=64,
        description="4 to 8 digits, typed by the holder. Refused: repetitions, runs, the holder's date of birth.",
    ),
]
"""Its ``repr`` is stars, so that it cannot get into a log by way of an exception. What it must be is said in words of
ours (``cardservice.pins.strength``), since pydantic's would quote it."""


class PinDraft(ApiModel):
    """A PIN, as the holder typed it at the desk."""

    pin: PinDigits


class PinReply(ApiModel):
    """Whether a person has a PIN. `version` grows with every change and every unlocking; gates follow it."""

    person_id: UUID
    is_set: bool
    version: int
    changed_at: datetime | None
