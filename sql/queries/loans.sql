-- name: add^
-- The loan of a tap; nothing comes back where it was written before. It has the tap's id, by which the gate knows its own
-- again, unless another council's gate made the same one.
INSERT INTO loan (tenant, loan_id, origin, tap_id, person_id, service_id, pool, item, lent_at, due)
VALUES (
    :tenant,
    CASE WHEN EXISTS (SELECT FROM loan WHERE tenant = :tenant AND loan_id = :tap_id) THEN gen_random_uuid() ELSE :tap_id END,
    :origin, :tap_id, :person_id, :service_id, :pool, :item, :lent_at, :due
)
ON CONFLICT (tenant, origin, tap_id) DO NOTHING
RETURNING *;

-- name: count_out$
-- How many items of a pool a person has out.
SELECT count(*)
FROM loan
WHERE tenant = :tenant AND person_id = :person_id AND pool = :pool AND returned_at IS NULL;

-- name: get^
-- One loan.
SELECT * FROM loan WHERE tenant = :tenant AND loan_id = :loan_id;

-- name: give_back^
-- The item came back.
UPDATE loan
SET returned_at = :now, returned_by = :returned_by
WHERE tenant = :tenant AND loan_id = :loan_id AND returned_at IS NULL
RETURNING *;

-- name: renew^
-- Out until another day.
UPDATE loan
SET due = :due, renewed = renewed + 1
WHERE tenant = :tenant AND loan_id = :loan_id AND returned_at IS NULL
RETURNING *;

-- name: page
-- Loans, newest first, older than one of them.
SELECT *
FROM loan
WHERE tenant = :tenant
  AND (:person_id::uuid IS NULL OR person_id = :person_id)
  AND (:service::text IS NULL OR service_id = :service)
  AND (:pool::text IS NULL OR pool = :pool)
  AND (:state::text IS NULL
       OR (:state = 'returned' AND returned_at IS NOT NULL)
       OR (:state = 'out' AND returned_at IS NULL)
       OR (:state = 'overdue' AND returned_at IS NULL AND due < :today::date))
  AND (:before_at::timestamptz IS NULL OR (lent_at, loan_id) < (:before_at, :before_id::uuid))
ORDER BY lent_at DESC, loan_id DESC
LIMIT :limit;

-- name: out
-- What is out of these pools.
SELECT * FROM loan WHERE tenant = :tenant AND pool = ANY (:pools::text[]) AND returned_at IS NULL ORDER BY lent_at, loan_id;
