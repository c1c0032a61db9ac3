"""Schemas of all that requests and replies are made of, under their names, for the OpenAPI document.

Calls of people are pydantic models, those of readers are msgspec types that both sides import; both libraries write
JSON Schema 2020-12, which is what OpenAPI 3.1 takes.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeGuard

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from cardservice.api.routing import Endpoint

_PYDANTIC_REF: Final = "#/components/schemas/{model}"
_MSGSPEC_REF: Final = "#/components/schemas/{name}"


class Schemas:
    """The components of a list of endpoints, and how an operation refers to them."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        """Raises ValueError where two types of different content have one name."""
        models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
        wire: dict[Any, None] = {}
        for endpoint in endpoints:
            told = endpoint.told
            for taken in (endpoint.body, endpoint.query, told.body, told.query):
                if is_model(taken):
                    models[taken, "validation"] = None
                elif taken is not None:
                    wire[taken] = None
            for given in (reply_type(endpoint), *told.more):
                if is_model(given):
                    models[given, "serialization"] = None
                elif given is not None:
                    wire[given] = None
        references, document = models_json_schema(list(models), ref_template=_PYDANTIC_REF)
        self.components: dict[str, Any] = document.get("$defs", {})
        self._models = references
        self._wire, components = msgspec_schemas(wire)
        for name, schema in components.items():
            known = self.components.setdefault(name, schema)
            # An enumeration that both kinds use is written by both, with other words around the same values.
            if known is not schema and not _same_values(known, schema):
                raise ValueError(f"two schemas have the name {name}")
        self._queries: dict[type[BaseModel], dict[str, Any]] = {}

    def taken(self, kind: Any) -> dict[str, Any]:
        """The schema of what a request brings."""
        return self._models[kind, "validation"] if is_model(kind) else self._wire[kind]

    def given(self, kind: Any) -> dict[str, Any]:
        """The schema of what a reply brings."""
        return self._models[kind, "serialization"] if is_model(kind) else self._wire[kind]

    def query(self, kind: type[BaseModel]) -> dict[str, Any]:
        """The schema of a query string. Its members become parameters, so it is no component from then on."""
        if kind not in self._queries:
            name = self._models[kind, "validation"]["$ref"].rpartition("/")[2]
            self._queries[kind] = self.components.pop(name)
        return self._queries[kind]


def _same_values(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return "enum" in one and set(one["enum"]) == set(other.get("enum", ()))


def is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    """Whether it is a pydantic model."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def reply_type(endpoint: Endpoint) -> Any:
    """What the handler answers; of a union with a ready-made response the model counts."""
    if endpoint.told.reply is not None:
        return endpoint.told.reply
    if endpoint.reply is not None:
        return endpoint.reply
    answer = typing.get_type_hints(endpoint.handler).get("return")
    members = typing.get_args(answer) if isinstance(answer, types.UnionType) else ()
    return next((each for each in members if is_model(each)), None)


def msgspec_schemas(kinds: Iterable[Any]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """A schema for each of these types, and the components that they refer to."""
    wanted = list(kinds)
    schemas, components = msgspec.json.schema_components(wanted, ref_template=_MSGSPEC_REF)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return dict(zip(wanted, schemas, strict=True)), components
