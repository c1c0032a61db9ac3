"""What this site keeps secret: masters of rotating codes and chips, verifiers of PINs; only if its services need them.

Pulled at the start, when the stream's beat names another page, and every few minutes; kept sealed on disk for a restart
without network; dropped as soon as the service says that the site needs none, and when this reader is revoked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from entitlements.credential.claims import CardClaims, Channel
from entitlements.credential.errors import CredentialError
from entitlements.credential.sitesecrets import NO_SECRETS, SiteSecrets
from entitlements.model import CardId, CardIndex, Instant, TenantId
from entitlements.wire.feed import encode
from entitlements.wire.secrets import UID_HASH_BYTES, PinVerifier, SecretsPage, UidCard, decode_secrets, octets
from readers.backoff import Backoff
from readers.client import ServiceClient
from readers.errors import (
    IdentityError,
    ReaderRevokedError,
    ServiceError,
    ServiceRefusedError,
    ServiceUnreachableError,
)
from readers.identity import Identity
from readers.sealed import SealedFile

SECRETS_FILE: Final = "secrets.sealed"
PULL_SECONDS: Final = 300.0
"""How often the page is asked for anyway: a beat is a hint, state is pulled."""
MOST_SECONDS: Final = 60.0
"""Longest wait after a failure."""

CardKey = tuple[str, int, int]
"""Council, index and tag of a card."""

_log = structlog.get_logger(__name__)


class SecretsKeeper:
    """Holds the newest page that was good. :meth:`run` keeps it up to date."""

    def __init__(
        self, identity: Identity, client: ServiceClient, folder: Path, *, on_change: Callable[[SiteSecrets], None]
    ) -> None:
        self.site = NO_SECRETS
        self.problem: str | None = None
        """Why the page in use may be out of date, in plain words."""
        self._identity = identity
        self._client = client
        self._file = SealedFile(folder / SECRETS_FILE)
        self._on_change = on_change
        self.tag: str | None = None
        """Name of the page in use."""
        self._pins: dict[CardKey, PinVerifier] = {}
        self._pin_tenants: frozenset[str] = frozenset()
        self._hint = asyncio.Event()
        self._turn = asyncio.Lock()

    def verifier(self, card: CardKey) -> PinVerifier | None:
        """By what the PIN of a card is checked; None where the card has none or nothing is known of it."""
        return self._pins.get(card)

    def knows_pins_of(self, tenant: str) -> bool:
        """Whether a card of this council without a verifier has no PIN."""
        return tenant in self._pin_tenants

    async def load(self) -> None:
        """Take up what is on disk. A file that cannot be used is set aside and the page pulled anew."""
        try:
            content = await asyncio.to_thread(self._file.read, self._identity.key)
            if content is not None:
                self._take(decode_secrets(content))
        except ValueError as error:
            _log.error("the site's secrets on disk cannot be used; they are pulled anew", problem=_words(error))
            try:
                self._file.set_aside()
            except OSError as aside:
                _log.error("the file cannot be set aside", problem=str(aside))
        except OSError as error:
            _log.error("the site's secrets on disk cannot be read; they are pulled anew", problem=str(error))

    def hint(self, tag: str | None) -> None:
        """The service says which page this reader should hold; None says nothing."""
        if tag is not None and tag != self.tag:
            self._hint.set()

    async def refresh(self) -> None:
        """Pull the page if it is another than ours; one pull at a time.

        Raises:
            ServiceError, IdentityError: the last good page stays in use.
        """
        async with self._turn:
            await self._pull()

    async def _pull(self) -> None:
        page = await self._client.secrets(self.tag)
        if page is None:
            self.problem = None
            return
        try:
            self._take(page)
        except CredentialError as error:
            self.problem = f"the secrets that the service sent cannot be used: {error}"
            _log.error("the secrets that the service sent cannot be used; the last good ones stay", problem=str(error))
            return
        self.problem = None
        _log.info("the site's secrets were brought up to date", pins=len(self._pins), needed=not page.empty)
        try:
            if page.empty:
                await asyncio.to_thread(self._file.remove)
            else:
                await asyncio.to_thread(self._file.write, self._identity.key, encode(page))
        except OSError as error:
            self.problem = f"the site's secrets cannot be kept for a restart without network: {error}"
            _log.error("the site's secrets cannot be written to disk", problem=str(error))

    async def run(self) -> None:
        """Keep the page up to date until cancelled.

        Raises:
            ReaderRevokedError: this reader may not have it any more.
        """
        backoff = Backoff(first_seconds=0.5, most_seconds=MOST_SECONDS)
        while True:
            self._hint.clear()
            wait = PULL_SECONDS
            try:
                await self.refresh()
                backoff.reset()
            except ReaderRevokedError:
                raise
            except (ServiceError, IdentityError) as error:
                # An older service has no such call, and then no service of its sites needs it.
                if not (isinstance(error, ServiceRefusedError) and error.status == 404):
                    wait = backoff.next()
                    if not isinstance(error, ServiceUnreachableError):
                        _log.warning("the site's secrets could not be brought up to date", problem=str(error))
            try:
                async with asyncio.timeout(wait):
                    await self._hint.wait()
            except TimeoutError:
                pass

    def wipe(self) -> None:
        """Forget everything, after this reader was revoked."""
        self.tag, self._pins, self._pin_tenants = None, {}, frozenset()
        self.site = NO_SECRETS
        self._file.remove()
        self._on_change(self.site)

    def _take(self, page: SecretsPage) -> None:
        """Use a page. Raises CredentialError: nothing has changed."""
        self.site = SiteSecrets(
            totp=page.totp_masters(),
            chip=page.chip_masters(),
            uid_keys=page.uid_masters(),
            uids={octets(card.uid_hash, UID_HASH_BYTES): _claims(card) for card in page.uids},
        )
        self.tag = page.tag
        self._pins = {(pin.tenant, pin.index, pin.tag): pin for pin in page.pins}
        self._pin_tenants = frozenset(page.pin_tenants)
        self._on_change(self.site)


def _claims(card: UidCard) -> CardClaims:
    """What the service says of a card that cannot say it itself. Raises CredentialError."""
    return CardClaims(
        issuer=TenantId(card.tenant),
        card_id=CardId(card.card_id),
        index=CardIndex(card.index),
        issued_at=Instant(card.issued_at),
        expires_at=Instant(card.expires_at),
        issue_number=card.issue_number,
        channel=Channel.CHIP,
    )


def _words(error: Exception) -> str:
    """What is wrong, without a word of the content."""
    return "it cannot be decoded" if isinstance(error, msgspec.DecodeError) else str(error)
