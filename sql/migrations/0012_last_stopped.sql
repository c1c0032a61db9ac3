-- The card of a council that was stopped last is looked for whenever somebody watches the gates page.

CREATE INDEX card_stopped ON card (tenant, updated_at DESC) WHERE state IN ('suspended', 'lost', 'replaced', 'revoked');
