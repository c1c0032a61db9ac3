"""Calls to a service by token; a refusal becomes one sentence, with the lines that it is about."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Final

import aiohttp

from cardservice.errors import ApiProblem, RefusedError

TIMEOUT_SECONDS: Final = 330.0
"""A replay may take minutes; the service itself gives up after five."""


class Caller:
    """A service somewhere, and whose token speaks to it.

    Args:
        url: its address.
        token: of a member of staff.
        tenant: the council, where the token is the platform's.
    """

    def __init__(self, url: str, token: str, tenant: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} | ({} if tenant is None else {"Rescard-Tenant": tenant})

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return asyncio.run(self._call("GET", path, None))

    def post(self, path: str, body: Any = None) -> Any:
        """The answer to a write."""
        return asyncio.run(self._call("POST", path, body))

    async def _call(self, method: str, path: str, body: Any) -> Any:
        headers = self._headers | ({"Idempotency-Key": uuid.uuid4().hex} if method != "GET" else {})
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as http,
                http.request(method, self._url + path, json=body) as response,
            ):
                if "json" not in response.content_type:
                    raise RefusedError(detail=f"{self._url} answered {response.status} and no JSON: is it the service?")
                answer = await response.json()
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise RefusedError(detail=f"{self._url} does not answer: {error}") from error
        except aiohttp.InvalidURL as error:
            raise RefusedError(detail=f"{self._url} is no address") from error
        if response.status >= 400:
            raise ApiProblem(
                response.status,
                answer.get("code", "http_error"),
                answer.get("detail", ""),
                fields=answer.get("fields", ()),
                extra=answer,
            )
        return answer
