"""Errors as ``application/problem+json`` (RFC 9457), one place for all of them."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import structlog
from aiohttp import web
from pydantic import ValidationError

from cardservice.db import DATABASE_AWAY, TRY_AGAIN
from cardservice.errors import ApiProblem, KeyTokenError

TITLES = {
    400: "The request cannot be understood",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not in a form that was asked for",
    409: "It does not fit the present state",
    410: "No longer kept",
    413: "The body is too large",
    415: "Wrong media type",
    416: "No such part of it",
    422: "The request has wrong values",
    429: "Too many requests",
    500: "Something failed on our side",
    501: "Not offered here",
    503: "Not available just now",
}

log = structlog.get_logger("api")


def problem_response(problem: ApiProblem, request_id: str) -> web.Response:
    """The response for a problem. ``code`` is stable; ``detail`` is for people."""
    body = {
        "type": f"urn:rescard:problem:{problem.code}",
        "title": TITLES.get(problem.status, "Problem"),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "request_id": request_id,
        **problem.extra,
    }
    if problem.fields:
        body["fields"] = problem.fields
    return web.Response(
        status=problem.status,
        body=json.dumps(body).encode(),
        content_type="application/problem+json",
        headers=problem.headers,
    )


def from_validation(error: ValidationError, where: str, document: Any = None) -> ApiProblem:
    """422 with a JSON pointer (RFC 6901) for each wrong value of the body or query.

    Args:
        where: ``body`` or ``query``.
        document: what was sent, by which the pointers are told from the names of a union's members.
    """
    fields = []
    for item in error.errors(include_url=False, include_input=False):
        message = "there is no such field" if item["type"] == "extra_forbidden" else item["msg"]
        pointer = "".join(f"/{step}" for step in _steps(item, document))
        fields.append({"at": pointer or "/", "problem": message.removeprefix("Value error, ")})
    first = fields[0]
    return ApiProblem(422, "wrong_values", f"The {where} is wrong at {first['at']}: {first['problem']}.", fields=fields)


def _steps(item: Any, document: Any) -> list[str]:
    """Where an error lies. Pydantic names the chosen member of a union in between, which is not in the document."""
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return [*map(str, item["loc"]), item["ctx"]["discriminator"].strip("'")]
    steps: list[str] = []
    place = document
    for at, part in enumerate(item["loc"]):
        if (isinstance(place, dict) and part in place) or (
            isinstance(place, list) and isinstance(part, int) and part < len(place)
        ):
            place = place[part]
        elif document is not None and not (item["type"] == "missing" and at == len(item["loc"]) - 1):
            continue
        steps.append(str(part).replace("~", "~0").replace("/", "~1"))
    return steps


def from_exception(error: Exception) -> ApiProblem:
    """A fault as a problem: no detail leaves the house, the log has it under the request id."""
    if isinstance(error, ApiProblem):
        return error
    if isinstance(error, web.HTTPException):
        codes = {404: "no_such_path", 405: "method_not_allowed", 413: "body_too_large"}
        details = {
            404: "There is nothing at this path; /openapi.json lists what there is.",
            405: "This path does not take that method.",
            413: "The body is larger than this service accepts.",
        }
        status = error.status
        return ApiProblem(status, codes.get(status, "http_error"), details.get(status, error.reason or "HTTP error"))
    if isinstance(error, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError):
        return ApiProblem(422, "wrong_values", "A text holds the character U+0000, which cannot be stored.")
    if isinstance(error, OverflowError | asyncpg.DataError):
        # asyncpg encodes parameters itself: a date or a number that PostgreSQL cannot hold never gets there.
        return ApiProblem(422, "wrong_values", "A date or a number lies outside of what can be stored.")
    if isinstance(error, KeyTokenError):
        return ApiProblem(
            503,
            "key_token_away",
            "The token that guards the keys does not answer just now; send the same request again.",
            headers={"Retry-After": "5"},
        )
    if isinstance(error, DATABASE_AWAY):
        return _database_away()
    if isinstance(error, TRY_AGAIN):
        return ApiProblem(
            503, "try_again", "Two changes met; send the same request again.", headers={"Retry-After": "0"}
        )
    return ApiProblem(500, "fault", "This is a fault of ours. It was logged; quote the request id when you report it.")


def _database_away() -> ApiProblem:
    return ApiProblem(
        503,
        "database_away",
        "The database does not answer just now; send the same request again.",
        headers={"Retry-After": "1"},
    )
