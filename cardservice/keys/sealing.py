"""Secrets sealed at rest: AES-256-GCM (NIST SP 800-38D) under keys derived by HKDF (RFC 5869) from one secret.

Sealed bytes are ``version (1) || nonce (12) || ciphertext and tag``. What they belong to is authenticated with them, so
that a row copied under another name does not open.
"""

from __future__ import annotations

import os
from enum import Enum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cardservice.errors import UnsealError

VERSION: Final = b"\x01"
NONCE_BYTES: Final = 12
"""The nonce size of GCM. Random ones are safe for 2**32 uses of a key (SP 800-38D section 8.3)."""


class Sealed(Enum):
    """What is sealed, each under a key of its own; the value is the ``info`` of HKDF."""

    SIGNING_KEYS = b"rescard signing keys, version 1"
    REPLIES = b"rescard remembered replies, version 1"


class Sealer:
    """Seals and unseals one kind of secret.

    :param secret: of the settings, at least 32 bytes.
    """

    def __init__(self, secret: bytes, what: Sealed) -> None:
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=what.value).derive(secret)
        self._aead = AESGCM(derived)

    def seal(self, name: str, plain: bytes) -> bytes:
        """Seal what belongs to ``name``."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._aead.encrypt(nonce, plain, name.encode())

    def unseal(self, name: str, sealed: bytes) -> bytes:
        """The plain bytes back.

        Raises:
            UnsealError: another secret sealed it, under another name, or a bit of it was changed.
        """
        if not sealed.startswith(VERSION):
            raise UnsealError(name=name)
        nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, rest, name.encode())
        except (InvalidTag, ValueError) as error:
            raise UnsealError(name=name) from error
