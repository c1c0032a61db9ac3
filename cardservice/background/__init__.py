"""Work that takes longer than a request: in a process of its own, with progress, taken over if that process dies."""
