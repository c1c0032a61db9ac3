-- The state behind limits: units, money, bookings, loans, other systems' words, and flags for people to look at.
-- Stays compatible with PostgreSQL 15. Units and money are append-only: what was wrong is put right by another entry.

ALTER TABLE tap ADD COLUMN acts_for integer;  -- index of the holder's card, where a delegate presented their own
ALTER TABLE tap ADD COLUMN item text;

-- Who lived where before: units of an event before a move belong to the household of that time.
CREATE TABLE household_past (
    tenant            text NOT NULL,
    person_id         uuid NOT NULL,
    household         text,               -- as it was until then; null is none
    until             timestamptz NOT NULL,
    PRIMARY KEY (tenant, person_id, until),
    FOREIGN KEY (tenant, person_id) REFERENCES person (tenant, person_id) ON DELETE CASCADE
);

CREATE FUNCTION rescard_keep_household() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO household_past (tenant, person_id, household, until)
    VALUES (OLD.tenant, OLD.person_id, OLD.household, NEW.updated_at)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER person_moved AFTER UPDATE OF household ON person
FOR EACH ROW WHEN (OLD.household IS DISTINCT FROM NEW.household) EXECUTE FUNCTION rescard_keep_household();

-- What the feed last told of a card's holder: account keys and whom they may act for. Cards without need no row.
CREATE TABLE holder_row (
    tenant            text NOT NULL,
    area              text NOT NULL,
    card_index        integer NOT NULL,
    body              bytea NOT NULL,     -- JSON of the wire form, sent as it stands
    PRIMARY KEY (tenant, area, card_index),
    FOREIGN KEY (tenant, area) REFERENCES feed (tenant, area)
);

-- Units by event time. Belongs to the council whose card it is; an account is one within an area.
CREATE TABLE ledger_entry (
    tenant            text NOT NULL,
    entry_id          uuid NOT NULL,      -- of the tap that took the units, of the booking, or its own
    origin            text NOT NULL,      -- council of the site: two councils' readers may make the same tap id
    area              text NOT NULL,
    account           text NOT NULL,
    scope             text NOT NULL CHECK (scope IN ('person', 'household', 'vehicle', 'permit')),
    holder            text NOT NULL,      -- the real id of that person, household, vehicle or permit
    units             integer NOT NULL CHECK (units <> 0),  -- below zero: given back
    happened_at       timestamptz NOT NULL,
    posted_at         timestamptz NOT NULL DEFAULT now(),
    kind              text NOT NULL CHECK (kind IN ('tap', 'booking', 'cancellation', 'adjustment')),
    service_id        text NOT NULL,
    person_id         uuid,               -- whose visit, booking or request it was
    site_id           text,
    reader_id         uuid,
    offline           boolean NOT NULL DEFAULT false,
    actor             text,
    reason            text,
    PRIMARY KEY (tenant, entry_id, origin, account)
);
CREATE INDEX ledger_entry_by_account ON ledger_entry (tenant, area, account, scope, holder, happened_at);
CREATE INDEX ledger_entry_by_time ON ledger_entry (tenant, happened_at, entry_id);
CREATE INDEX ledger_entry_by_person ON ledger_entry (tenant, person_id, happened_at);
CREATE INDEX ledger_entry_by_event ON ledger_entry (tenant, area, happened_at);

-- What did not add up, for people to look at. Nobody is charged back.
CREATE TABLE flag (
    tenant            text NOT NULL,
    flag_id           uuid NOT NULL DEFAULT gen_random_uuid(),
    kind              text NOT NULL CHECK (kind IN ('overspent', 'late', 'clock_ahead', 'clock_untrusted', 'unposted',
                                                    'over_lent')),
    service_id        text,
    area              text,
    account           text,
    scope             text,
    holder            text,
    person_id         uuid,
    tap_id            uuid,
    site_id           text,
    units             integer,            -- units over the limit, or units concerned
    sentence          text NOT NULL,
    happened_at       timestamptz NOT NULL,
    raised_at         timestamptz NOT NULL DEFAULT now(),
    resolved_at       timestamptz,
    resolved_by       text,
    note              text,
    PRIMARY KEY (tenant, flag_id)
);
CREATE INDEX flag_by_time ON flag (tenant, raised_at, flag_id);

-- Belongs to the council of the person who booked; the resource to that of the service.
CREATE TABLE booking (
    tenant            text NOT NULL,
    booking_id        uuid NOT NULL DEFAULT gen_random_uuid(),
    person_id         uuid NOT NULL,
    service_id        text NOT NULL,
    owner             text NOT NULL,      -- council of the service
    resource          text NOT NULL,
    starts_at         timestamptz NOT NULL,
    ends_at           timestamptz NOT NULL,
    party             integer NOT NULL DEFAULT 1 CHECK (party > 0),
    state             text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'cancelled')),
    checked_in_at     timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    created_by        text NOT NULL,
    cancelled_at      timestamptz,
    cancelled_by      text,
    PRIMARY KEY (tenant, booking_id),
    FOREIGN KEY (tenant, person_id) REFERENCES person (tenant, person_id),
    CHECK (ends_at > starts_at)
);
CREATE INDEX booking_by_resource ON booking (owner, resource, starts_at) WHERE state = 'open';
CREATE INDEX booking_by_person ON booking (tenant, person_id, starts_at);
CREATE INDEX booking_by_time ON booking (tenant, starts_at, booking_id);

-- Whether anybody of any council has a resource in a time: not who.
CREATE FUNCTION rescard_taken(of_owner text, of_resource text, from_at timestamptz, until_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET rescard.tenant = '*'
AS $$
    SELECT EXISTS (
        SELECT FROM booking b
        WHERE b.owner = of_owner AND b.resource = of_resource AND b.state = 'open'
          AND b.starts_at < until_at AND b.ends_at > from_at
    )
$$;

CREATE TABLE loan (
    tenant            text NOT NULL,
    loan_id           uuid NOT NULL DEFAULT gen_random_uuid(),
    origin            text NOT NULL,      -- council of the site, and the tap that took the item
    tap_id            uuid NOT NULL,
    person_id         uuid NOT NULL,
    service_id        text NOT NULL,
    pool              text NOT NULL,
    item              text,
    lent_at           timestamptz NOT NULL,
    due               date NOT NULL,      -- inclusive local day
    renewed           integer NOT NULL DEFAULT 0,
    returned_at       timestamptz,
    returned_by       text,
    PRIMARY KEY (tenant, loan_id),
    FOREIGN KEY (tenant, person_id) REFERENCES person (tenant, person_id)
);
CREATE UNIQUE INDEX loan_once_a_tap ON loan (tenant, origin, tap_id);
CREATE INDEX loan_by_person ON loan (tenant, person_id) WHERE returned_at IS NULL;
CREATE INDEX loan_by_time ON loan (tenant, lent_at, loan_id);

-- The last word of another system on a person.
CREATE TABLE upstream_word (
    tenant            text NOT NULL,
    person_id         uuid NOT NULL,
    name              text NOT NULL,
    not_blocked       boolean,            -- null: it did not say
    said_at           timestamptz NOT NULL,
    told_by           text NOT NULL,
    PRIMARY KEY (tenant, person_id, name),
    FOREIGN KEY (tenant, person_id) REFERENCES person (tenant, person_id) ON DELETE CASCADE
);
CREATE INDEX upstream_word_by_time ON upstream_word (tenant, name, said_at);

-- A budget of money. Its row is the lock under which it is spent.
CREATE TABLE purse (
    tenant            text NOT NULL,
    purse_id          uuid NOT NULL DEFAULT gen_random_uuid(),
    account           text NOT NULL,
    scope             text NOT NULL CHECK (scope IN ('person', 'household', 'vehicle', 'permit')),
    holder            text NOT NULL,
    opened_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, purse_id)
);
CREATE UNIQUE INDEX purse_once ON purse (tenant, account, scope, holder);

CREATE TABLE spend (
    tenant            text NOT NULL,
    spend_id          uuid NOT NULL DEFAULT gen_random_uuid(),
    purse_id          uuid NOT NULL,
    service_id        text NOT NULL,
    person_id         uuid NOT NULL,      -- the holder
    card_id           bytea NOT NULL,     -- the holder's
    presented_by      bytea,              -- a delegate's card
    site_id           text NOT NULL,
    item              text,
    pence             bigint NOT NULL CHECK (pence > 0),
    state             text NOT NULL CHECK (state IN ('held', 'confirmed', 'released', 'expired')),
    held_until        timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    created_by        text NOT NULL,
    closed_at         timestamptz,
    closed_by         text,
    PRIMARY KEY (tenant, spend_id),
    FOREIGN KEY (tenant, purse_id) REFERENCES purse (tenant, purse_id)
);
CREATE INDEX spend_by_purse ON spend (tenant, purse_id, created_at);
CREATE INDEX spend_by_time ON spend (tenant, created_at, spend_id);
CREATE INDEX spend_held ON spend (tenant, held_until) WHERE state = 'held';

-- Money goes from one book to another, so a transfer that does not sum to zero cannot be written down at all.
CREATE TABLE money_transfer (
    tenant            text NOT NULL,
    transfer_id       uuid NOT NULL DEFAULT gen_random_uuid(),
    kind              text NOT NULL CHECK (kind IN ('topup', 'hold', 'confirm', 'release', 'expire', 'correction')),
    purse_id          uuid NOT NULL,
    spend_id          uuid,
    debit             text NOT NULL CHECK (debit IN ('council', 'purse', 'held', 'provider')),   -- where it leaves
    credit            text NOT NULL CHECK (credit IN ('council', 'purse', 'held', 'provider')),  -- where it arrives
    pence             bigint NOT NULL CHECK (pence > 0),
    happened_at       timestamptz NOT NULL DEFAULT now(),
    actor             text NOT NULL,
    reason            text,
    PRIMARY KEY (tenant, transfer_id),
    FOREIGN KEY (tenant, purse_id) REFERENCES purse (tenant, purse_id),
    CHECK (debit <> credit)
);
CREATE INDEX money_transfer_by_purse ON money_transfer (tenant, purse_id, happened_at);

-- The two postings of each transfer.
CREATE VIEW money_posting WITH (security_invoker = true) AS
SELECT tenant, transfer_id, kind, purse_id, spend_id, debit AS book, -pence AS pence, happened_at FROM money_transfer
UNION ALL
SELECT tenant, transfer_id, kind, purse_id, spend_id, credit, pence, happened_at FROM money_transfer;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'household_past', 'holder_row', 'ledger_entry', 'flag', 'booking', 'loan', 'upstream_word', 'purse', 'spend',
        'money_transfer'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant))', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO rescard_app', name);
    END LOOP;
END
$$;

GRANT SELECT ON money_posting TO rescard_app;
GRANT UPDATE ON holder_row, flag, booking, loan, upstream_word, purse, spend TO rescard_app;
GRANT DELETE ON holder_row TO rescard_app;
