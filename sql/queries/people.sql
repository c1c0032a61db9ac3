-- name: add^
-- A new person.
INSERT INTO person (tenant, given_name, family_name, date_of_birth, household, email, phone)
VALUES (:tenant, :given_name, :family_name, :date_of_birth, :household, :email, :phone)
RETURNING *;

-- name: get^
-- One person.
SELECT * FROM person WHERE tenant = :tenant AND person_id = :person_id;

-- name: exists$
-- Whether there is such a person.
SELECT EXISTS (SELECT FROM person WHERE tenant = :tenant AND person_id = :person_id);

-- name: update^
-- Replaces what is known of a person, if nobody changed it meanwhile.
UPDATE person
SET given_name = :given_name, family_name = :family_name, date_of_birth = :date_of_birth, household = :household,
    email = :email, phone = :phone, version = version + 1, updated_at = :now
WHERE tenant = :tenant AND person_id = :person_id AND version = :version
RETURNING *;

-- name: page
-- People after an id, in the order of their ids; of one household or family name where it is given.
SELECT *
FROM person
WHERE tenant = :tenant
  AND (:after::uuid IS NULL OR person_id > :after)
  AND (:household::text IS NULL OR household = :household)
  AND (:family_name::text IS NULL OR lower(family_name) = lower(:family_name))
ORDER BY person_id
LIMIT :limit;

-- name: add_fact^
-- A new statement on a person.
INSERT INTO fact (tenant, person_id, kind, name, from_date, until_date, detail, checked_by)
VALUES (:tenant, :person_id, :kind, :name, :from_date, :until_date, :detail, :checked_by)
RETURNING *;

-- name: get_fact^
-- One statement on a person.
SELECT * FROM fact WHERE tenant = :tenant AND person_id = :person_id AND fact_id = :fact_id;

-- name: end_fact^
-- Withdraws a statement that still stands.
UPDATE fact
SET ended_at = :now
WHERE tenant = :tenant AND person_id = :person_id AND fact_id = :fact_id AND ended_at IS NULL
RETURNING *;

-- name: facts_page
-- Statements on a person, oldest first, after one of them; the withdrawn ones too where asked for.
SELECT *
FROM fact
WHERE tenant = :tenant AND person_id = :person_id
  AND (:after_time::timestamptz IS NULL OR (created_at, fact_id) > (:after_time, :after_id::uuid))
  AND (:withdrawn::boolean OR ended_at IS NULL)
ORDER BY created_at, fact_id
LIMIT :limit;
