"""What a scanner reads from a picture."""

from __future__ import annotations

from typing import Any

import zxingcpp


def read_qr(picture: Any) -> zxingcpp.Barcode:
    """The one QR code of a picture, which is an image of Pillow or an array of grey levels.

    Among its modules another kind of code is found now and then that nobody drew: that is not looked for.
    """
    (found,) = zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2))
    return found
