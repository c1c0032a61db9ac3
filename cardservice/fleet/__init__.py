"""Readers: enrolment, identity, status, propagation."""
