-- Status lists: the signed list of each council as it is served, and the number by which it finds what changed since.

-- The council's issue number when the card's state last changed; null while nothing ever happened to it.
ALTER TABLE card ADD COLUMN state_number bigint;

SELECT set_config('rescard.tenant', '*', true);
UPDATE card SET state_number = 0 WHERE state <> 'active' OR version > 1;

CREATE INDEX card_by_state_number ON card (tenant, state_number, card_index) WHERE state_number IS NOT NULL;

-- Numbered here and not in the statements that change a card, so that none can leave it out: a change without a number
-- would be missing in the list for ever. The lock is the one that every writer of a council takes first. So numbers
-- commit in their order: whoever has read the council's number N finds every change below N, and asks from N on again.
CREATE FUNCTION rescard_number_state() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    SELECT t.issue_number INTO NEW.state_number FROM tenant t WHERE t.tenant = NEW.tenant FOR NO KEY UPDATE;
    RETURN NEW;
END
$$;

CREATE TRIGGER card_state_given BEFORE INSERT ON card
FOR EACH ROW WHEN (NEW.state <> 'active') EXECUTE FUNCTION rescard_number_state();
CREATE TRIGGER card_state_changed BEFORE UPDATE OF state ON card
FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION rescard_number_state();

-- One row a council. The token is also where the array of the statuses is kept: a restart reads it from there.
CREATE TABLE status_list (
    tenant            text PRIMARY KEY REFERENCES tenant,
    version           bigint NOT NULL,    -- counts the lists signed
    number            bigint NOT NULL,    -- issue number up to which every change is in it
    kid               text NOT NULL,
    token             text NOT NULL,
    signed_at         timestamptz NOT NULL,
    FOREIGN KEY (tenant, kid) REFERENCES signing_key (tenant, kid)
);
ALTER TABLE status_list ALTER COLUMN token SET STORAGE EXTERNAL;  -- it is compressed already

ALTER TABLE status_list ENABLE ROW LEVEL SECURITY;
ALTER TABLE status_list FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON status_list USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant));
GRANT SELECT, INSERT, UPDATE ON status_list TO rescard_app;
