"""The OpenAPI 3.1 document, made from the same list of endpoints that is served.

See the OpenAPI Specification 3.1.0; problems are those of RFC 9457, the idempotency key is that of
draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from cardservice.api.auth import TENANT_HEADER
from cardservice.api.problems import TITLES
from cardservice.api.routing import Endpoint
from cardservice.api.server import MAX_KEY_CHARACTERS

_PARAMETER = re.compile(r"{([a-z_0-9]+)}")
_REF: Final = "#/components/schemas/{model}"
_SECURITY: Final[dict[str, list[dict[str, list[str]]]]] = {
    "public": [],
    "staff": [{"token": []}],
    "reader": [{"reader": []}],
}
_COMPONENTS: Final[dict[str, Any]] = {
    "securitySchemes": {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token of a council, or of the platform together with Rescard-Tenant.",
        },
        "reader": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Reader <assertion>`: a short-lived JWT of the reader's own key, bound to one request.",
        },
    },
    "parameters": {
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "description": "A value of your own, one for each thing to be done. The same request with the same key is "
            "done once and answered the same for a day; another request with it gets 422.",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS},
        },
        "Tenant": {
            "name": TENANT_HEADER,
            "in": "header",
            "required": False,
            "description": "The council that a token of the platform acts for.",
            "schema": {"type": "string"},
        },
    },
    "responses": {
        "Problem": {
            "description": "The request is refused (RFC 9457). `code` is stable; `detail` is for people.",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    },
}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string", "enum": sorted({*TITLES.values(), "Problem"})},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "fields": {
            "type": "array",
            "description": "What is wrong with the body or query, by JSON pointer.",
            "items": {
                "type": "object",
                "required": ["at", "problem"],
                "properties": {"at": {"type": "string"}, "problem": {"type": "string"}},
            },
        },
    },
}


def openapi_document(endpoints: Sequence[Endpoint], *, version: str, server: str) -> dict[str, Any]:
    """The document of these endpoints.

    Args:
        version: of the API, e.g. ``0.1.0``.
        server: public URL of the service.
    """
    schemas, references = _schemas(endpoints)
    queries = _Queries(schemas, references)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = re.sub(r"{([a-z_0-9]+):[^}]*}", r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, path, references, queries)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rescard",
            "version": version,
            "summary": "Resident digital cards and the gates they open.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)],
        "paths": paths,
        "components": {**_COMPONENTS, "schemas": {**schemas, "Problem": _PROBLEM}},  # without what queries took
    }


def reply_model(endpoint: Endpoint) -> type[BaseModel] | None:
    """What the handler answers; of a union with a ready-made response the model counts."""
    if endpoint.reply is not None:
        return endpoint.reply
    answer = typing.get_type_hints(endpoint.handler).get("return")
    members = typing.get_args(answer) if isinstance(answer, types.UnionType) else ()
    return next((each for each in members if isinstance(each, type) and issubclass(each, BaseModel)), None)


_References = dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]]


def _schemas(endpoints: Sequence[Endpoint]) -> tuple[dict[str, Any], _References]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for endpoint in endpoints:
        reply = reply_model(endpoint)
        for model in (endpoint.body, endpoint.query):
            if model is not None:
                wanted[model, "validation"] = None
        if reply is not None:
            wanted[reply, "serialization"] = None
    references, document = models_json_schema(list(wanted), ref_template=_REF)
    return document.get("$defs", {}), typing.cast(_References, references)


class _Queries:
    """Schemas of query strings: their members become parameters, so they are no components themselves."""

    def __init__(self, schemas: dict[str, Any], references: _References) -> None:
        self._components = schemas
        self._references = references
        self._taken: dict[type[BaseModel], dict[str, Any]] = {}

    def schema(self, query: type[BaseModel]) -> dict[str, Any]:
        if query not in self._taken:
            name = self._references[query, "validation"]["$ref"].rpartition("/")[2]
            self._taken[query] = self._components.pop(name)
        return self._taken[query]


def _operation(endpoint: Endpoint, path: str, references: _References, queries: _Queries) -> dict[str, Any]:
    description = []
    if endpoint.roles:
        description.append(f"Roles: {', '.join(sorted(endpoint.roles | {'admin'}))}.")
    if endpoint.handler.__doc__:
        description.append(endpoint.handler.__doc__.strip())
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.tag}_{endpoint.handler.__name__}",
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "security": _SECURITY[endpoint.access],
        "parameters": _parameters(endpoint, path, queries),
        "responses": _responses(endpoint, references),
    }
    if description:
        operation["description"] = "\n\n".join(description)
    if endpoint.body is not None:
        schema = references[endpoint.body, "validation"]
        operation["requestBody"] = {
            "required": any(field.is_required() for field in endpoint.body.model_fields.values()),
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _parameters(endpoint: Endpoint, path: str, queries: _Queries) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    if endpoint.query is not None:
        schema = queries.schema(endpoint.query)
        for name, member in schema.get("properties", {}).items():
            parameter = {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "schema": {key: value for key, value in member.items() if key not in ("description", "title")},
            }
            if "description" in member:
                parameter["description"] = member["description"]
            found.append(parameter)
    if endpoint.access == "staff":
        found.append({"$ref": "#/components/parameters/Tenant"})
        if endpoint.writes:
            found.append({"$ref": "#/components/parameters/IdempotencyKey"})
    return found


def _responses(endpoint: Endpoint, references: _References) -> dict[str, Any]:
    reply = reply_model(endpoint)
    answers_nothing = typing.get_type_hints(endpoint.handler).get("return") is type(None)
    status = 204 if answers_nothing and endpoint.status == 200 else endpoint.status
    good: dict[str, Any] = {"description": endpoint.summary}
    if reply is not None:
        good["content"] = {endpoint.media_type: {"schema": references[reply, "serialization"]}}
    elif not answers_nothing:
        good["content"] = {endpoint.media_type: {}}
    return {str(status): good, "default": {"$ref": "#/components/responses/Problem"}}
