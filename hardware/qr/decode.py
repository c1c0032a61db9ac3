"""One JPEG frame to the QR codes in it. Blocking: 5 to 30 ms of a core for a frame of 1280 x 720."""

from __future__ import annotations

import io

import numpy
import zxingcpp
from numpy.typing import NDArray
from PIL import Image

from hardware.interfaces import MAX_PRESENTED_BYTES

MAX_PIXELS = 3840 * 2160
"""A larger picture is not decoded: JPEG can blow 100 kB up to gigabytes."""

ENLARGED = 2
"""Times by which a frame is enlarged in which a code was found and not read. It costs some 30 ms, so only then."""

MAX_CODES = 4
"""Codes taken from one frame, largest first: the card held up is nearer than the poster behind it."""


def decode_qr(jpeg: bytes) -> list[bytes]:
    """The octets of the QR codes in the picture, largest first; none for a picture that cannot be read.

    Only QR: the more formats, the slower, and the more a pattern on a jumper can be mistaken for a code.
    """
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return []
            # The decoder delivers the luma that the JPEG holds anyway, without a conversion to RGB and back.
            picture.draft("L", picture.size)
            grey = numpy.asarray(picture.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        # Pillow raises each of these for one kind of broken file or another.
        return []
    # Made here: one kept in a module that outlives the interpreter's clearing up is told on stderr as a leak.
    qr_only = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
    found = zxingcpp.read_barcodes(grey, formats=qr_only, return_errors=True)
    if found and not any(code.valid for code in found) and grey.size * ENLARGED * ENLARGED <= MAX_PIXELS:
        # A code is there and cannot be read: too far away, most often. Enlarged, its modules are told apart better.
        found = zxingcpp.read_barcodes(_enlarged(grey), formats=qr_only)
    found.sort(key=_area, reverse=True)
    octets = [code.bytes for code in found if code.valid]
    return [data for data in octets[:MAX_CODES] if 0 < len(data) <= MAX_PRESENTED_BYTES]


def _enlarged(grey: NDArray[numpy.uint8]) -> NDArray[numpy.uint8]:
    picture = Image.fromarray(grey)
    size = (picture.width * ENLARGED, picture.height * ENLARGED)
    return numpy.asarray(picture.resize(size, Image.Resampling.BICUBIC))


def _area(code: zxingcpp.Barcode) -> float:
    """Twice the area of the code in square pixels (shoelace formula)."""
    place = code.position
    corners = (place.top_left, place.top_right, place.bottom_right, place.bottom_left)
    following = (*corners[1:], corners[0])
    return abs(sum(a.x * b.y - b.x * a.y for a, b in zip(corners, following, strict=True)))
