-- Cards on phones: one-time links, the phone's own key on the card, and when a phone was last heard of.

-- A live card carries the public key of the one phone that it was issued to (compressed P-256 point, SEC 1 2.3.3).
ALTER TABLE card ADD COLUMN device_key bytea
    CHECK (device_key IS NULL OR (length(device_key) = 33 AND channel = 'live'));

-- A link that a resident opens on the phone. Only its SHA-256 is kept, so a stolen database opens nothing.
CREATE TABLE phone_link (
    tenant            text NOT NULL,
    link_sha256       bytea NOT NULL CHECK (length(link_sha256) = 32),
    person_id         uuid NOT NULL,
    replaces          bytea,              -- the card that ends when the link is used
    created_by        text NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    expires_at        timestamptz NOT NULL,
    used_at           timestamptz,
    card_id           bytea,              -- the card that the link brought
    PRIMARY KEY (tenant, link_sha256),
    FOREIGN KEY (tenant, person_id) REFERENCES person (tenant, person_id),
    CHECK ((used_at IS NULL) = (card_id IS NULL))
);
CREATE UNIQUE INDEX phone_link_by_link ON phone_link (link_sha256);
CREATE INDEX phone_link_by_person ON phone_link (tenant, person_id, created_at);

-- A card shown by a browser: by the phone's key (card.device_key), or without JavaScript by a cookie's secret.
CREATE TABLE phone (
    tenant            text NOT NULL,
    card_id           bytea NOT NULL,
    page_sha256       bytea CHECK (length(page_sha256) = 32),
    bound_at          timestamptz NOT NULL,
    seen_at           timestamptz NOT NULL,
    -- The newest time that the phone's key signed, ms since the epoch: a signed request counts once.
    answered_ms       bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, card_id),
    FOREIGN KEY (tenant, card_id) REFERENCES card (tenant, card_id)
);
CREATE UNIQUE INDEX phone_by_page ON phone (page_sha256) WHERE page_sha256 IS NOT NULL;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['phone_link', 'phone'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO rescard_app', name);
    END LOOP;
END
$$;
GRANT DELETE ON phone_link TO rescard_app;
