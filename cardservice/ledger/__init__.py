"""Units behind quotas: append-only entries, what gates are told of them, and flags for what did not add up."""
