"""From an :class:`~cardservice.api.routing.Endpoint` to an aiohttp handler: the same steps for every operation.

Request id -> caller -> body and query -> (idempotency key) -> (preparation) -> handler -> commit -> reply. The change,
its audit row, its feed numbers and its idempotency row commit together or not at all.
"""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any, Final

import structlog
from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import Histogram
from pydantic import BaseModel, ValidationError

from cardservice.api.auth import authenticate
from cardservice.api.call import Actor, Call, Work
from cardservice.api.idempotency import Keyed
from cardservice.api.problems import from_exception, from_validation, problem_response
from cardservice.api.routing import Endpoint
from cardservice.db import queries
from cardservice.errors import ApiProblem
from cardservice.platform import Platform

REQUEST_ID_CHARACTERS: Final = 64
TIME_HEADER: Final = "Rescard-Time"
"""The service's clock in ms since the epoch; readers measure their offset by it."""

log = structlog.get_logger("api")
_lines = logging.getLogger("api")
"""Asked whether the line of a request would be written at all before it is made."""
SECRET_PARTS: Final = frozenset({"link"})
"""Parts of paths that open something to whoever knows them."""


def told_path(request: web.Request, endpoint: Endpoint) -> str:
    """The path as a log may tell it."""
    return endpoint.path if SECRET_PARTS & request.match_info.keys() else request.path


def request_id_of(request: web.Request) -> str:
    """The caller's ``X-Request-Id`` where it is plain, else a new one."""
    given = request.headers.get("X-Request-Id")
    if given is None:
        return os.urandom(16).hex()
    plausible = given.isascii() and given.isprintable() and 0 < len(given) <= REQUEST_ID_CHARACTERS
    return given if plausible else os.urandom(16).hex()


def make_handler(platform: Platform, endpoint: Endpoint) -> Any:
    """The aiohttp handler of an endpoint."""

    seconds_by_status: dict[int, Histogram] = {}

    async def handle(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        request_id, path = request_id_of(request), told_path(request, endpoint)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            response = await _respond(platform, endpoint, request, request_id)
        except Exception as error:  # the one boundary where faults become problems
            problem = from_exception(error)
            if problem.status == 503 and problem is not error:
                told = f"{type(error).__name__}: {error}"
                log.warning("what the answer needs is away", method=request.method, path=path, error=told)
            elif problem.status >= 500:
                log.error("request failed", method=request.method, path=path, code=problem.code, exc_info=error)
            response = problem_response(problem, request_id)
        seconds = time.perf_counter() - started
        counted = seconds_by_status.get(response.status)
        if counted is None:
            counted = platform.metrics.requests.labels(endpoint.method, endpoint.path, str(response.status))
            seconds_by_status[response.status] = counted
        counted.observe(seconds)
        if not response.prepared:
            response.headers["X-Request-Id"] = request_id
            response.headers[TIME_HEADER] = str(time.time_ns() // 1_000_000)
            response.headers.setdefault("Cache-Control", "no-store")
        if _lines.isEnabledFor(logging.DEBUG):
            log.debug("request", method=request.method, path=path, status=response.status, ms=round(seconds * 1000, 2))
        return response

    return handle


async def _respond(platform: Platform, endpoint: Endpoint, request: web.Request, request_id: str) -> web.StreamResponse:
    actor = await authenticate(platform, request, endpoint)
    call = Call(platform=platform, request=request, actor=actor, request_id=request_id)
    arguments: dict[str, BaseModel] = {}
    if endpoint.query is not None:
        arguments["query"] = parse_query(endpoint.query, request)
    raw = b"" if endpoint.raw or endpoint.method == "GET" else await read_body(request)
    if endpoint.body is not None:
        arguments["body"] = parse_body(endpoint.body, request, raw)
    elif raw and not endpoint.raw:
        raise ApiProblem(400, "no_body_expected", "This call takes no body.")
    keyed = Keyed(call, raw) if endpoint.transaction and endpoint.writes and endpoint.access == "staff" else None
    if endpoint.before is not None:
        if keyed is not None and (first := await keyed.known(platform.db.reading(actor.tenant))) is not None:
            return first
        call.prepared = await endpoint.before(call, **arguments)
    if endpoint.transaction:
        async with platform.db.transaction(actor.tenant, read_only=endpoint.method == "GET") as conn:
            call._conn = conn
            if keyed is not None:
                response = await _once(endpoint, call, arguments, keyed)
            else:
                response = _reply(endpoint, await endpoint.handler(call, **arguments))
    else:
        if endpoint.reading:
            call._conn = platform.db.reading(actor.tenant)
        response = _reply(endpoint, await endpoint.handler(call, **arguments))
    for callback in call.after_commit:
        callback()
    return response


async def _once(endpoint: Endpoint, call: Call, arguments: dict[str, BaseModel], keyed: Keyed) -> web.StreamResponse:
    while not await keyed.claim(call.conn):
        if (first := await keyed.known(call.conn)) is not None:
            return first
    response = _reply(endpoint, await endpoint.handler(call, **arguments))
    await keyed.keep(call.conn, response)
    return response


def _reply(endpoint: Endpoint, answer: Any) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    if answer is None:
        return web.Response(status=204 if endpoint.status == 200 else endpoint.status)
    if isinstance(answer, BaseModel):
        return web.Response(
            status=endpoint.status,
            body=answer.model_dump_json(exclude_none=False).encode(),
            content_type="application/json",
        )
    raise TypeError(f"{endpoint.method} {endpoint.path} answered {type(answer).__name__}")


async def read_body(request: web.Request) -> bytes:
    """The body, at most as large as the application's ``client_max_size`` (aiohttp raises 413 beyond).

    Raises:
        ApiProblem: 400 where it is not what its Content-Encoding says, or was cut off.
    """
    try:
        return await request.read()
    except (web.RequestPayloadError, ClientPayloadError, HttpProcessingError) as error:
        raise ApiProblem(400, "body_unreadable", "The body is cut off, or not encoded as its header says.") from error


def parse_body(model: type[BaseModel], request: web.Request, raw: bytes) -> BaseModel:
    """The typed body.

    Raises:
        ApiProblem: 415 where it is not JSON by its type, 400 where it is not by its bytes, 422 where values are wrong.
    """
    if not raw:
        raw = b"{}"  # a call whose body has only optional members may be made without one
    elif request.content_type != "application/json":
        raise ApiProblem(415, "not_json", "Send the body as application/json.")
    try:
        return model.model_validate_json(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise ApiProblem(400, "malformed_json", f"The body is not JSON: {first['msg']}.") from None
        raise from_validation(error, "body", json.loads(raw)) from None


def parse_query(model: type[BaseModel], request: web.Request) -> BaseModel:
    """The typed query string.

    Raises:
        ApiProblem: 422 where it has unknown or wrong parameters.
    """
    values: dict[str, Any] = {}
    for name in request.query:
        given = request.query.getall(name)
        values[name] = given[0] if len(given) == 1 else given
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise from_validation(error, "query", values) from None


async def audit(call: Work, action: str, subject: str, **detail: Any) -> None:
    """Write who did what to whom, in the same transaction as the change."""
    await queries().api.add_audit(
        call.conn,
        tenant=call.tenant,
        actor=call.actor.name,
        action=action,
        subject=subject,
        detail=detail,
        request_id=call.request_id,
    )


__all__ = ["Actor", "audit", "make_handler", "parse_body", "parse_query", "read_body"]
