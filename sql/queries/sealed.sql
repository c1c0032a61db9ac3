-- Everything sealed in the database, for a change of the key-encryption key. Sealed bytes begin with a version and the id
-- of the key-encryption key, 9 bytes in all; version 1 had no id. `head` is the beginning that a row shall have, and
-- `after` the last row looked at, so that rows which do not open are passed over.

-- name: heads
-- How many rows of each kind are sealed under which key-encryption key; no id is version 1.
SELECT kind, CASE get_byte(sealed, 0) WHEN 1 THEN '' ELSE encode(substring(sealed FROM 2 FOR 8), 'hex') END AS key_id,
       count(*) AS rows
FROM (
    SELECT 'signing keys' AS kind, private_sealed AS sealed FROM signing_key
    UNION ALL SELECT 'tenant secrets', sealed FROM tenant_secret
    UNION ALL SELECT 'PIN verifiers', verifier_sealed FROM person_pin
    UNION ALL SELECT 'platform secrets', sealed FROM platform_secret
    UNION ALL SELECT 'remembered replies', response FROM idempotency
    UNION ALL SELECT 'remembered requests', request_sha256 FROM idempotency WHERE length(request_sha256) > 32
) AS every
WHERE length(sealed) > 0
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: signing_keys
-- Signing keys to be sealed anew.
SELECT ARRAY[tenant, kid] AS place, private_sealed AS sealed
FROM signing_key
WHERE substring(private_sealed FROM 1 FOR 9) <> :head AND ARRAY[tenant, kid] > :after::text[]
ORDER BY place
LIMIT :limit;

-- name: put_signing_key!
-- Unless somebody else sealed it anew meanwhile.
UPDATE signing_key SET private_sealed = :new
WHERE ARRAY[tenant, kid] = :place::text[] AND private_sealed = :old;

-- name: tenant_secrets
-- Masters to be sealed anew.
SELECT ARRAY[tenant, kind, secret_id::text] AS place, sealed
FROM tenant_secret
WHERE substring(sealed FROM 1 FOR 9) <> :head AND ARRAY[tenant, kind, secret_id::text] > :after::text[]
ORDER BY place
LIMIT :limit;

-- name: put_tenant_secret!
-- Unless somebody else sealed it anew meanwhile.
UPDATE tenant_secret SET sealed = :new
WHERE ARRAY[tenant, kind, secret_id::text] = :place::text[] AND sealed = :old;

-- name: pin_verifiers
-- Verifiers of PINs to be sealed anew.
SELECT ARRAY[tenant, person_id::text] AS place, verifier_sealed AS sealed
FROM person_pin
WHERE substring(verifier_sealed FROM 1 FOR 9) <> :head AND ARRAY[tenant, person_id::text] > :after::text[]
ORDER BY place
LIMIT :limit;

-- name: put_pin_verifier!
-- Unless the PIN was changed meanwhile. Its version stays: it is the same PIN.
UPDATE person_pin SET verifier_sealed = :new
WHERE tenant = (:place::text[])[1] AND person_id = ((:place::text[])[2])::uuid AND verifier_sealed = :old;

-- name: platform_secrets
-- Secrets of the platform to be sealed anew.
SELECT ARRAY[name] AS place, sealed
FROM platform_secret
WHERE substring(sealed FROM 1 FOR 9) <> :head AND ARRAY[name] > :after::text[]
ORDER BY place
LIMIT :limit;

-- name: put_platform_secret!
-- Unless somebody else sealed it anew meanwhile.
UPDATE platform_secret SET sealed = :new WHERE name = (:place::text[])[1] AND sealed = :old;

-- name: replies
-- Remembered replies to be sealed anew.
SELECT ARRAY[tenant, actor, key] AS place, response AS sealed
FROM idempotency
WHERE substring(response FROM 1 FOR 9) <> :head AND ARRAY[tenant, actor, key] > :after::text[]
ORDER BY place
LIMIT :limit;

-- name: put_reply!
-- Unless it was forgotten meanwhile.
UPDATE idempotency SET response = :new
WHERE tenant = (:place::text[])[1] AND actor = (:place::text[])[2] AND key = (:place::text[])[3] AND response = :old;

-- name: requests
-- Remembered digests of requests to be sealed anew.
SELECT ARRAY[tenant, actor, key] AS place, request_sha256 AS sealed
FROM idempotency
WHERE length(request_sha256) > 32 AND substring(request_sha256 FROM 1 FOR 9) <> :head
  AND ARRAY[tenant, actor, key] > :after::text[]
ORDER BY place
LIMIT :limit;

-- name: put_request!
-- Unless it was forgotten meanwhile.
UPDATE idempotency SET request_sha256 = :new
WHERE tenant = (:place::text[])[1] AND actor = (:place::text[])[2] AND key = (:place::text[])[3]
  AND request_sha256 = :old;
