"""Who this reader is: its own key, what enrolment gave it, and the trust anchors of its feeds.

The key is made here and never leaves the machine. Files are written whole with mode 0600; a key that others may read
is refused rather than used.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from entitlements.credential.errors import InvalidKeyError
from entitlements.credential.es256 import (
    generate_private_key,
    private_key_from_pem,
    private_key_to_pem,
    public_key_to_jwk,
    thumbprint,
)
from entitlements.credential.keys import KeySet
from entitlements.model import TenantId
from entitlements.wire.feed import Site
from readers.errors import IdentityError
from readers.files import sync_folder, write_whole

KEY_FILE: Final = "reader-key.pem"
NEXT_KEY_FILE: Final = "reader-key.next.pem"
ENROLMENT_FILE: Final = "enrolment.json"
CACHE_KEY_FILE: Final = "cache.key"
CACHE_KEY_BYTES: Final = 32
FEEDS_FOLDER: Final = "feeds"

_log = structlog.get_logger(__name__)


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What the service said at enrolment or later by ``GET /v1/reader/site``.

    ``feeds`` are names ``tenant/area``, ``feed_keys`` the JWKS by tenant that sign manifests, ``lanes`` the site as the
    service last described it (None until it did).
    """

    reader_id: str
    tenant: str
    site: str
    feeds: tuple[str, ...]
    feed_keys: dict[str, dict[str, Any]]
    lanes: Site | None = None


class Identity:
    """The reader's key and enrolment in one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._enrolment: Enrolment | None = None

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The reader's private key, made at the first call if there is none.

        Raises:
            IdentityError: the file is damaged, readable by others, or cannot be written.
        """
        if self._key is None:
            path = self.folder / KEY_FILE
            self._key = self._read_key(path) if path.exists() else self._make_key(path)
        return self._key

    @property
    def cache_key(self) -> bytes:
        """By what this reader knows its own cache files and journal again; made at the first call if there is none.

        Not the reader's signing key, which is rolled: after that everything would have to be fetched anew. A file that
        is missing or damaged costs just that.

        Raises:
            IdentityError: the file is readable by others, or cannot be read or written.
        """
        path = self.folder / CACHE_KEY_FILE
        try:
            if path.exists():
                _refuse_readable(path, "delete it: it is made anew, and the caches with it")
                key = path.read_bytes()
                if len(key) == CACHE_KEY_BYTES:
                    return key
            key = os.urandom(CACHE_KEY_BYTES)
            write_whole(path, [key], mode=0o600)
        except OSError as error:
            raise IdentityError(path, f"cannot be read or written: {error}") from error
        return key

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public half as a JWK (RFC 7517)."""
        return public_key_to_jwk(self.key.public_key())

    @property
    def thumbprint(self) -> str:
        """SHA-256 thumbprint of the key (RFC 7638)."""
        return thumbprint(self.key.public_key())

    @property
    def enrolment(self) -> Enrolment | None:
        """What enrolment gave; None if the reader is not enrolled.

        Raises:
            IdentityError: the file is damaged.
        """
        if self._enrolment is None:
            path = self.folder / ENROLMENT_FILE
            try:
                self._enrolment = msgspec.json.decode(path.read_bytes(), type=Enrolment)
            except FileNotFoundError:
                return None
            except (OSError, msgspec.DecodeError) as error:
                raise IdentityError(path, f"cannot be read ({error}); enrol this reader anew") from error
        return self._enrolment

    def accept(self, enrolment: Enrolment) -> None:
        """Keep an enrolment, after its trust anchors were found to be keys.

        Raises:
            IdentityError: a key set is not in order, or it cannot be written.
        """
        path = self.folder / ENROLMENT_FILE
        for tenant, jwks in enrolment.feed_keys.items():
            try:
                KeySet.from_jwks(TenantId(tenant), jwks)
            except InvalidKeyError as error:
                raise IdentityError(path, f"the feed keys of {tenant} cannot be used: {error}") from error
        if enrolment == self.enrolment:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, [msgspec.json.format(msgspec.json.encode(enrolment))])
        except OSError as error:
            raise IdentityError(path, f"cannot be written: {error}") from error
        self._enrolment = enrolment

    def feed_keys(self, tenant: str) -> KeySet:
        """The keys that may sign manifests of a tenant; empty if none were given."""
        enrolment = self.enrolment
        jwks = None if enrolment is None else enrolment.feed_keys.get(tenant)
        return KeySet() if jwks is None else KeySet.from_jwks(TenantId(tenant), jwks)

    def next_key(self) -> tuple[ec.EllipticCurvePrivateKey, bool]:
        """The key to roll over to, and whether it is left from a roll whose reply never came. Raises IdentityError."""
        path = self.folder / NEXT_KEY_FILE
        left = path.exists()
        return (self._read_key(path) if left else self._make_key(path)), left

    def roll(self) -> None:
        """Go over to the next key, after the service accepted it. Raises IdentityError."""
        path = self.folder / NEXT_KEY_FILE
        key = self._read_key(path)
        try:
            path.replace(self.folder / KEY_FILE)
            sync_folder(self.folder)
        except OSError as error:
            raise IdentityError(path, f"cannot be put in place: {error}") from error
        self._key = key

    def wipe(self) -> None:
        """Forget keys, enrolment and every cache, after this reader was revoked. Taps not uploaded stay."""
        for name in (KEY_FILE, NEXT_KEY_FILE, ENROLMENT_FILE, CACHE_KEY_FILE):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / FEEDS_FOLDER, ignore_errors=True)
        self._key = self._enrolment = None
        _log.critical("this reader was revoked: its key and caches are wiped; its lanes refer everybody to staff")

    def _make_key(self, path: Path) -> ec.EllipticCurvePrivateKey:
        key = generate_private_key()
        self._write_key(path, key)
        _log.info("a key was made for this reader", path=str(path))
        return key

    def _write_key(self, path: Path, key: ec.EllipticCurvePrivateKey) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, [private_key_to_pem(key)], mode=0o600)
        except OSError as error:
            raise IdentityError(path, f"cannot be written: {error}") from error

    @staticmethod
    def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
        try:
            _refuse_readable(path, "set 0600 and enrol this reader anew")
            return private_key_from_pem(path.read_bytes())
        except (OSError, InvalidKeyError) as error:
            raise IdentityError(path, f"cannot be used ({error}); enrol this reader anew") from error


def _refuse_readable(path: Path, advice: str) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise IdentityError(path, f"others may read it (mode {mode:04o}); {advice}")
