"""The fault suite: whole systems under seeded kills, cuts and power failures. ``python -m tests.faults --help``."""
