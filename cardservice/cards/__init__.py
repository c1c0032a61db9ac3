"""Cards: issue, renew, replace, suspend, resume, revoke; the state machine of a card."""
