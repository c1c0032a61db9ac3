"""Status lists of councils, served to anybody (IETF Token Status List)."""
