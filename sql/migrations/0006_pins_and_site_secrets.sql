-- PINs of people, masters of councils, and what was given to which reader.

-- One PIN a person, for all of their cards. Cleared: the row stays and the verifier is null, so that the version of the
-- next PIN is a new one and readers know that attempts begin anew.
CREATE TABLE person_pin (
    tenant            text NOT NULL,
    person_id         uuid NOT NULL,
    version           integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    -- argon2id in PHC form, sealed: four digits are found from a verifier by trying, so a copy of this table must not do.
    verifier_sealed   bytea,
    changed_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, person_id),
    FOREIGN KEY (tenant, person_id) REFERENCES person (tenant, person_id) ON DELETE CASCADE
);

-- Masters from which the secrets of rotating codes and of chips are derived, and keys under which serial numbers of
-- legacy chips are hashed. The newest makes new ones; the older stay good until they are retired.
CREATE TABLE tenant_secret (
    tenant            text NOT NULL REFERENCES tenant,
    secret_id         uuid NOT NULL DEFAULT gen_random_uuid(),
    kind              text NOT NULL CHECK (kind IN ('totp', 'chip', 'uid')),
    sealed            bytea NOT NULL,
    place             bigint GENERATED ALWAYS AS IDENTITY,   -- two made within one clock tick still have an order
    created_at        timestamptz NOT NULL DEFAULT now(),
    retired_at        timestamptz,
    PRIMARY KEY (tenant, secret_id)
);

-- Counts what readers may hold of a council, by kind: a reader asks again only when a number that concerns it moved.
-- Written under the tenant's row lock, so that nobody reads a number whose content is still to come.
CREATE TABLE secret_number (
    tenant            text NOT NULL REFERENCES tenant,
    kind              text NOT NULL CHECK (kind IN ('pin', 'totp', 'chip', 'uid')),
    number            bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, kind)
);

-- What a reader was last given, so that each delivery is in the audit once and not at every poll.
CREATE TABLE reader_secrets (
    tenant            text NOT NULL,
    reader_id         uuid NOT NULL,
    tag               text NOT NULL,
    delivered_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, reader_id),
    FOREIGN KEY (tenant, reader_id) REFERENCES reader (tenant, reader_id)
);

-- A card of somebody with a PIN came, went, or changed its state: gates hold verifiers of active cards only. Whoever
-- writes cards holds the tenant's row lock, and so does whoever sets a PIN: neither overlooks the other.
CREATE FUNCTION rescard_pin_cards_changed() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO secret_number (tenant, kind)
        SELECT DISTINCT n.tenant, 'pin'
        FROM person_pin p JOIN new_cards n USING (tenant, person_id)
        WHERE p.verifier_sealed IS NOT NULL
        ON CONFLICT (tenant, kind) DO UPDATE SET number = secret_number.number + 1;
    ELSE
        INSERT INTO secret_number (tenant, kind)
        SELECT DISTINCT n.tenant, 'pin'
        FROM new_cards n
        JOIN old_cards o USING (tenant, card_id)
        JOIN person_pin p ON p.tenant = n.tenant AND p.person_id = n.person_id
        WHERE p.verifier_sealed IS NOT NULL AND n.state <> o.state
        ON CONFLICT (tenant, kind) DO UPDATE SET number = secret_number.number + 1;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER card_added_for_pins AFTER INSERT ON card
    REFERENCING NEW TABLE AS new_cards
    FOR EACH STATEMENT EXECUTE FUNCTION rescard_pin_cards_changed();
CREATE TRIGGER card_changed_for_pins AFTER UPDATE ON card
    REFERENCING OLD TABLE AS old_cards NEW TABLE AS new_cards
    FOR EACH STATEMENT EXECUTE FUNCTION rescard_pin_cards_changed();

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['person_pin', 'tenant_secret', 'secret_number', 'reader_secrets'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO rescard_app', name);
    END LOOP;
END
$$;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO rescard_app;
