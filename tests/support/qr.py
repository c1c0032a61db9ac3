"""What a scanner reads from a picture."""

from __future__ import annotations

from typing import Any, Final

import zxingcpp

_ONLY: Final = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2)
"""Among the modules of a QR code another kind of code is found now and then that nobody drew."""


def read_qr(picture: Any) -> zxingcpp.Barcode:
    """The one QR code of a picture, which is an image of Pillow or an array of grey levels."""
    (found,) = zxingcpp.read_barcodes(picture, formats=_ONLY)
    return found
