"""QR codes seen by cameras."""
