-- name: add_token$
-- A new API token; only its hash is stored.
INSERT INTO api_token (tenant, token_sha256, label, person, roles, expires_at)
VALUES (:tenant, :token_sha256, :label, :person, :roles, :expires_at)
RETURNING token_id;

-- name: find_token^
-- The live token with this hash, and for how long it is still good.
SELECT tenant, label, person, roles, extract(epoch FROM expires_at - now())::double precision AS seconds_left
FROM api_token
WHERE token_sha256 = :token_sha256 AND revoked_at IS NULL AND expires_at > now();

-- name: tenant_exists$
-- Whether a tenant of this name is served.
SELECT EXISTS (SELECT FROM tenant WHERE tenant = :tenant);

-- name: claim_idempotency_key$
-- Takes the key for this request; nothing comes back where it was taken before. A second request with the same key
-- waits here until the first has committed.
INSERT INTO idempotency (tenant, actor, key, request_sha256, status, response)
VALUES (:tenant, :actor, :key, :request_sha256, 0, '')
ON CONFLICT DO NOTHING
RETURNING true;

-- name: find_idempotent_answer^
-- What the first request with this key was answered.
SELECT request_sha256, status, response
FROM idempotency
WHERE tenant = :tenant AND actor = :actor AND key = :key;

-- name: keep_idempotent_answer!
-- Remember the answer, in the transaction of the change itself.
UPDATE idempotency
SET status = :status, response = :response
WHERE tenant = :tenant AND actor = :actor AND key = :key;

-- name: forget_idempotency_keys!
-- Keys are kept for a day.
DELETE FROM idempotency WHERE created_at < now() - interval '1 day';

-- name: add_audit!
-- Who did what to whom.
INSERT INTO audit (tenant, actor, action, subject, detail, request_id)
VALUES (:tenant, :actor, :action, :subject, :detail, :request_id);

-- name: tokens_page
-- API tokens of a tenant, newest first, before one of them; never the token itself.
SELECT token_id, label, person, roles, created_at, expires_at, revoked_at
FROM api_token
WHERE tenant = :tenant
  AND (:before_time::timestamptz IS NULL OR (created_at, token_id) < (:before_time, :before_id::uuid))
ORDER BY created_at DESC, token_id DESC
LIMIT :limit;

-- name: get_token^
-- One API token.
SELECT token_id, label, person, roles, created_at, expires_at, revoked_at
FROM api_token
WHERE tenant = :tenant AND token_id = :token_id;

-- name: revoke_token^
-- Ends an API token at once; again does no harm.
UPDATE api_token
SET revoked_at = coalesce(revoked_at, :now)
WHERE tenant = :tenant AND token_id = :token_id
RETURNING token_id, label, person, roles, created_at, expires_at, revoked_at;

-- name: answers$
-- Whether the database answers.
SELECT true;
