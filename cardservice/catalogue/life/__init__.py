"""The life of a service document: draft, lint, read back, simulate, approve, schedule, publish, watch, roll back."""
