"""Keypads that send one ASCII character a key, on a serial line or behind a serial-to-network box."""
