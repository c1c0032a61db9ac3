"""PINs at a gate: who may try, how often, and whether one is right. Offline as online.

Three wrong ones in a row lock a card at this site for a quarter of an hour, three more for half an hour, and so on,
doubling. An attempt is on disk, counted as wrong, before the PIN is even checked: pulling the plug gives none back. A
right PIN, a new PIN and unlocking at the desk (a new version of the verifier) begin anew.

The digits go through here and nowhere else: no log, no exception and no ``repr`` shows them.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Final

import msgspec
import structlog
from cryptography.exceptions import InvalidKey, UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from entitlements.wire.secrets import PinVerifier
from readers.clock import TrustedClock
from readers.errors import DatabaseFaultError
from readers.journal import Journal
from readers.secrets import CardKey

ATTEMPTS: Final = 3
"""Wrong PINs in a row until a card is locked."""
FIRST_LOCK_MS: Final = 15 * 60_000
MOST_LOCK_MS: Final = 32 * 86_400_000
"""Doubling ends here, after a dozen locks: some 60 of 10,000 PINs can be tried in a year."""
AT_ONCE: Final = 2
"""Checks at the same time: each takes 20 to 64 MiB."""

_log = structlog.get_logger(__name__)


class Typed:
    """Digits that somebody typed. Shows itself to nobody; :meth:`wipe` when they have served."""

    __slots__ = ("_digits",)

    def __init__(self) -> None:
        self._digits = bytearray()

    def __len__(self) -> int:
        return len(self._digits)

    def __repr__(self) -> str:
        return "Typed()"

    def add(self, digit: str) -> None:
        """One more digit."""
        self._digits += digit.encode("ascii")

    def octets(self) -> bytearray:
        """The digits in ASCII."""
        return self._digits

    def wipe(self) -> None:
        """Forget them. (A best effort: Python may have copied them.)"""
        self._digits[:] = bytes(len(self._digits))
        self._digits.clear()


class Attempts(msgspec.Struct, frozen=True, kw_only=True):
    """Wrong PINs of a card at this site, for one ``version`` of its verifier. ``until`` (ms) is when a lock ends."""

    version: int
    wrong: int = 0
    locks: int = 0
    until: int = 0


class Found(StrEnum):
    """What came of an attempt."""

    RIGHT = "right"
    WRONG = "wrong"
    LOCKED = "locked"
    UNCHECKED = "unchecked"
    """It could not be written down or checked: staff must look."""


class PinGuard:
    """Attempts at all lanes of the site, and the check itself."""

    def __init__(self, journal: Journal, clock: TrustedClock) -> None:
        self._journal = journal
        self._clock = clock
        self._attempts: dict[CardKey, Attempts] = {}
        self._checking = asyncio.Semaphore(AT_ONCE)

    async def load(self) -> None:
        """Read what was kept."""
        for text, body in await self._journal.attempts():
            try:
                tenant, index, tag = text.split("/")
                self._attempts[tenant, int(index), int(tag)] = msgspec.json.decode(body, type=Attempts)
            except (msgspec.DecodeError, ValueError) as error:
                _log.error("wrong PINs of a card cannot be read from the journal", problem=str(error))

    def locked_until(self, verifier: PinVerifier) -> int | None:
        """When the card's lock at this site ends (ms since the epoch); None if it is not locked."""
        kept = self._of(verifier)
        return kept.until if self._clock.now_ms() < kept.until else None

    def left(self, verifier: PinVerifier) -> int:
        """Attempts that are left until the card is locked."""
        return ATTEMPTS - self._of(verifier).wrong

    async def check(self, verifier: PinVerifier, typed: Typed) -> Found:
        """Try a PIN. Takes some 50 ms, none of it in the event loop's thread."""
        if self.locked_until(verifier) is not None:
            return Found.LOCKED
        card = (verifier.tenant, verifier.index, verifier.tag)
        # Counted before anything waits: two lanes do not get the same attempt.
        counted = self._attempts[card] = self._one_more(self._of(verifier))
        try:
            await self._keep(card, counted)
        except DatabaseFaultError as error:
            _log.error("an attempt at a PIN cannot be written down, so it is not checked", problem=str(error))
            return Found.UNCHECKED
        async with self._checking:
            right = await asyncio.to_thread(_matches, verifier.verifier, typed)
        if right is None:
            return Found.UNCHECKED
        if not right:
            return Found.LOCKED if counted.until > self._clock.now_ms() else Found.WRONG
        self._attempts.pop(card, None)
        try:
            await self._keep(card, None)
        except DatabaseFaultError as error:
            _log.error("a right PIN could not be written down; the next wrong one counts too many", problem=str(error))
        return Found.RIGHT

    def wipe(self) -> None:
        """Forget everything, after this reader was revoked."""
        self._attempts.clear()

    def _of(self, verifier: PinVerifier) -> Attempts:
        kept = self._attempts.get((verifier.tenant, verifier.index, verifier.tag))
        fresh = Attempts(version=verifier.version)
        return kept if kept is not None and kept.version >= verifier.version else fresh

    def _one_more(self, before: Attempts) -> Attempts:
        wrong = before.wrong + 1
        if wrong < ATTEMPTS:
            return msgspec.structs.replace(before, wrong=wrong)
        lock = min(FIRST_LOCK_MS << min(before.locks, 16), MOST_LOCK_MS)
        return msgspec.structs.replace(before, wrong=0, locks=before.locks + 1, until=self._clock.now_ms() + lock)

    async def _keep(self, card: CardKey, attempts: Attempts | None) -> None:
        body = None if attempts is None else msgspec.json.encode(attempts)
        await self._journal.keep_attempts("{}/{}/{}".format(*card), body)


def _matches(verifier: str, typed: Typed) -> bool | None:
    """Whether typed digits are those of a verifier; None if that cannot be found out. Never raises."""
    try:
        Argon2id.verify_phc_encoded(bytes(typed.octets()), verifier)
    except InvalidKey:
        return False
    except (ValueError, TypeError, MemoryError, UnsupportedAlgorithm) as error:
        # By its kind only: a message might quote what it was given.
        _log.error("a PIN could not be checked", problem=type(error).__name__)
        return None
    return True
