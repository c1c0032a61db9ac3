-- name: put^
-- The word of another system on a person; an older one than the known does not count, and nothing comes back.
INSERT INTO upstream_word (tenant, person_id, name, not_blocked, said_at, told_by)
VALUES (:tenant, :person_id, :name, :not_blocked, :said_at, :told_by)
ON CONFLICT (tenant, person_id, name) DO UPDATE
SET not_blocked = EXCLUDED.not_blocked, said_at = EXCLUDED.said_at, told_by = EXCLUDED.told_by
WHERE upstream_word.said_at <= EXCLUDED.said_at
RETURNING *;

-- name: of_person
-- All systems' last words on a person.
SELECT name, not_blocked, said_at
FROM upstream_word
WHERE tenant = :tenant AND person_id = :person_id;

-- name: page_of_person
-- Systems' last words on a person by their names, after one of them.
SELECT *
FROM upstream_word
WHERE tenant = :tenant AND person_id = :person_id AND (:after::text IS NULL OR name > :after)
ORDER BY name
LIMIT :limit;

-- name: recent
-- Words of these systems, each since its own time.
SELECT w.*
FROM upstream_word w
JOIN unnest(:names::text[], :sinces::timestamptz[]) AS wanted (name, since) USING (name)
WHERE w.tenant = :tenant AND w.said_at >= wanted.since
ORDER BY w.name, w.person_id;
