"""Signing keys of tenants, sealed at rest."""
