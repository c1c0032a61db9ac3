-- Which card is on which chip. A serial number is kept as a keyed hash only: nobody needs the number itself, and a copy
-- of this table must not be a list of numbers that can be written to blank chips.
CREATE TABLE chip (
    tenant            text NOT NULL,
    uid_hash          bytea NOT NULL CHECK (length(uid_hash) = 32),   -- HMAC-SHA256 under the key named beside it
    uid_secret_id     uuid NOT NULL,
    card_id           bytea NOT NULL,
    -- signed: an NTAG 424 DNA that holds the signed card; number: a legacy chip, known by nothing but its number.
    kind              text NOT NULL CHECK (kind IN ('signed', 'number')),
    -- From which master the chip's keys were made: without it nobody could ever write to the chip again.
    master_id         uuid,
    registered_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, uid_hash),
    -- One card, one chip: two would count apart, and a gate would take the one for a copy of the other.
    UNIQUE (tenant, card_id),
    FOREIGN KEY (tenant, card_id) REFERENCES card (tenant, card_id),
    FOREIGN KEY (tenant, uid_secret_id) REFERENCES tenant_secret (tenant, secret_id),
    FOREIGN KEY (tenant, master_id) REFERENCES tenant_secret (tenant, secret_id),
    CHECK ((kind = 'signed') = (master_id IS NOT NULL))
);

-- Gates hold numbers of active cards only. Whoever writes cards holds the tenant's row lock, and so does whoever
-- registers a number: neither overlooks the other.
CREATE FUNCTION rescard_chip_cards_changed() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO secret_number (tenant, kind)
    SELECT DISTINCT n.tenant, 'uid'
    FROM new_cards n
    JOIN old_cards o USING (tenant, card_id)
    JOIN chip c ON c.tenant = n.tenant AND c.card_id = n.card_id AND c.kind = 'number'
    WHERE n.state <> o.state
    ON CONFLICT (tenant, kind) DO UPDATE SET number = secret_number.number + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER card_changed_for_chips AFTER UPDATE ON card
    REFERENCING OLD TABLE AS old_cards NEW TABLE AS new_cards
    FOR EACH STATEMENT EXECUTE FUNCTION rescard_chip_cards_changed();

ALTER TABLE chip ENABLE ROW LEVEL SECURITY;
ALTER TABLE chip FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON chip USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant));
GRANT SELECT, INSERT, UPDATE ON chip TO rescard_app;
