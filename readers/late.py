"""What may be known at the service and not here yet: it is asked for once, and not for long.

A card that was issued, or put on a chip, a moment ago is at the gate before the stream has told of it. Nobody is
refused for that while the service can be asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Final

import structlog

from entitlements.credential.claims import Refused
from entitlements.credential.presentation import SECRET_MISSING
from hardware.interfaces import Presented
from readers.errors import IdentityError, ServiceError
from readers.gate import Gate, Shown
from readers.judgement import Judgement
from readers.secrets import SecretsKeeper

PULL_SECONDS: Final = 1.0
"""Longest wait for what the service may know; design.md, "Present"."""
SECRETS_AGAIN_SECONDS: Final = 5.0
"""Between two pulls of secrets: strangers' cards, one after the other, must neither hold up a lane nor burden the
service."""

_log = structlog.get_logger(__name__)


class Latecomers:
    """Asks the service on behalf of one lane."""

    def __init__(self, gate: Gate, secrets: SecretsKeeper) -> None:
        self._gate = gate
        self._secrets = secrets
        self._again = float("-inf")

    async def take(self, presented: Presented, at_ms: int) -> Shown:
        """Take a presentation as :meth:`readers.gate.Gate.take`, with newer secrets of the site if that may help."""
        shown = self._gate.take(presented.data, presented.media, at_ms=at_ms)
        found = shown.found
        if not isinstance(found, Refused) or found not in SECRET_MISSING or time.monotonic() < self._again:
            return shown
        self._again = time.monotonic() + SECRETS_AGAIN_SECONDS
        before = self._secrets.tag
        await _within(self._secrets.refresh())
        if self._secrets.tag == before:
            return shown
        return self._gate.take(presented.data, presented.media, at_ms=at_ms)

    @staticmethod
    async def pull_for(judgement: Judgement) -> None:
        """Bring the feeds up to date that may not know the card of a judgement."""
        await _within(asyncio.gather(*(feed.pull() for feed in judgement.stale), return_exceptions=True))


async def _within(asked: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(PULL_SECONDS):
            await asked
    except TimeoutError:
        _log.info("the card may be newer than what this gate knows, and the service did not answer in time")
    except (ServiceError, IdentityError) as error:
        _log.info("the card may be newer than what this gate knows, and the service cannot say", problem=str(error))
