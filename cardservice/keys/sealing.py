"""Secrets sealed at rest in envelopes: AES-256-GCM (NIST SP 800-38D) under data keys, these under a key-encryption key.

::

    version (1) = 2 || id of the key-encryption key (8) || wrapped data key (60) || nonce (12) || ciphertext and tag

Each row carries all that is needed to open it, given the key-encryption key: nothing else has to be backed up with
it, a council can be moved to another database, and the key-encryption key can be changed row by row (``cardservice
keys rewrap``). What a row belongs to is authenticated with it, so that a row copied under another name does not open;
what kind of secret it is, with the data key. A process makes one data key for each kind and keeps those that it has
met, so that a token is asked seldom and one that goes away stops nothing that was opened before.

Version 1 was ``1 || nonce || ciphertext and tag`` under a key derived directly from a secret of the settings. It is
still read, never written.
"""

from __future__ import annotations

import asyncio
import os
import threading
from enum import Enum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cardservice.errors import UnsealError
from cardservice.keys.encryption import KeyEncryption
from cardservice.keys.token import ID_BYTES, NONCE_BYTES

VERSION_1: Final = b"\x01"
VERSION: Final = b"\x02"
DATA_KEY_BYTES: Final = 32
WRAPPED_BYTES: Final = NONCE_BYTES + DATA_KEY_BYTES + 16
HEAD_BYTES: Final = 1 + ID_BYTES + WRAPPED_BYTES
MAX_DATA_KEYS: Final = 512
"""Data keys remembered: one for each start of a process that sealed something; beyond it the memory begins again."""


class Sealed(Enum):
    """What is sealed, each kind under data keys of its own; the value is authenticated with them."""

    SIGNING_KEYS = b"rescard signing keys, version 1"
    REPLIES = b"rescard remembered replies, version 1"
    TENANT_SECRETS = b"rescard tenant secrets, version 1"
    PLATFORM_SECRETS = b"rescard platform secrets, version 1"


class Sealer:
    """Seals and unseals one kind of secret. Safe to use from several threads."""

    def __init__(self, encryption: KeyEncryption, what: Sealed) -> None:
        self._encryption = encryption
        self._what = what.value
        self._known: dict[bytes, AESGCM] = {}
        self._own: tuple[bytes, AESGCM] | None = None
        self._lock = threading.Lock()
        self._version_1 = [
            AESGCM(HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=what.value).derive(secret))
            for secret in encryption.secrets
        ]

    def open(self) -> None:
        """Make this process's data key now, so that :meth:`seal` asks no token later. Blocks.

        Raises:
            KeyTokenError: the token does not answer.
        """
        self._data_key()

    def seal(self, name: str, plain: bytes) -> bytes:
        """Seal what belongs to ``name``. The first time it may block; see :meth:`open` and :meth:`seal_aside`.

        Raises:
            KeyTokenError: the token does not answer.
        """
        head, aead = self._data_key()
        nonce = os.urandom(NONCE_BYTES)
        return head + nonce + aead.encrypt(nonce, plain, name.encode())

    def unseal(self, name: str, sealed: bytes) -> bytes:
        """The plain bytes back. May block where the data key was not met before; see :meth:`unseal_aside`.

        Raises:
            UnsealError: another key sealed it, under another name, or a bit of it was changed.
            KeyTokenError: the token does not answer.
        """
        if sealed.startswith(VERSION_1):
            return self._unseal_version_1(name, sealed)
        if not sealed.startswith(VERSION) or len(sealed) < HEAD_BYTES + NONCE_BYTES:
            raise UnsealError(name=name)
        head, nonce = sealed[:HEAD_BYTES], sealed[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES]
        try:
            return self._opened(name, head).decrypt(nonce, sealed[HEAD_BYTES + NONCE_BYTES :], name.encode())
        except (InvalidTag, ValueError) as error:
            raise UnsealError(name=name) from error

    async def seal_aside(self, name: str, plain: bytes) -> bytes:
        """As :meth:`seal`, in a thread where a token may have to be asked."""
        if self._own is not None or self._encryption.quick:
            return self.seal(name, plain)
        return await asyncio.to_thread(self.seal, name, plain)

    async def unseal_aside(self, name: str, sealed: bytes) -> bytes:
        """As :meth:`unseal`, in a thread where a token may have to be asked."""
        if sealed[:HEAD_BYTES] in self._known or self._encryption.quick:
            return self.unseal(name, sealed)
        return await asyncio.to_thread(self.unseal, name, sealed)

    def _data_key(self) -> tuple[bytes, AESGCM]:
        with self._lock:
            if self._own is None:
                data_key = AESGCM.generate_key(DATA_KEY_BYTES * 8)
                current = self._encryption.current
                head = VERSION + current.key_id + current.wrap(data_key, self._what)
                self._own = head, AESGCM(data_key)
                self._known[head] = self._own[1]
            return self._own

    def _opened(self, name: str, head: bytes) -> AESGCM:
        known = self._known.get(head)
        if known is not None:
            return known
        key_id = head[1 : 1 + ID_BYTES]
        key = self._encryption.by_id(key_id)
        if key is None:
            raise UnsealError(name=name, detail=f"no setting names its key-encryption key, {key_id.hex()}")
        data_key = key.unwrap(head[1 + ID_BYTES :], self._what)
        if data_key is None:
            raise UnsealError(name=name)
        aead = AESGCM(data_key)
        if len(self._known) >= MAX_DATA_KEYS:
            self._known = {} if self._own is None else dict([self._own])
        self._known[head] = aead
        return aead

    def _unseal_version_1(self, name: str, sealed: bytes) -> bytes:
        nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        for aead in self._version_1:
            try:
                return aead.decrypt(nonce, rest, name.encode())
            except (InvalidTag, ValueError):
                continue
        raise UnsealError(name=name)
