-- name: state^
-- Whether a person has a PIN, and its version; nothing of the PIN itself.
SELECT version, verifier_sealed IS NOT NULL AS is_set, changed_at
FROM person_pin
WHERE tenant = :tenant AND person_id = :person_id;

-- name: put^
-- A PIN from now on, under the next version.
INSERT INTO person_pin (tenant, person_id, verifier_sealed, changed_at)
VALUES (:tenant, :person_id, :verifier_sealed, :now)
ON CONFLICT (tenant, person_id) DO UPDATE
SET version = person_pin.version + 1, verifier_sealed = EXCLUDED.verifier_sealed, changed_at = EXCLUDED.changed_at
RETURNING version, true AS is_set, changed_at;

-- name: clear^
-- No PIN from now on; nothing comes back where there was none.
UPDATE person_pin
SET version = version + 1, verifier_sealed = NULL, changed_at = :now
WHERE tenant = :tenant AND person_id = :person_id AND verifier_sealed IS NOT NULL
RETURNING version, false AS is_set, changed_at;

-- name: unlock^
-- The same PIN under another version: wrong attempts at gates no longer count. Nothing where there is no PIN.
UPDATE person_pin
SET version = version + 1, changed_at = :now
WHERE tenant = :tenant AND person_id = :person_id AND verifier_sealed IS NOT NULL
RETURNING version, true AS is_set, changed_at;

-- name: verifiers
-- Sealed verifiers of a tenant's active cards whose holder has a PIN.
SELECT c.card_index, substring(c.card_id FROM 1 FOR 4) AS tag, p.person_id, p.version, p.verifier_sealed
FROM person_pin p
JOIN card c ON c.tenant = p.tenant AND c.person_id = p.person_id
WHERE p.tenant = :tenant AND p.verifier_sealed IS NOT NULL AND c.state = 'active'
ORDER BY c.card_index;
