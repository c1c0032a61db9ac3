"""Bookings of rooms and other resources: made at the desk, known at the gates, checked in by a tap."""
