"""Secrets of councils that readers must hold to read some cards, and which reader is given what."""
