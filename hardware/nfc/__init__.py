"""NFC readers and the dialogues with cards."""
