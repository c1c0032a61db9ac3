"""Loans of items from a pool: made by a tap, renewed and returned at the desk, known at the gates."""
