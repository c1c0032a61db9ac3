"""Where each part of a condition stands in the document.

A condition of several keys in one object (``{"age": ..., "permit": ...}``) and one of a list (``{"all": [...]}``) mean
the same and are one value after reading. With the JSON value at hand the pointer is that of what was written; without
it the pointer is that of the list form, and :func:`~entitlements.jsontext.line_of` finds the nearest thing around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any as Json

import msgspec

from entitlements.service import Age, All, Any, Expression, Holds, Not
from entitlements.shapes import pointer_step


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a condition, its pointer, and the parts it is made of."""

    expression: Expression
    pointer: str
    parts: tuple[Place, ...] = ()

    def walk(self) -> Iterator[Place]:
        """This part and all within it, in document order."""
        yield self
        for part in self.parts:
            yield from part.walk()


class _OtherShapeError(ValueError):
    """The JSON value is not the one that the condition was read from."""


def place(expression: Expression, pointer: str, source: Json = None) -> Place:
    """The condition with the pointers of all its parts.

    Args:
        expression: as it was read.
        pointer: of the condition within the document.
        source: the JSON value it was read from, where it is at hand.
    """
    if source is not None:
        try:
            return _written(expression, pointer, source)
        except _OtherShapeError:
            pass  # of a base document, say: the list form still leads near it
    return _listed(expression, pointer)


def _listed(expression: Expression, pointer: str) -> Place:
    if isinstance(expression, (All, Any)):
        key = "all" if isinstance(expression, All) else "any"
        parts = tuple(_listed(item, f"{pointer}/{key}/{index}") for index, item in enumerate(expression.items))
        return Place(expression=expression, pointer=pointer, parts=parts)
    if isinstance(expression, Not):
        return Place(expression=expression, pointer=pointer, parts=(_listed(expression.item, f"{pointer}/not"),))
    return Place(expression=expression, pointer=f"{pointer}/{_key(expression)}")


def _key(expression: Expression) -> str:
    if isinstance(expression, Holds):
        return expression.statement
    return "age" if isinstance(expression, Age) else "resident_of"


def _written(expression: Expression, pointer: str, source: Json) -> Place:
    if not isinstance(source, Mapping) or not source:
        raise _OtherShapeError
    if len(source) == 1:
        ((key, value),) = source.items()
        return _member(expression, pointer, key, value)
    if not isinstance(expression, All) or len(expression.items) != len(source):
        raise _OtherShapeError
    parts = tuple(
        _member(item, pointer, key, value) for item, (key, value) in zip(expression.items, source.items(), strict=True)
    )
    return Place(expression=expression, pointer=pointer, parts=parts)


def _member(expression: Expression, pointer: str, key: str, value: Json) -> Place:
    here = pointer + pointer_step(key)
    if isinstance(expression, (All, Any)) and key == ("all" if isinstance(expression, All) else "any"):
        if not isinstance(value, list) or len(value) != len(expression.items):
            raise _OtherShapeError
        parts = tuple(
            _written(item, f"{here}/{index}", one)
            for index, (item, one) in enumerate(zip(expression.items, value, strict=True))
        )
        return Place(expression=expression, pointer=here, parts=parts)
    if isinstance(expression, Not) and key == "not":
        return Place(expression=expression, pointer=here, parts=(_written(expression.item, here, value),))
    if isinstance(expression, (All, Any, Not)) or key != _key(expression):
        raise _OtherShapeError
    return Place(expression=expression, pointer=here)
