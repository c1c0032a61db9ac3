"""Octets of an NDEF message to octets of a credential (NFC Forum NDEF 1.0, RTD Text 1.0, RTD URI 1.0).

Only what a card of ours may hold is taken: a MIME record ``application/vnd.rescard+...``, a URI, or a text.
Values stay octets throughout: percent-decoding a URI here would break a signed link.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardware.errors import CardError

MIME_PREFIX = b"application/vnd.rescard+"
"""``+jwt`` today, other encodings of the same claims later; which one it is shows in the octets."""

MAX_RECORDS = 16
"""Records looked at; a card of ours has one or two."""

_MB, _ME, _CF, _SR, _IL = 0x80, 0x40, 0x20, 0x10, 0x08
_TNF_MASK = 0x07
_EMPTY, _WELL_KNOWN, _MIME = 0, 1, 2
_UTF16, _LANGUAGE_MASK = 0x80, 0x3F

# RTD URI 1.0, table 3: what the first octet of a URI record stands for.
_URI_PREFIXES = (
    b"", b"http://www.", b"https://www.", b"http://", b"https://", b"tel:", b"mailto:",
    b"ftp://anonymous:anonymous@", b"ftp://ftp.", b"ftps://", b"sftp://", b"smb://", b"nfs://", b"ftp://",
    b"dav://", b"news:", b"telnet://", b"imap:", b"rtsp://", b"urn:", b"pop:", b"sip:", b"sips:", b"tftp:",
    b"btspp://", b"btl2cap://", b"btgoep://", b"tcpobex://", b"irdaobex://", b"file://", b"urn:epc:id:",
    b"urn:epc:tag:", b"urn:epc:pat:", b"urn:epc:raw:", b"urn:epc:", b"urn:nfc:",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record: type name format (0 to 7), type and payload."""

    tnf: int
    type: bytes
    payload: bytes


def parse(message: bytes) -> list[Record]:
    """Split a message into its records.

    Raises ``CardError`` for anything but a well-formed message of 1 to 16 records, unchunked.
    """
    records: list[Record] = []
    rest = message
    ended = False
    while rest:
        if ended:
            raise CardError("octets follow the end of the NDEF message")
        if len(records) == MAX_RECORDS:
            raise CardError(f"more than {MAX_RECORDS} NDEF records")
        flags = rest[0]
        if bool(flags & _MB) != (not records):
            raise CardError("the NDEF message does not begin where it should")
        if flags & _CF:
            raise CardError("chunked NDEF records are not taken")
        record, rest = _record(rest)
        records.append(record)
        ended = bool(flags & _ME)
    if not ended:
        raise CardError("the NDEF message does not end")
    return records


def _record(octets: bytes) -> tuple[Record, bytes]:
    flags = octets[0]
    length_size = 1 if flags & _SR else 4
    id_size = 1 if flags & _IL else 0
    header = 2 + length_size + id_size
    if len(octets) < header:
        raise CardError("an NDEF record is cut short")
    type_length = octets[1]
    payload_length = int.from_bytes(octets[2 : 2 + length_size], "big")
    id_length = octets[header - 1] if id_size else 0
    payload_at = header + type_length + id_length
    end = payload_at + payload_length
    if end > len(octets):
        raise CardError("an NDEF record is cut short")
    record = Record(tnf=flags & _TNF_MASK, type=octets[header : header + type_length], payload=octets[payload_at:end])
    return record, octets[end:]


def credential(message: bytes) -> bytes | None:
    """The octets of the credential in ``message``: our MIME record first, else the first URI or text.

    None where the message is well-formed and holds nothing of the kind. Raises ``CardError`` where it is not.
    """
    records = parse(message)
    for record in records:
        # Media types compare without case (RFC 2045, 5.1).
        if record.tnf == _MIME and record.type.lower().startswith(MIME_PREFIX) and record.payload:
            return record.payload
    for record in records:
        if record.tnf == _WELL_KNOWN and record.type in (b"U", b"T"):
            value = _uri(record.payload) if record.type == b"U" else _text(record.payload)
            if value:
                return value
    return None


def _uri(payload: bytes) -> bytes:
    if not payload:
        raise CardError("a URI record is empty")
    # Codes beyond the table are reserved and read as no prefix (RTD URI 1.0, 3.2.2).
    prefix = _URI_PREFIXES[payload[0]] if payload[0] < len(_URI_PREFIXES) else b""
    return prefix + payload[1:]


def _text(payload: bytes) -> bytes:
    if not payload:
        raise CardError("a text record is empty")
    if payload[0] & _UTF16:
        raise CardError("a text record in UTF-16 is not taken")
    start = 1 + (payload[0] & _LANGUAGE_MASK)
    if start > len(payload):
        raise CardError("a text record is cut short")
    return payload[start:]
