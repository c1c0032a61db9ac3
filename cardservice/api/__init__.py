"""The HTTP face: routes with typed bodies and replies, problems, sign-in of staff and machines, idempotent writes."""
