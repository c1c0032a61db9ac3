"""Lamps, tones and words at a gate."""
