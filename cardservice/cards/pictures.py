"""A code as a picture: QR (ISO/IEC 18004) as PNG or SVG."""

from __future__ import annotations

import io
from typing import Final

import qrcode
from qrcode.constants import ERROR_CORRECT_M
from qrcode.image.pil import PilImage
from qrcode.image.svg import SvgPathImage

QUIET_ZONE: Final = 4
"""Modules of white around the code (ISO/IEC 18004 section 6.3.8); less and cameras miss it."""


def qr_png(text: str, scale: int) -> bytes:
    """PNG with ``scale`` whole pixels a module, error correction M. Slow (tens of ms): call it in a thread."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_M, border=QUIET_ZONE, box_size=scale)
    code.add_data(text)
    target = io.BytesIO()
    code.make_image(image_factory=PilImage).save(target, format="PNG")
    return target.getvalue()


def qr_svg(text: str, scale: int) -> bytes:
    """SVG with one path, ``scale`` tenths of a millimetre a module, error correction M."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_M, border=QUIET_ZONE, box_size=scale)
    code.add_data(text)
    target = io.BytesIO()
    code.make_image(image_factory=SvgPathImage).save(target)
    return target.getvalue()
