"""PINs: chosen by people at the desk, checked at gates by a verifier, known to nobody."""
