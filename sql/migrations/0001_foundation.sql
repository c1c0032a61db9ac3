-- Tenants, people, cards, catalogue, feeds, readers, taps, audit. Stays compatible with PostgreSQL 15.
--
-- Tenants are apart by row-level security: every table leads its key with `tenant`, and the service works as the role
-- rescard_app, which sees only rows of the tenant named by the transaction-local setting `rescard.tenant`. The value '*'
-- is for the few named system operations that are about no one tenant (finding whose token this is, the feed pump).

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rescard_app') THEN
        CREATE ROLE rescard_app NOLOGIN NOBYPASSRLS;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- roles belong to the cluster: another database of it was migrated at the same moment
END
$$;

CREATE FUNCTION rescard_sees(row_tenant text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT current_setting('rescard.tenant', true) IN (row_tenant, '*') $$;

CREATE TABLE tenant (
    tenant            text PRIMARY KEY CHECK (tenant ~ '^[a-z][a-z0-9-]{1,15}$'),
    name              text NOT NULL,
    timezone          text NOT NULL,
    leap_birthday     text NOT NULL DEFAULT '03-01' CHECK (leap_birthday IN ('03-01', '02-28')),
    brand             jsonb NOT NULL DEFAULT '{}',
    -- Counts card issues and changes; a card carries the value at its issue, so a gate knows "newer than my cache".
    issue_number      bigint NOT NULL DEFAULT 0,
    -- Cards numbered so far. The index of a card is a keyed permutation of this count within blocks of 1,024.
    cards_numbered    bigint NOT NULL DEFAULT 0,
    index_secret      bytea NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now()
);

-- Time zones of all councils: documents name other councils, and everybody may know what time it is there.
CREATE FUNCTION rescard_tenants() RETURNS TABLE (tenant text, timezone text, leap_birthday text)
LANGUAGE sql STABLE SET rescard.tenant = '*'
AS $$ SELECT t.tenant, t.timezone, t.leap_birthday FROM tenant t ORDER BY t.tenant $$;

CREATE TABLE person (
    tenant            text NOT NULL REFERENCES tenant,
    person_id         uuid NOT NULL DEFAULT gen_random_uuid(),
    given_name        text NOT NULL,
    family_name       text NOT NULL,
    date_of_birth     date,
    household         text,
    email             text,
    phone             text,
    version           integer NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, person_id)
);
CREATE INDEX person_by_household ON person (tenant, household);

CREATE TABLE fact (
    tenant            text NOT NULL,
    fact_id           uuid NOT NULL DEFAULT gen_random_uuid(),
    person_id         uuid NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('residency', 'evidence', 'member_of', 'permit', 'role', 'linked',
                                                    'prerequisite', 'block', 'delegate')),
    -- What is stated: the tenant lived in, the kind of evidence, the club, the permit, the service blocked...
    name              text NOT NULL,
    from_date         date,
    until_date        date,               -- inclusive: a fact that ends today holds all day
    detail            jsonb NOT NULL DEFAULT '{}',
    checked_by        text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    ended_at          timestamptz,        -- withdrawn by staff; kept for the audit
    PRIMARY KEY (tenant, fact_id),
    FOREIGN KEY (tenant, person_id) REFERENCES person (tenant, person_id) ON DELETE CASCADE,
    CHECK (until_date IS NULL OR from_date IS NULL OR until_date >= from_date)
);
CREATE INDEX fact_by_person ON fact (tenant, person_id) WHERE ended_at IS NULL;

CREATE TABLE signing_key (
    tenant            text NOT NULL REFERENCES tenant,
    kid               text NOT NULL,
    purpose           text NOT NULL CHECK (purpose IN ('card', 'feed', 'status', 'openid4vci', 'mdoc')),
    state             text NOT NULL CHECK (state IN ('published', 'active', 'retired', 'revoked')),
    public_jwk        jsonb NOT NULL,
    private_sealed    bytea NOT NULL,     -- PKCS#8 sealed under the key-encryption key of the settings
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, kid)
);
CREATE UNIQUE INDEX signing_key_one_active ON signing_key (tenant, purpose) WHERE state = 'active';

CREATE TABLE card (
    tenant            text NOT NULL,
    card_id           bytea NOT NULL CHECK (length(card_id) = 8),
    card_index        integer NOT NULL CHECK (card_index >= 0),
    person_id         uuid NOT NULL,
    state             text NOT NULL CHECK (state IN ('active', 'suspended', 'lost', 'replaced', 'expired', 'revoked')),
    state_reason      text,
    channel           text NOT NULL DEFAULT 'static' CHECK (channel IN ('static', 'live', 'chip')),
    kid               text NOT NULL,
    issue_number      bigint NOT NULL,
    issued_at         timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    replaces          bytea,              -- the card that this one renews or replaces
    version           integer NOT NULL DEFAULT 1,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, card_id),
    UNIQUE (tenant, card_index),
    FOREIGN KEY (tenant, person_id) REFERENCES person (tenant, person_id),
    FOREIGN KEY (tenant, kid) REFERENCES signing_key (tenant, kid)
);
CREATE INDEX card_by_person ON card (tenant, person_id);
-- A card is renewed or replaced once: two presses of the button do not leave two valid cards.
CREATE UNIQUE INDEX card_one_successor ON card (tenant, replaces) WHERE replaces IS NOT NULL;
CREATE INDEX card_by_expiry ON card (tenant, expires_at) WHERE state IN ('active', 'suspended', 'lost');

CREATE TABLE site (
    tenant            text NOT NULL REFERENCES tenant,
    site_id           text NOT NULL,
    name              text NOT NULL,
    -- [{"lane", "name", "zone", "direction": "entry"|"exit", "areas": [...], "services": [...]|null}]
    lanes             jsonb NOT NULL DEFAULT '[]',
    version           integer NOT NULL DEFAULT 1,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, site_id)
);
-- Documents name a site by its bare id, shared documents in other councils' feeds too: one id is one place everywhere.
CREATE UNIQUE INDEX site_by_id ON site (site_id);

-- Named lists that documents refer to: site sets, calendars of dates, lists of items.
CREATE TABLE catalogue_list (
    tenant            text NOT NULL REFERENCES tenant,
    kind              text NOT NULL CHECK (kind IN ('site_set', 'calendar', 'item_list')),
    name              text NOT NULL,
    members           text[] NOT NULL,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, kind, name)
);

CREATE TABLE service_version (
    tenant            text NOT NULL REFERENCES tenant,
    service_id        text NOT NULL,
    version           integer NOT NULL,
    area              text NOT NULL,
    document          jsonb NOT NULL,
    sha256            bytea NOT NULL,     -- of the canonical JSON
    -- Tenants whose residents this service also serves: their people are compiled for it and their feeds carry it.
    shared_with       text[] NOT NULL DEFAULT '{}',
    state             text NOT NULL CHECK (state IN ('published', 'superseded', 'withdrawn')),
    published_by      text NOT NULL,
    published_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, service_id, version)
);
-- One version in force, of one council: a shared service stands in other councils' feeds under its bare id.
CREATE UNIQUE INDEX service_one_published ON service_version (service_id) WHERE state = 'published';

CREATE TABLE feed (
    tenant            text NOT NULL REFERENCES tenant,
    area              text NOT NULL,
    epoch             uuid NOT NULL DEFAULT gen_random_uuid(),  -- a new one after a restore: readers start over
    number            bigint NOT NULL DEFAULT 0,
    horizon_from      timestamptz NOT NULL,
    horizon_until     timestamptz NOT NULL,
    PRIMARY KEY (tenant, area)
);

CREATE TABLE feed_change (
    tenant            text NOT NULL,
    area              text NOT NULL,
    number            bigint NOT NULL,
    issue_number      bigint NOT NULL,
    body              bytea NOT NULL,     -- the JSON that readers get, encoded once
    card_id           bytea,              -- set when the change is about one card
    written_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, area, number),
    FOREIGN KEY (tenant, area) REFERENCES feed (tenant, area)
);
CREATE INDEX feed_change_by_card ON feed_change (tenant, card_id) WHERE card_id IS NOT NULL;

-- The compiled rights of a card in one area, interned by content.
CREATE TABLE profile (
    tenant            text NOT NULL,
    area              text NOT NULL,
    profile_id        integer NOT NULL CHECK (profile_id BETWEEN 0 AND 16777215),
    digest            bytea NOT NULL,     -- SHA-256 of the body
    body              bytea NOT NULL,     -- canonical JSON of the wire form, sent as it stands
    PRIMARY KEY (tenant, area, profile_id),
    UNIQUE (tenant, area, digest),
    FOREIGN KEY (tenant, area) REFERENCES feed (tenant, area)
);

CREATE TABLE card_row (
    tenant            text NOT NULL,
    area              text NOT NULL,
    card_index        integer NOT NULL,
    card_id           bytea NOT NULL,
    -- State of the card as the feed last told it, in the codes of the cache row (1 active ... 6 revoked).
    state             smallint NOT NULL CHECK (state BETWEEN 1 AND 6),
    profile_id        integer NOT NULL,
    PRIMARY KEY (tenant, area, card_index),
    FOREIGN KEY (tenant, card_id) REFERENCES card (tenant, card_id)
    -- No foreign key to profile: every pruned profile would cost a pass over this table. Both are written under the
    -- tenant's row lock, and the pruning itself asks which profiles are in use.
);

CREATE TABLE feed_snapshot (
    tenant            text NOT NULL,
    area              text NOT NULL,
    epoch             uuid NOT NULL,
    number            bigint NOT NULL,
    manifest          text NOT NULL,      -- compact JWS over sizes and SHA-256 of the two parts
    meta              bytea NOT NULL,
    meta_sha256       text NOT NULL,
    rows              bytea NOT NULL,
    rows_sha256       text NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, area, epoch, number),
    FOREIGN KEY (tenant, area) REFERENCES feed (tenant, area)
);

CREATE TABLE reader (
    tenant            text NOT NULL,
    reader_id         uuid NOT NULL DEFAULT gen_random_uuid(),
    site_id           text NOT NULL,
    name              text NOT NULL,
    feeds             text[] NOT NULL,    -- 'tenant/area'; a reader gets these and no others
    public_jwk        jsonb NOT NULL,
    state             text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'revoked')),
    enrolled_at       timestamptz NOT NULL DEFAULT now(),
    last_seen_at      timestamptz,
    status            jsonb,              -- its last report, for people to look at
    PRIMARY KEY (tenant, reader_id),
    FOREIGN KEY (tenant, site_id) REFERENCES site (tenant, site_id)
);
CREATE UNIQUE INDEX reader_by_id ON reader (reader_id);

CREATE TABLE enrolment_code (
    tenant            text NOT NULL,
    code_sha256       bytea NOT NULL,
    site_id           text NOT NULL,
    name              text NOT NULL,
    feeds             text[] NOT NULL,
    created_by        text NOT NULL,
    expires_at        timestamptz NOT NULL,
    used_at           timestamptz,
    reader_id         uuid,
    PRIMARY KEY (tenant, code_sha256),
    FOREIGN KEY (tenant, site_id) REFERENCES site (tenant, site_id)
);

-- When each reader said that it had applied each number: what makes propagation visible.
CREATE TABLE reader_applied (
    tenant            text NOT NULL,      -- of the reader
    reader_id         uuid NOT NULL,
    feed_tenant       text NOT NULL,
    area              text NOT NULL,
    epoch             uuid NOT NULL,      -- numbers of another epoch say nothing about this one
    number            bigint NOT NULL,
    applied_at        timestamptz NOT NULL,
    reported_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, reader_id, feed_tenant, area, epoch, number),
    FOREIGN KEY (tenant, reader_id) REFERENCES reader (tenant, reader_id)
);
CREATE INDEX reader_applied_by_feed ON reader_applied (feed_tenant, area, epoch, number);
CREATE INDEX reader_applied_by_age ON reader_applied (reported_at);

-- Immutable: what a reader decided. The service stores it and never decides again.
CREATE TABLE tap (
    tenant            text NOT NULL,      -- of the site
    tap_id            uuid NOT NULL,
    reader_id         uuid NOT NULL,
    site_id           text NOT NULL,
    lane_id           text NOT NULL,
    direction         text NOT NULL CHECK (direction IN ('entry', 'exit')),
    happened_at       timestamptz NOT NULL,
    received_at       timestamptz NOT NULL DEFAULT now(),
    card_tenant       text,
    card_id           bytea,
    service_id        text,
    service_version   integer,
    outcome           text NOT NULL CHECK (outcome IN ('allow', 'deny', 'confirm', 'refer')),
    reason            text NOT NULL,
    band              text,
    pence             integer,
    effects           jsonb NOT NULL DEFAULT '[]',
    media             text NOT NULL,
    feed              text,
    feed_number       bigint,
    online            boolean NOT NULL,
    clock_trusted     boolean NOT NULL,
    clock_offset_ms   bigint NOT NULL,
    detail            text,
    PRIMARY KEY (tenant, tap_id)
);
CREATE INDEX tap_by_time ON tap (tenant, happened_at);
CREATE INDEX tap_by_lane ON tap (tenant, site_id, lane_id, happened_at, tap_id);
CREATE INDEX tap_by_card ON tap (card_tenant, card_id) WHERE card_id IS NOT NULL;

-- What the passage contact said after a release.
CREATE TABLE passage (
    tenant            text NOT NULL,
    tap_id            uuid NOT NULL,
    result            text NOT NULL CHECK (result IN ('passed', 'timed_out', 'fault')),
    happened_at       timestamptz NOT NULL,
    received_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, tap_id)
);

CREATE TABLE audit (
    tenant            text NOT NULL,
    audit_id          bigint GENERATED ALWAYS AS IDENTITY,
    happened_at       timestamptz NOT NULL DEFAULT now(),
    actor             text NOT NULL,
    action            text NOT NULL,
    subject           text NOT NULL,
    detail            jsonb NOT NULL DEFAULT '{}',
    request_id        text,
    PRIMARY KEY (tenant, audit_id)
);
CREATE INDEX audit_by_subject ON audit (tenant, subject);

CREATE TABLE api_token (
    tenant            text NOT NULL,      -- '*' for the platform's own
    token_id          uuid NOT NULL DEFAULT gen_random_uuid(),
    token_sha256      bytea NOT NULL UNIQUE,
    label             text NOT NULL,
    roles             text[] NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    expires_at        timestamptz NOT NULL,
    revoked_at        timestamptz,
    PRIMARY KEY (tenant, token_id)
);

-- One row a write: the same Idempotency-Key gets the same answer, once.
CREATE TABLE idempotency (
    tenant            text NOT NULL,
    actor             text NOT NULL,
    key               text NOT NULL,
    request_sha256    bytea NOT NULL,     -- of method, path and body
    status            smallint NOT NULL,
    response          bytea NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, actor, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenant', 'person', 'fact', 'signing_key', 'card', 'site', 'catalogue_list', 'feed', 'feed_change', 'profile',
        'card_row', 'feed_snapshot', 'reader', 'enrolment_code', 'tap', 'passage', 'audit', 'api_token', 'idempotency'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant))', name);
    END LOOP;
END
$$;

-- A shared service may be read, not written, by the tenants it is shared with.
ALTER TABLE service_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE service_version FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON service_version USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant));
CREATE POLICY shared_reading ON service_version FOR SELECT
    USING (current_setting('rescard.tenant', true) = ANY (shared_with));

-- So may the sites and lists of a council that shares a service: its documents name them.
CREATE POLICY shared_reading ON site FOR SELECT USING (EXISTS (
    SELECT FROM service_version s
    WHERE s.tenant = site.tenant AND s.state = 'published' AND current_setting('rescard.tenant', true) = ANY (s.shared_with)
));
CREATE POLICY shared_reading ON catalogue_list FOR SELECT USING (EXISTS (
    SELECT FROM service_version s
    WHERE s.tenant = catalogue_list.tenant AND s.state = 'published'
      AND current_setting('rescard.tenant', true) = ANY (s.shared_with)
));

-- A report belongs to the reader's tenant and may be read by the tenant whose feed it speaks of.
ALTER TABLE reader_applied ENABLE ROW LEVEL SECURITY;
ALTER TABLE reader_applied FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON reader_applied USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant));
CREATE POLICY feed_tenant_reading ON reader_applied FOR SELECT USING (rescard_sees(feed_tenant));

-- Whose feed a reader carries may see that reader: otherwise nobody could tell where a revocation has not arrived yet.
CREATE POLICY feed_tenant_reading ON reader FOR SELECT
    USING (EXISTS (SELECT FROM unnest(feeds) AS feed WHERE rescard_sees(split_part(feed, '/', 1))));

GRANT USAGE ON SCHEMA public TO rescard_app;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO rescard_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO rescard_app;
-- Deletion is the exception: caches and what has an end of life. Audit rows and taps are never changed.
GRANT DELETE ON catalogue_list, feed_change, feed_snapshot, idempotency, reader_applied, profile TO rescard_app;
REVOKE UPDATE ON audit, tap, passage FROM rescard_app;
