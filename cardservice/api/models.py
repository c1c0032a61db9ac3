"""What requests and replies are made of."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from cardservice.errors import ApiProblem


class ApiModel(BaseModel):
    """A request or reply: unknown fields are refused, values are not changed after they were checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, row: Mapping[str, Any], **more: Any) -> Self:
        """Made from a row's columns of the same names, and what the row does not have."""
        return cls.model_validate({name: row[name] for name in cls.model_fields if name in row} | more)


class Page(ApiModel):
    """Query of a list call."""

    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=400, description="`next` of the page before.")


def encode_cursor(*parts: str) -> str:
    """An opaque cursor from the sort key of the last row of a page."""
    return base64.urlsafe_b64encode("\x1f".join(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, parts: int) -> list[str]:
    """The sort key back.

    Raises:
        ValueError: this is no cursor of this list.
    """
    try:
        found = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split("\x1f")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("not a cursor") from error
    if len(found) != parts:
        raise ValueError("not a cursor of this list")
    return found


def read_cursor(cursor: str | None, *parsers: Callable[[str], Any]) -> list[Any]:
    """The parts of a cursor, each read by its parser; ``None`` for each on the first page.

    Raises:
        ApiProblem: 422 for what is no cursor of this list.
    """
    if cursor is None:
        return [None] * len(parsers)
    try:
        return [parse(part) for parse, part in zip(parsers, decode_cursor(cursor, len(parsers)), strict=True)]
    except ValueError:
        problem = {"at": "/cursor", "problem": "it is not a `next` of this list"}
        raise ApiProblem(422, "wrong_values", "The cursor is not one of this list.", fields=[problem]) from None


Name = Annotated[str, Field(min_length=1, max_length=200)]
SLUG: Final = r"[a-z0-9][a-z0-9.-]{0,62}"
"""Small letters, digits, dots and hyphens: stands in addresses, in names of feeds and of files."""
Slug = Annotated[str, Field(pattern=rf"^{SLUG}$")]
