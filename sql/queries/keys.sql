-- name: active^
-- The key that signs now for this purpose.
SELECT kid, private_sealed
FROM signing_key
WHERE tenant = :tenant AND purpose = :purpose AND state = 'active';

-- name: believed
-- Public keys that may be believed, oldest first; every purpose where none is named.
SELECT public_jwk
FROM signing_key
WHERE tenant = :tenant AND state <> 'revoked' AND (:purpose::text IS NULL OR purpose = :purpose)
ORDER BY created_at, kid;

-- name: add^
-- A new key, already sealed.
INSERT INTO signing_key (tenant, kid, purpose, state, public_jwk, private_sealed)
VALUES (:tenant, :kid, :purpose, :state, :public_jwk, :private_sealed)
RETURNING created_at;

-- name: get_for_change^
-- One key, locked until the transaction ends.
SELECT kid, purpose, state, public_jwk, created_at
FROM signing_key
WHERE tenant = :tenant AND kid = :kid
FOR UPDATE;

-- name: set_state!
-- Moves a key on.
UPDATE signing_key SET state = :state WHERE tenant = :tenant AND kid = :kid;

-- name: retire_active!
-- The key that signed so far signs no more; what it signed stays good.
UPDATE signing_key SET state = 'retired' WHERE tenant = :tenant AND purpose = :purpose AND state = 'active';

-- name: every
-- All keys of a tenant, oldest first.
SELECT kid, purpose, state, public_jwk, created_at
FROM signing_key
WHERE tenant = :tenant
ORDER BY created_at, kid;
