"""A file that only this reader can read: what it must keep for an offline restart and a thief of its disk image, backup
or card must not find in the clear.

AES-256-GCM (NIST SP 800-38D, 96-bit random nonce) under a key derived with HKDF-SHA256 (RFC 5869) from the reader's own
private key. Whoever has both files has both: it protects a copy of one of them, and a key that was rolled or wiped
makes the file worthless.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from readers.files import write_whole

MAGIC: Final = b"RSSEAL1\0"
NONCE_BYTES: Final = 12
SCALAR_BYTES: Final = 32
MAX_BYTES: Final = 256 << 20
"""A file larger than this was not written here: a million verifiers have a fifth of it."""
_INFO: Final = b"rescard reader sealed file 1"


class SealedFile:
    """One sealed file by its path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, key: ec.EllipticCurvePrivateKey, content: bytes) -> None:
        """Replace the file; mode 0600. Raises OSError: the old file is untouched."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(_derive(key)).encrypt(nonce, content, MAGIC)
        write_whole(self.path, [MAGIC, nonce, sealed], mode=0o600)

    def read(self, key: ec.EllipticCurvePrivateKey) -> bytes | None:
        """The content; None if there is no file.

        Raises:
            ValueError: damaged, or sealed under another key.
            OSError: it cannot be read.
        """
        try:
            if self.path.stat().st_size > MAX_BYTES:
                raise ValueError("it is larger than any that was written here")
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        if not raw.startswith(MAGIC):
            raise ValueError("it is no sealed file")
        body = raw[len(MAGIC) :]
        try:
            return AESGCM(_derive(key)).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], MAGIC)
        except (InvalidTag, ValueError):
            raise ValueError("it is damaged or was sealed under another key") from None

    def set_aside(self) -> Path:
        """Keep an unreadable file under another name; of several the last. Raises OSError."""
        aside = self.path.with_name(self.path.name + ".damaged")
        self.path.replace(aside)
        return aside

    def remove(self) -> None:
        """Delete the file and what was set aside."""
        self.path.unlink(missing_ok=True)
        self.path.with_name(self.path.name + ".damaged").unlink(missing_ok=True)


def reseal(path: Path, old: ec.EllipticCurvePrivateKey, new: ec.EllipticCurvePrivateKey) -> None:
    """Seal a file, if there is one, under a new key. Raises ValueError, OSError."""
    file = SealedFile(path)
    content = file.read(old)
    if content is not None:
        file.write(new, content)


def _derive(key: ec.EllipticCurvePrivateKey) -> bytes:
    scalar = key.private_numbers().private_value.to_bytes(SCALAR_BYTES, "big")
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_INFO).derive(scalar)
