-- The life of a service document: drafts, approvals, schedule, events, simulations; long work as jobs with staged rows.

-- What a council calls things, and what somebody supplies: the linter's known facts, and the titles of the read-back.
CREATE TABLE vocabulary (
    tenant            text NOT NULL REFERENCES tenant,
    kind              text NOT NULL CHECK (kind IN ('evidence', 'member_of', 'permit', 'role', 'linked', 'prerequisite',
                                                    'upstream', 'word')),
    name              text NOT NULL,
    title             text NOT NULL,
    -- Who records it (a desk, a form, another system); a 'word' is only a title for an id.
    supplied_by       text,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, kind, name)
);

CREATE TABLE draft (
    tenant            text NOT NULL REFERENCES tenant,
    draft_id          uuid NOT NULL DEFAULT gen_random_uuid(),
    service_id        text NOT NULL,
    text              text NOT NULL,      -- as its author wrote it: findings point at its lines
    shared_with       text[] NOT NULL DEFAULT '{}',
    state             text NOT NULL CHECK (state IN ('draft', 'submitted', 'approved', 'scheduled', 'publishing',
                                                     'published', 'rejected', 'withdrawn')),
    based_on          integer,            -- the version in force when it was begun; null where there was none
    authors           text[] NOT NULL,    -- everybody who wrote any of it: none of them may approve it
    version           integer NOT NULL DEFAULT 1,
    publish_at        timestamptz,
    scheduled_by      text,
    published_version integer,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, draft_id),
    CHECK ((state = 'scheduled') = (publish_at IS NOT NULL))
);
CREATE INDEX draft_by_service ON draft (tenant, service_id);
CREATE INDEX draft_due ON draft (publish_at) WHERE state = 'scheduled';

-- Who read which text and let it pass. Of the text, not of the draft: another text needs another approval.
CREATE TABLE draft_approval (
    tenant            text NOT NULL,
    approval_id       bigint GENERATED ALWAYS AS IDENTITY,
    draft_id          uuid NOT NULL,
    draft_version     integer NOT NULL,
    text_sha256       bytea NOT NULL,
    approved_by       text NOT NULL,
    why               text NOT NULL,
    approved_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, approval_id),
    FOREIGN KEY (tenant, draft_id) REFERENCES draft (tenant, draft_id)
);
CREATE INDEX draft_approval_by_draft ON draft_approval (tenant, draft_id);

-- What happened to a service and its drafts: who, when, why. Never changed.
CREATE TABLE service_event (
    tenant            text NOT NULL,
    event_id          bigint GENERATED ALWAYS AS IDENTITY,
    service_id        text NOT NULL,
    draft_id          uuid,
    version           integer,            -- of the service, where one came or went
    what              text NOT NULL,
    who               text NOT NULL,
    why               text,
    detail            jsonb NOT NULL DEFAULT '{}',
    happened_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, event_id)
);
CREATE INDEX service_event_by_service ON service_event (tenant, service_id, event_id);
CREATE INDEX service_event_by_draft ON service_event (tenant, draft_id, event_id) WHERE draft_id IS NOT NULL;

CREATE TABLE simulation (
    tenant            text NOT NULL,
    simulation_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    draft_id          uuid NOT NULL,
    draft_version     integer NOT NULL,
    asked_by          text NOT NULL,
    since             timestamptz NOT NULL,
    until             timestamptz NOT NULL,
    result            jsonb NOT NULL,
    seconds           double precision NOT NULL,
    made_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, simulation_id),
    FOREIGN KEY (tenant, draft_id) REFERENCES draft (tenant, draft_id)
);
CREATE INDEX simulation_by_draft ON simulation (tenant, draft_id, made_at);

-- Work that takes longer than a request. Whoever does it beats; a job without a beat is taken over.
CREATE TABLE job (
    tenant            text NOT NULL REFERENCES tenant,
    job_id            uuid NOT NULL DEFAULT gen_random_uuid(),
    kind              text NOT NULL CHECK (kind IN ('publish')),
    service_id        text NOT NULL,
    draft_id          uuid,
    asked_by          text NOT NULL,
    request           jsonb NOT NULL,
    state             text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    step              text NOT NULL DEFAULT 'waiting',
    done              bigint NOT NULL DEFAULT 0,
    total             bigint NOT NULL DEFAULT 0,
    attempts          integer NOT NULL DEFAULT 0,
    result            jsonb,
    problem           text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    beat_at           timestamptz,
    finished_at       timestamptz,
    PRIMARY KEY (tenant, job_id)
);
-- One publication of a service at a time, waiting or running.
CREATE UNIQUE INDEX job_one_open ON job (service_id) WHERE state IN ('waiting', 'running');

-- Rows of a publication that is being prepared, beside the ones in use. UNLOGGED: after a crash the job starts over.
CREATE UNLOGGED TABLE staged_row (
    tenant            text NOT NULL,      -- whose card it is
    job_id            uuid NOT NULL,
    area              text NOT NULL,
    person_id         uuid NOT NULL,
    card_index        integer NOT NULL,
    card_id           bytea NOT NULL,
    state             smallint NOT NULL,
    digest            bytea NOT NULL
);
CREATE INDEX staged_row_by_job ON staged_row (tenant, job_id, area, person_id);

CREATE UNLOGGED TABLE staged_profile (
    tenant            text NOT NULL,
    job_id            uuid NOT NULL,
    area              text NOT NULL,
    digest            bytea NOT NULL,
    body              bytea NOT NULL,
    PRIMARY KEY (tenant, job_id, area, digest)
);

-- People whose facts or cards changed while a publication was being prepared: compiled again before the swap.
CREATE TABLE touched_person (
    tenant            text NOT NULL,
    job_id            uuid NOT NULL,
    person_id         uuid NOT NULL,
    PRIMARY KEY (tenant, job_id, person_id)
);

-- Replays and the watch after a publication ask for the taps of one service.
CREATE INDEX tap_by_service ON tap (tenant, service_id, happened_at);
-- Names of recorded facts, found by skipping from one to the next.
CREATE INDEX fact_by_name ON fact (tenant, kind, name);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'vocabulary', 'draft', 'draft_approval', 'service_event', 'simulation', 'job', 'staged_row', 'staged_profile',
        'touched_person'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant))', name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE ON vocabulary, draft, job, staged_row, staged_profile, touched_person TO rescard_app;
GRANT SELECT, INSERT ON draft_approval, service_event, simulation TO rescard_app;
GRANT DELETE ON vocabulary, staged_row, staged_profile, touched_person TO rescard_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO rescard_app;
