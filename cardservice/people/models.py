"""People as requests and replies carry them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from cardservice.api.models import ApiModel, Page

PersonName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]
"""Names are what people say they are; only control characters are refused."""
Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]
"""A name that documents may refer to, as in the schema of ``rescard.service/1``."""
Email = Annotated[str, Field(max_length=254, pattern=r"^[^\s@\x00-\x1f]+@[^\s@\x00-\x1f]+$")]
"""254 characters is what RFC 5321 lets through; whether it arrives only a message shows."""
Phone = Annotated[str, Field(pattern=r"^\+?[0-9][0-9 ()-]{4,28}$")]
BirthDate = Annotated[date, Field(ge=date(1880, 1, 1), description="Not in the future.")]


class PersonDraft(ApiModel):
    """What is known of a person. Null is unknown: a rule that asks for it is then not satisfied."""

    given_name: PersonName
    family_name: PersonName
    date_of_birth: BirthDate | None = None
    household: Reference | None = None
    email: Email | None = None
    phone: Phone | None = None


class PersonUpdate(PersonDraft):
    """All that is known from now on, and the version that it is based on."""

    version: int = Field(ge=1, description="`version` as it was read; 409 if somebody else changed the person since.")


class PersonReply(ApiModel):
    """A person of this council."""

    person_id: UUID
    given_name: str
    family_name: str
    date_of_birth: date | None
    household: str | None
    email: str | None
    phone: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class PeopleQuery(Page):
    """Which people."""

    household: str | None = Field(default=None, max_length=100)
    family_name: str | None = Field(default=None, max_length=200, description="Exact, but for upper and lower case.")


class PeoplePage(ApiModel):
    """People in the order of their ids."""

    items: list[PersonReply]
    next: str | None
