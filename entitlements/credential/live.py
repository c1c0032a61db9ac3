"""The live code of a phone (``RC1:``): the card's CWT, and a signature made seconds ago with the phone's own key.

::

    RC1:Base45( signature, 64 bytes r || s  ||  iat, 8 bytes big-endian, seconds since the epoch  ||  CWT of the card )

The phone signs ``"RC1-presentation" NUL SHA-256(CWT) iat`` with ES256. Nothing secret leaves it, so a photograph of the
code is good for seconds only.
"""

from __future__ import annotations

import hashlib
from typing import Final

from entitlements.credential.base45 import b45_encode
from entitlements.credential.es256 import SIGNATURE_BYTES

LIVE_PREFIX: Final = b"RC1:"
IAT_BYTES: Final = 8
_PURPOSE: Final = b"RC1-presentation\x00"


def live_message(cwt: bytes, iat: int) -> bytes:
    """What the phone signs for this card at this second.

    :param cwt: the card as CWT, exactly the bytes that will be shown.
    :param iat: seconds since the epoch.
    """
    return _PURPOSE + hashlib.sha256(cwt).digest() + iat.to_bytes(IAT_BYTES, "big")


def live_text(cwt: bytes, iat: int, signature: bytes) -> str:
    """The text of a live code.

    :param signature: 64 bytes r || s over :func:`live_message`, as WebCrypto and :func:`sign_message` give it.
    :raises ValueError: if the signature has another length.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise ValueError(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    return (LIVE_PREFIX + b45_encode(signature + iat.to_bytes(IAT_BYTES, "big") + cwt)).decode("ascii")
