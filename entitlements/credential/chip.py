"""A card on an NTAG 424 DNA chip: a link that the chip writes anew each time it is read.

``https://ADDRESS#RN1:CARD.PICC.MAC``, where CARD is the council's signed card (CWT, base64url), PICC the chip's serial
number and counter, encrypted, and MAC covers everything from ``RN1:`` up to itself (32 and 16 capital hex digits; see
:mod:`entitlements.credential.sun`). The signature says whose card it is, offline and without a list of chips; the MAC
says that this very chip was read, since its key is the chip's own and the card is part of what it covers; the counter
says that it was read now and not before. Everything after ``#`` stays in the phone that follows the link.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from entitlements.credential.claims import (
    BAD_CLAIMS,
    BAD_SIGNATURE,
    CardForm,
    Channel,
    Refused,
    VerifiedCard,
)
from entitlements.credential.encoding import b64url_decode, b64url_encode
from entitlements.credential.errors import AddressTooLongError, InvalidEncodingError
from entitlements.credential.sitesecrets import SiteSecrets
from entitlements.credential.sun import (
    MAC_BYTES,
    PICC_BYTES,
    UID_BYTES,
    PiccData,
    decrypt_picc,
    diversify,
    mac_matches,
)
from entitlements.credential.uid import NOT_READ_FROM_A_CHIP
from entitlements.model import Reason

CHIP_SCHEMES: Final = (b"https://", b"http://")
"""``http`` only so that a demonstration needs no certificate: nothing in the link rests on the web."""
CHIP_MEDIA: Final = "nfc"
MARK: Final = b"RN1:"
"""Resident's NFC card, first version: what makes a link a card."""
MAX_CHIP_CHARS: Final = 256 + 8
"""No link out of the chip's file is longer, with what one code of a URI record stands for."""
FILE_BYTES: Final = 256
"""The chip's NDEF file, with the two bytes of its length (data sheet section 8.2.3)."""
NDEF_FILE: Final = 2
KEY_COUNT: Final = 5
META_KEY: Final = 1
"""Number of the key that encrypts PICCData: one for all chips of a master, since it must be used before the serial
number is known. Whoever learns it can tell chips apart, and nothing else."""
FILE_KEY: Final = 2
"""Number of the key of the MAC, the chip's own."""

_APPLICATION: Final = bytes.fromhex("D2760000850101")
_ALL_CHIPS: Final = bytes(UID_BYTES)
_URI_CODES: Final = {"http://": b"\x03", "https://": b"\x04"}
"""RTD URI 1.0, table 3."""
_MESSAGE: Final = re.compile(rb"https?://[!\"$-~]{1,96}#(RN1:([A-Za-z0-9_-]{16,240})\.([0-9A-F]{32})\.)([0-9A-F]{16})")
_ADDRESS: Final = re.compile(r"https?://[!\"$-~]{1,96}")

NOT_A_CHIP: Final = Refused(reason=Reason.PRESENTATION_NOT_ACCEPTED, detail="not a card code")
NO_MASTERS: Final = Refused(
    reason=Reason.PRESENTATION_NOT_ACCEPTED, detail="no service of this site takes chips, so it holds no keys for them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipTemplate:
    """What a personalisation station writes into a chip, beside its keys.

    :param file: content of the NDEF file (number 2) from its first byte, with zeros where the chip will write.
    :param settings: data of ``ChangeFileSettings`` for that file (data sheet section 10.7.1).
    :param picc_offset: where in the file PICC begins; the others likewise.
    """

    file: bytes
    settings: bytes
    picc_offset: int
    mac_input_offset: int
    mac_offset: int


def chip_template(address: str, cwt: bytes) -> ChipTemplate:
    """Lay out the file of one chip.

    :param address: where the link leads a phone, ``https://...`` without a fragment.
    :param cwt: the signed card, of channel chip.
    :raises AddressTooLongError: if it does not fit.
    :raises ValueError: if the address is none.
    """
    if _ADDRESS.fullmatch(address) is None:
        raise ValueError("an address is http(s)://, then 1 to 96 printable characters without #")
    scheme = address[: address.index("//") + 2]
    head = _URI_CODES[scheme] + address[len(scheme) :].encode("ascii") + b"#"
    card = MARK + b64url_encode(cwt) + b"."
    payload = head + card + b"0" * (2 * PICC_BYTES) + b"." + b"0" * (2 * MAC_BYTES)
    record = b"\xd1\x01" + bytes([len(payload) & 0xFF]) + b"U" + payload
    file = len(record).to_bytes(2, "big") + record
    if len(file) > FILE_BYTES:
        raise AddressTooLongError(len(file) - FILE_BYTES)
    covered = len(file) - len(payload) + len(head)
    picc = covered + len(card)
    mac = picc + 2 * PICC_BYTES + 1
    offsets = b"".join(offset.to_bytes(3, "little") for offset in (picc, covered, mac))
    return ChipTemplate(
        file=file, settings=_SETTINGS + offsets, picc_offset=picc, mac_input_offset=covered, mac_offset=mac
    )


_SETTINGS: Final = bytes(
    [
        0x40,  # FileOption: secure dynamic messaging on, plain communication
        0x00,  # AccessRights: read-write and change with key 0,
        0xE0,  # read free, write with key 0
        0xC1,  # SDMOptions: mirror serial number and counter, as text
        0xFF,  # SDMAccessRights: nobody may ask for the counter by itself,
        META_KEY << 4 | FILE_KEY,
    ]
)


def meta_key(master: bytes) -> bytes:
    """SDMMetaReadKey of every chip of this master, 16 bytes (AN10922)."""
    return diversify(master, _ALL_CHIPS + _APPLICATION + bytes([META_KEY]) + MARK[:3])


def chip_key(master: bytes, uid: bytes, number: int) -> bytes:
    """Key of one chip, 16 bytes (AN10922), of its serial number, the application, the key's number and ``RN1``.

    :param uid: 7 bytes.
    :param number: 0 to 4; number 1 is :func:`meta_key` for every chip.
    """
    if len(uid) != UID_BYTES or not 0 <= number < KEY_COUNT:
        raise ValueError(f"a chip has a serial number of {UID_BYTES} bytes and {KEY_COUNT} keys")
    if number == META_KEY:
        return meta_key(master)
    return diversify(master, uid + _APPLICATION + bytes([number]) + MARK[:3])


def verify_chip(
    data: bytes, media: str, verify_card: Callable[[bytes, bytes], VerifiedCard | Refused], secrets: SiteSecrets
) -> VerifiedCard | Refused:
    """Verify what a chip showed. Never raises, whatever the bytes are.

    The caller still has to see that ``sequence``, the counter, is greater than any before it of this card.

    :param data: the link, as octets: nothing in it may be decoded on the way.
    :param media: how the reader got it; one that did not come over NFC is refused, whatever it says.
    :param verify_card: judges the card in the link: gets the bytes of its CWT and their SHA-256.
    :param secrets: with the masters of the issuer; without, no chip is accepted.
    """
    found = _MESSAGE.fullmatch(data)
    if found is None:
        return BAD_SIGNATURE if b"#" + MARK in data[:MAX_CHIP_CHARS] else NOT_A_CHIP
    if not media.startswith(CHIP_MEDIA):
        return NOT_READ_FROM_A_CHIP
    covered, card_text, picc_text, mac_text = found.groups()
    try:
        cwt = b64url_decode(card_text)
    except InvalidEncodingError:
        return BAD_SIGNATURE
    card = verify_card(cwt, hashlib.sha256(cwt).digest())
    if not isinstance(card, VerifiedCard):
        return card
    masters = secrets.chip.get(card.claims.issuer, ())
    if not masters:
        return NO_MASTERS
    encrypted, mac = bytes.fromhex(picc_text.decode()), bytes.fromhex(mac_text.decode())
    read: PiccData | None = None
    for master in masters:
        picc = decrypt_picc(meta_key(master), encrypted)
        if picc is not None and mac_matches(chip_key(master, picc.uid, FILE_KEY), picc, covered, mac):
            read = picc
    if read is None:
        return BAD_SIGNATURE
    if card.claims.channel is not Channel.CHIP:
        return BAD_CLAIMS
    return VerifiedCard(
        claims=card.claims,
        form=CardForm.CHIP,
        kid=card.kid,
        digest=card.digest,
        presentation=Channel.CHIP,
        sequence=read.counter,
    )
