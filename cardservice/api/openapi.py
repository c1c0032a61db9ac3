"""The OpenAPI 3.1 document, made from the same list of endpoints that is served.

See the OpenAPI Specification 3.1.0; problems are those of RFC 9457, the idempotency key is that of
draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Sequence
from typing import Any, Final

from cardservice.api.auth import TENANT_HEADER
from cardservice.api.idempotency import MAX_KEY_CHARACTERS
from cardservice.api.problems import TITLES
from cardservice.api.routing import Endpoint
from cardservice.api.schemas import Schemas, is_model, reply_type

_DESCRIPTION: Final = """\
Lists come in pages: ask again with `cursor` set to `next` of the page before, until `next` is null. The few that are
bounded by their nature say so and have no pages.

Every write by staff takes an `Idempotency-Key`. The calls of readers and phones take none: what they bring names
itself, and may be sent again, signed anew, until it is answered. A tap has its `tap_id`, and one that is stored is
answered as a duplicate. A report replaces the one before, and numbers that it does not raise change nothing. The same
key with the same code is enrolled as the same reader. Of a reader's old and new key the service knows exactly one, so
a reader whose call was not answered tries both. The same phone's key with the same link gets the same card."""
_PARAMETER = re.compile(r"{([a-z_0-9]+)}")
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
    schemas = Schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = re.sub(r"{([a-z_0-9]+):[^}]*}", r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rescard",
            "version": version,
            "summary": "Resident digital cards and the gates they open.",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)],
        "paths": paths,
        # Without the schemas that query strings took.
        "components": {**_COMPONENTS, "schemas": {**schemas.components, "Problem": _PROBLEM}},
    }


def _operation(endpoint: Endpoint, path: str, schemas: Schemas) -> dict[str, Any]:
    description = []
    if endpoint.roles:
        description.append(f"Roles: {', '.join(sorted(endpoint.roles | {'admin'}))}.")
    if endpoint.handler.__doc__:
        description.append(inspect.cleandoc(endpoint.handler.__doc__))
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.tag}_{endpoint.handler.__name__}",
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "security": _SECURITY[endpoint.access],
        "parameters": _parameters(endpoint, path, schemas),
        "responses": _responses(endpoint, schemas),
    }
    if description:
        operation["description"] = "\n\n".join(description)
    body = endpoint.body or endpoint.told.body
    if body is not None:
        needed = not is_model(body) or any(field.is_required() for field in body.model_fields.values())
        operation["requestBody"] = {
            "required": needed,
            "content": {endpoint.told.body_type: {"schema": schemas.taken(body)}},
        }
    return operation


def _parameters(endpoint: Endpoint, path: str, schemas: Schemas) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    query = endpoint.query or endpoint.told.query
    if query is not None:
        schema = schemas.query(query)
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
    for name, purpose in endpoint.told.headers.items():
        found.append(
            {"name": name, "in": "header", "required": False, "description": purpose, "schema": {"type": "string"}}
        )
    if endpoint.access == "staff":
        found.append({"$ref": "#/components/parameters/Tenant"})
        if endpoint.writes:
            found.append({"$ref": "#/components/parameters/IdempotencyKey"})
    return found


def _responses(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    reply = reply_type(endpoint)
    answers_nothing = typing.get_type_hints(endpoint.handler).get("return") is type(None)
    status = 204 if answers_nothing and endpoint.status == 200 else endpoint.status
    good: dict[str, Any] = {"description": endpoint.summary}
    if reply is not None:
        good["content"] = {endpoint.media_type: {"schema": schemas.given(reply)}}
    elif not answers_nothing and status < 300:
        good["content"] = {endpoint.media_type: {}}
    also = {
        str(other): {**good, "description": what} if other == 206 else {"description": what}
        for other, what in endpoint.told.also.items()
    }
    return {str(status): good, **also, "default": {"$ref": "#/components/responses/Problem"}}
