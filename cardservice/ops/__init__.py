"""Health, metrics, OpenAPI, public keys."""
