-- name: cards_numbered$
-- How many cards a tenant ever had: quick, and never too few.
SELECT cards_numbered FROM tenant WHERE tenant = :tenant;

-- name: add^
-- Work for the background. One change of a service may wait or run at a time.
INSERT INTO job (tenant, kind, service_id, draft_id, asked_by, request, tenants, created_at)
VALUES (:tenant, :kind, :service_id, :draft_id, :asked_by, :request, :tenants, :now)
RETURNING *;

-- name: get^
-- One job.
SELECT * FROM job WHERE tenant = :tenant AND job_id = :job_id;

-- name: page
-- Jobs, newest first, before one of them.
SELECT * FROM job
WHERE tenant = :tenant
  AND (:before_time::timestamptz IS NULL OR (created_at, job_id) < (:before_time, :before_id::uuid))
ORDER BY created_at DESC, job_id DESC
LIMIT :limit;

-- name: of_draft$
-- The open job of a draft.
SELECT job_id FROM job
WHERE tenant = :tenant AND draft_id = :draft_id AND state IN ('waiting', 'running')
ORDER BY created_at DESC LIMIT 1;

-- name: open_jobs
-- Work that waits, or that somebody does or did not finish, of any council, oldest first.
SELECT tenant, job_id FROM job WHERE state IN ('waiting', 'running') ORDER BY created_at;

-- name: try_claim$
-- One process does a job. Held by the session: if it dies, PostgreSQL gives the job to the next who asks.
SELECT pg_try_advisory_lock(hashtextextended('rescard.job/' || :job_id::text, 0));

-- name: unclaim$
-- The next one may have it.
SELECT pg_advisory_unlock(hashtextextended('rescard.job/' || :job_id::text, 0));

-- name: start^
-- Begins, or begins anew, unless it is over.
UPDATE job
SET state = 'running', step = :step, done = 0, total = 0, attempts = attempts + :attempt, beat_at = clock_timestamp()
WHERE tenant = :tenant AND job_id = :job_id AND state IN ('waiting', 'running')
RETURNING *;

-- name: progress!
-- How far it is.
UPDATE job SET step = :step, done = :done, total = :total, beat_at = clock_timestamp()
WHERE tenant = :tenant AND job_id = :job_id AND state = 'running';

-- name: finish!
-- It is over.
UPDATE job
SET state = :state, step = :state, result = :result, problem = :problem, finished_at = clock_timestamp(),
    beat_at = clock_timestamp()
WHERE tenant = :tenant AND job_id = :job_id;

-- name: clear_rows$
-- Forgets some of what was prepared; how many rows it was.
WITH gone AS (
    DELETE FROM staged_row
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM staged_row WHERE tenant = :tenant AND job_id = :job_id LIMIT :limit
    ))
    RETURNING 1
)
SELECT count(*) FROM gone;

-- name: clear_profiles!
-- Forgets the profiles that were prepared.
DELETE FROM staged_profile WHERE tenant = :tenant AND job_id = :job_id;

-- name: clear_holders$
-- Forgets some of the holders' records that were prepared; how many it was.
WITH gone AS (
    DELETE FROM staged_holder
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM staged_holder WHERE tenant = :tenant AND job_id = :job_id LIMIT :limit
    ))
    RETURNING 1
)
SELECT count(*) FROM gone;

-- name: leftovers
-- Jobs of the last week that are over and of which something prepared is still there: a process died while it cleared.
SELECT j.tenant, j.job_id, j.tenants
FROM job j
WHERE j.state IN ('done', 'failed') AND j.finished_at > now() - interval '7 days'
  AND EXISTS (
      SELECT FROM unnest(j.tenants) AS t (tenant)
      WHERE EXISTS (SELECT FROM staged_row s WHERE s.tenant = t.tenant AND s.job_id = j.job_id)
         OR EXISTS (SELECT FROM staged_holder h WHERE h.tenant = t.tenant AND h.job_id = j.job_id)
         OR EXISTS (SELECT FROM staged_profile p WHERE p.tenant = t.tenant AND p.job_id = j.job_id)
  );

-- name: clear_touched!
-- Forgets who changed meanwhile.
DELETE FROM touched_person WHERE tenant = :tenant AND job_id = :job_id;

-- name: card_holders
-- Everybody who holds a card.
SELECT DISTINCT person_id FROM card WHERE tenant = :tenant ORDER BY person_id;

-- name: stage_rows!
-- Rows for later.
INSERT INTO staged_row (tenant, job_id, area, person_id, card_index, card_id, state, digest)
SELECT :tenant, :job_id, new.area, new.person_id, new.card_index, new.card_id, new.state, new.digest
FROM unnest(:areas::text[], :people::uuid[], :indexes::integer[], :card_ids::bytea[], :states::smallint[],
            :digests::bytea[]) AS new (area, person_id, card_index, card_id, state, digest);

-- name: stage_profiles!
-- Profiles for later.
INSERT INTO staged_profile (tenant, job_id, area, digest, body)
SELECT :tenant, :job_id, new.area, new.digest, new.body
FROM unnest(:areas::text[], :digests::bytea[], :bodies::bytea[]) AS new (area, digest, body)
ON CONFLICT DO NOTHING;

-- name: stage_holders!
-- Holders' records for later.
INSERT INTO staged_holder (tenant, job_id, area, card_index, body)
SELECT :tenant, :job_id, new.area, new.card_index, new.body
FROM unnest(:areas::text[], :indexes::integer[], :bodies::bytea[]) AS new (area, card_index, body);

-- name: staged_profiles
-- The profiles that were prepared.
SELECT area, digest, body FROM staged_profile WHERE tenant = :tenant AND job_id = :job_id ORDER BY area, digest;

-- name: whole_tables$
-- The statements that follow in this transaction go through whole tables. The planner cannot know: nobody has counted
-- what was staged a moment ago, and row-level security hides the rest from its guesses. Nested loops would take hours.
SELECT set_config('enable_nestloop', 'off', true);

-- name: single_rows$
-- Back to what is right for single rows.
SELECT set_config('enable_nestloop', 'on', true);

-- name: last_index$
-- The highest index of a card that was prepared.
SELECT max(card_index) FROM staged_row WHERE tenant = :tenant AND job_id = :job_id;

-- name: change_rows!
-- What was prepared is what the feeds tell from now on, of cards in a range of indexes that have a row; rows that stay as
-- they are are not written.
UPDATE card_row r
SET state = s.state, profile_id = p.profile_id
FROM staged_row s
JOIN profile p ON p.tenant = s.tenant AND p.area = s.area AND p.digest = s.digest
WHERE s.tenant = :tenant AND s.job_id = :job_id AND s.card_index >= :first AND s.card_index < :after
  AND r.tenant = s.tenant AND r.area = s.area AND r.card_index = s.card_index
  AND (r.state, r.profile_id) IS DISTINCT FROM (s.state, p.profile_id);

-- name: new_rows!
-- The same for cards that have no row there yet.
INSERT INTO card_row (tenant, area, card_index, card_id, state, profile_id)
SELECT s.tenant, s.area, s.card_index, s.card_id, s.state, p.profile_id
FROM staged_row s
JOIN profile p ON p.tenant = s.tenant AND p.area = s.area AND p.digest = s.digest
WHERE s.tenant = :tenant AND s.job_id = :job_id AND s.card_index >= :first AND s.card_index < :after
  AND NOT EXISTS (
      SELECT FROM card_row r WHERE r.tenant = s.tenant AND r.area = s.area AND r.card_index = s.card_index
  );

-- name: install_holders!
-- The same for the holders' records.
INSERT INTO holder_row (tenant, area, card_index, body)
SELECT s.tenant, s.area, s.card_index, s.body
FROM staged_holder s
LEFT JOIN holder_row h ON h.tenant = s.tenant AND h.area = s.area AND h.card_index = s.card_index
WHERE s.tenant = :tenant AND s.job_id = :job_id AND h.body IS DISTINCT FROM s.body
ON CONFLICT (tenant, area, card_index) DO UPDATE SET body = EXCLUDED.body;

-- name: remove_holders!
-- Cards of these areas whose holders need no record any more.
DELETE FROM holder_row h
WHERE h.tenant = :tenant AND h.area = ANY (:areas::text[])
  AND NOT EXISTS (
      SELECT FROM staged_holder s
      WHERE s.tenant = h.tenant AND s.job_id = :job_id AND s.area = h.area AND s.card_index = h.card_index
  );

-- name: touched
-- Whose facts or cards changed since the job began to read.
SELECT person_id FROM touched_person WHERE tenant = :tenant AND job_id = :job_id ORDER BY person_id;
