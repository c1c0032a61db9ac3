"""Links, phones and what a phone is told, as requests and replies carry them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from cardservice.api.models import ApiModel

At = Annotated[int, Field(ge=0, lt=2**53, description="Now by the service's clock, ms since the epoch.")]
Signature = Annotated[str, Field(min_length=86, max_length=86, description="ES256, r and s, base64url.")]


class LinkRequest(ApiModel):
    """How long the link is good."""

    minutes: int = Field(default=60, ge=5, le=1440, description="It works once, within so many minutes.")


class LinkReply(ApiModel):
    """A one-time link. It is in this reply and nowhere else."""

    url: str
    qr_svg: str = Field(description="The link as QR code, for the phone's camera.")
    expires_at: datetime
    replaces: str | None = Field(description="The card that ends when the link is used, base64url.")


class Binding(ApiModel):
    """A phone's new key, proved to be held, for the link that the resident opened."""

    link: str = Field(min_length=1, max_length=100)
    public_key: str = Field(min_length=44, max_length=44, description="Compressed P-256 point, base64url.")
    at: At
    signature: Signature


class Contact(ApiModel):
    """A phone asks for its card, signed with the card's own key."""

    tenant: str = Field(min_length=1, max_length=16)
    card_id: str = Field(min_length=11, max_length=11)
    at: At
    signature: Signature


class Opening(ApiModel):
    """A service that the card opens, in plain words."""

    service: str
    title: str
    lines: list[str]
    live: bool = Field(description="Whether the phone's moving code is accepted.")
    static: bool = Field(description="Whether a picture of the card is accepted.")
    starts_at: int | None = Field(description="First second, where that is still to come; seconds since the epoch.")
    ends_at: int | None = Field(description="First second after the end, where it is known.")


class PhoneCard(ApiModel):
    """The card as its phone keeps it."""

    tenant: str
    council: str
    holder: str = Field(description="The holder's first name, to tell several cards on one phone apart.")
    card_id: str
    state: Literal["active", "suspended", "lost", "replaced", "expired", "revoked"]
    expires_at: int = Field(description="First second in which it is no longer good, seconds since the epoch.")
    timezone: str
    colour: str = Field(description="The council's colour, #rrggbb.")
    on_colour: str = Field(description="Black or white, whichever reads better on it.")
    cwt: str | None = Field(description="The signed card (COSE_Sign1), base64url; only while it is active.")
    opens: list[Opening]
