"""Why a gate decided as it did: one decision replayed with document, facts and state as they were."""
