-- The newest live code by which each card paid: a code of a phone pays once, at whichever till of the council.

CREATE TABLE till_code (
    tenant            text NOT NULL,
    card_id           bytea NOT NULL,
    iat               bigint NOT NULL,    -- when the phone made it, seconds since the epoch
    PRIMARY KEY (tenant, card_id),
    FOREIGN KEY (tenant, card_id) REFERENCES card (tenant, card_id)
);
ALTER TABLE till_code ENABLE ROW LEVEL SECURITY;
ALTER TABLE till_code FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON till_code USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant));
GRANT SELECT, INSERT, UPDATE ON till_code TO rescard_app;
