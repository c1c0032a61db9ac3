-- Publications for hundreds of thousands of people: prepared beside the rows in use, then swapped in one transaction.

ALTER TABLE job ADD COLUMN tenants text[] NOT NULL DEFAULT '{}';  -- whose people are compiled for it
CREATE INDEX job_running ON job (job_id) WHERE state = 'running';
CREATE INDEX job_open ON job (created_at) WHERE state IN ('waiting', 'running');
CREATE INDEX job_by_time ON job (tenant, created_at, job_id);

CREATE UNLOGGED TABLE staged_holder (
    tenant            text NOT NULL,
    job_id            uuid NOT NULL,
    area              text NOT NULL,
    card_index        integer NOT NULL,
    body              bytea NOT NULL,
    PRIMARY KEY (tenant, job_id, area, card_index)
);

ALTER TABLE staged_holder ENABLE ROW LEVEL SECURITY;
ALTER TABLE staged_holder FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON staged_holder USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant));
GRANT SELECT, INSERT, DELETE ON staged_holder TO rescard_app;

-- Notes whose facts or cards change while a publication is being prepared. Writers hold the tenant's row lock, and so
-- does whoever marks a job as running: a change either was committed before the job began to read, or is noted here.
CREATE FUNCTION rescard_touch() RETURNS trigger
LANGUAGE plpgsql SET rescard.tenant = '*'
AS $$
BEGIN
    INSERT INTO touched_person (tenant, job_id, person_id)
    SELECT DISTINCT c.tenant, j.job_id, c.person_id
    FROM job j JOIN changed c ON c.tenant = ANY (j.tenants)
    WHERE j.state = 'running'
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER fact_added AFTER INSERT ON fact
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION rescard_touch();
CREATE TRIGGER fact_changed AFTER UPDATE ON fact
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION rescard_touch();
CREATE TRIGGER person_changed AFTER UPDATE ON person
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION rescard_touch();
CREATE TRIGGER card_added AFTER INSERT ON card
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION rescard_touch();
CREATE TRIGGER card_changed AFTER UPDATE ON card
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION rescard_touch();
