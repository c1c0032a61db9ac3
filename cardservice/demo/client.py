"""The demonstration's own client of the service and of the readers' status pages."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import aiohttp

from cardservice.api.auth import TENANT_HEADER
from cardservice.errors import DemoError

POLL_SECONDS: Final = 0.01
WAIT_SECONDS: Final = 15.0

Found = TypeVar("Found")


async def until(what: str, look: Callable[[], Awaitable[Found | None]], seconds: float = WAIT_SECONDS) -> Found:
    """Look again and again until there is something.

    Raises:
        DemoError: there was nothing within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = await look()
        except aiohttp.ClientError:
            found = None  # what we look at is down or coming up
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise DemoError(what=what, detail=f"not seen within {seconds:g} s")
        await asyncio.sleep(POLL_SECONDS)


class Api:
    """Calls to the service as the platform's own token, for one tenant or another."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self.http = http
        self.url = url
        self._token = token

    async def call(self, method: str, path: str, body: Any = None, *, tenant: str) -> Any:
        """JSON (or bytes) of a call that must succeed.

        Raises:
            DemoError: the service refused; carries its sentence.
        """
        headers = {"Authorization": f"Bearer {self._token}", TENANT_HEADER: tenant}
        if method != "GET":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        async with self.http.request(method, self.url + path, json=body, headers=headers) as response:
            if response.status >= 400:
                problem = await response.json()
                detail = f"{method} {path}: {problem.get('code')}: {problem.get('detail')} {problem.get('fields', '')}"
                raise DemoError(what="service", detail=detail)
            return await response.json() if response.content_type == "application/json" else await response.read()

    async def ready(self) -> bool | None:
        """``True`` when the service says that it can work."""
        async with self.http.get(self.url + "/readyz") as response:
            return True if response.status == 200 else None
