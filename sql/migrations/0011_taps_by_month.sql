-- Taps and passages by month, so that a month can be kept elsewhere or dropped at once and indexes stay small.
--
-- The key of the partitions is the tap's id itself: readers make UUIDs of version 7 (RFC 9562, section 5.7), whose first
-- 48 bits are the milliseconds of the decision. So an id stays unique over all months, which a partition by time alone
-- could not promise, and a tap sent twice is found whatever else it says. Ids of another kind stand in `_other`.

SELECT set_config('rescard.tenant', '*', true);

CREATE FUNCTION rescard_first_id(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

ALTER TABLE tap RENAME TO tap_unsorted;
ALTER TABLE passage RENAME TO passage_unsorted;
CREATE TABLE tap (LIKE tap_unsorted INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (tap_id);
CREATE TABLE passage (LIKE passage_unsorted INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (tap_id);
CREATE TABLE tap_other PARTITION OF tap DEFAULT;
CREATE TABLE passage_other PARTITION OF passage DEFAULT;

-- Makes the months from this one to `months` ahead that are not there yet; gives their number. What stands in `_other`
-- under ids of such a month moves. Owned by whoever migrates: the service may call it and make nothing else.
CREATE FUNCTION rescard_make_months(now timestamptz, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET rescard.tenant = '*'
AS $$
DECLARE
    parent text;
    begins timestamptz;
    child text;
    made integer := 0;
BEGIN
    -- One process at a time; whoever waited finds everything done.
    PERFORM pg_advisory_xact_lock(hashtextextended('rescard.months', 0));
    FOREACH parent IN ARRAY ARRAY['tap', 'passage'] LOOP
        FOR begins IN
            SELECT date_trunc('month', now) + make_interval(months => ahead) FROM generate_series(0, months) AS ahead
        LOOP
            child := format('%s_%s', parent, to_char(begins, 'YYYY_MM'));
            CONTINUE WHEN to_regclass(child) IS NOT NULL;
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, parent);
            EXECUTE format(
                'WITH moved AS (DELETE FROM %I WHERE tap_id >= %L AND tap_id < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
                parent || '_other', rescard_first_id(begins), rescard_first_id(begins + interval '1 month'), child
            );
            EXECUTE format(
                'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                parent, child, rescard_first_id(begins), rescard_first_id(begins + interval '1 month')
            );
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
REVOKE ALL ON FUNCTION rescard_make_months(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rescard_make_months(timestamptz, integer) TO rescard_app;

-- Everything before this month is one partition: what was stored until now, and late uploads of readers long cut off.
DO $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['tap', 'passage'] LOOP
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', parent || '_before', parent,
            '00000000-0000-0000-0000-000000000000', rescard_first_id(date_trunc('month', now(), 'UTC'))
        );
    END LOOP;
END
$$;
SELECT rescard_make_months(now(), 2);

INSERT INTO tap SELECT * FROM tap_unsorted;
INSERT INTO passage SELECT * FROM passage_unsorted;
DROP TABLE tap_unsorted, passage_unsorted;

ALTER TABLE tap ADD PRIMARY KEY (tenant, tap_id);
ALTER TABLE passage ADD PRIMARY KEY (tenant, tap_id);
CREATE INDEX tap_by_time ON tap (tenant, happened_at);
CREATE INDEX tap_by_lane ON tap (tenant, site_id, lane_id, happened_at, tap_id);
CREATE INDEX tap_by_card ON tap (card_tenant, card_id) WHERE card_id IS NOT NULL;
CREATE INDEX tap_by_service ON tap (tenant, service_id, happened_at);

-- Policies of the parent hold for whoever names the parent; nobody but the owner may name a month.
ALTER TABLE tap ENABLE ROW LEVEL SECURITY;
ALTER TABLE tap FORCE ROW LEVEL SECURITY;
ALTER TABLE passage ENABLE ROW LEVEL SECURITY;
ALTER TABLE passage FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON tap USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant));
CREATE POLICY own_tenant ON passage USING (rescard_sees(tenant)) WITH CHECK (rescard_sees(tenant));
GRANT SELECT, INSERT ON tap, passage TO rescard_app;
