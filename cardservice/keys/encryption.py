"""The key-encryption keys of the settings: one that seals, and others that may still open what they sealed.

A secret of the settings (a text, or a file) becomes a key by HKDF (RFC 5869); or the key is on a PKCS#11 token. Each is
known by 8 bytes that stand in whatever it sealed, so that it can be changed while the service runs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Final, Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cardservice.errors import KeyTokenError, SettingError
from cardservice.keys.token import CHECKED, ID_BYTES, NONCE_BYTES, TokenKey
from cardservice.settings import PREFIX, KeyPlace, Settings

_INFO: Final = b"rescard key-encryption key, version 2"


class KeyEncryptionKey(Protocol):
    """Wraps data keys of 32 bytes."""

    @property
    def key_id(self) -> bytes:
        """8 bytes that tell it from others."""
        ...

    def wrap(self, data_key: bytes, what: bytes) -> bytes:
        """60 bytes: ``nonce (12) || ciphertext (32) || tag (16)``, with ``what`` authenticated."""
        ...

    def unwrap(self, wrapped: bytes, what: bytes) -> bytes | None:
        """The data key, or ``None`` where the bytes were altered."""
        ...


class SecretKey:
    """A key-encryption key made from a secret of at least 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_INFO).derive(secret)
        self._aead = AESGCM(derived)
        self.key_id = self._aead.encrypt(bytes(NONCE_BYTES), CHECKED, b"")[:ID_BYTES]

    def wrap(self, data_key: bytes, what: bytes) -> bytes:
        """As :class:`KeyEncryptionKey`."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data_key, what)

    def unwrap(self, wrapped: bytes, what: bytes) -> bytes | None:
        """As :class:`KeyEncryptionKey`."""
        try:
            return self._aead.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], what)
        except (InvalidTag, ValueError):
            return None


class KeyEncryption:
    """All key-encryption keys of a process. Those on tokens are asked for at :meth:`open` or at their first use."""

    def __init__(self, current: KeyEncryptionKey, old: Sequence[KeyEncryptionKey] = ()) -> None:
        self.current = current
        self._every = (current, *old)
        self._by_id: dict[bytes, KeyEncryptionKey] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The keys that the settings name; no token is asked yet.

        Raises:
            SettingError: none or several are named to seal with, or a secret cannot be read or is too short.
        """
        named = settings.key_places()
        if not named:
            raise SettingError(
                setting=f"{PREFIX}KEY_ENCRYPTION_KEY",
                detail="set it, or RESCARD_KEY_ENCRYPTION_KEY_FILE, or RESCARD_KEY_ENCRYPTION_TOKEN",
            )
        if len(named) > 1:
            raise SettingError(setting=named[1].setting, detail=f"{named[0].setting} is set as well; set one of them")
        return cls(_key(named[0]), [_key(place) for place in settings.key_places(old=True)])

    @property
    def secrets(self) -> Sequence[bytes]:
        """Secrets of the settings, the current one first: what was sealed in version 1 is sealed under one of them."""
        return [key.secret for key in self._every if isinstance(key, SecretKey)]

    @property
    def quick(self) -> bool:
        """Whether no token has to be asked, so that nothing here blocks."""
        return all(isinstance(key, SecretKey) for key in self._every)

    def open(self) -> None:
        """Ask every token once. Blocks.

        Raises:
            SettingError: a token does not answer, does not let us in, or lacks the key; names the setting.
        """
        try:
            self.by_id(self.current.key_id)
        except KeyTokenError as error:
            raise SettingError(setting=error.setting, detail=f"the token {error.token}: {error.detail}") from error

    def by_id(self, key_id: bytes) -> KeyEncryptionKey | None:
        """The key with this id, or ``None``. May block.

        Raises:
            KeyTokenError: a token does not answer.
        """
        with self._lock:
            if not self._by_id:
                # The current one last: where two settings name the same key, that is the one.
                self._by_id = {key.key_id: key for key in reversed(self._every)}
            return self._by_id.get(key_id)


def _key(place: KeyPlace) -> KeyEncryptionKey:
    if place.token is not None:
        return TokenKey(place.token, place.setting)
    return SecretKey(place.secret)
