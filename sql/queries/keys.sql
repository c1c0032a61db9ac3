-- name: active^
-- The key that signs now for this purpose.
SELECT kid, private_sealed
FROM signing_key
WHERE tenant = :tenant AND purpose = :purpose AND state = 'active';

-- name: believed
-- Public keys that may be believed, oldest first; every purpose where none is named.
SELECT public_jwk
FROM signing_key
WHERE tenant = :tenant AND state IN ('published', 'active', 'retired') AND (:purpose::text IS NULL OR purpose = :purpose)
ORDER BY created_at, kid;

-- name: add^
-- A new key, already sealed.
INSERT INTO signing_key (tenant, kid, purpose, state, public_jwk, private_sealed, activated_at)
VALUES (:tenant, :kid, :purpose, :state, :public_jwk, :private_sealed,
        CASE WHEN :state = 'active' THEN now() END)
RETURNING created_at;

-- name: get^
-- One key.
SELECT tenant, kid, purpose, state, public_jwk, created_at, activated_at, retired_at, rotation_by
FROM signing_key
WHERE tenant = :tenant AND kid = :kid;

-- name: get_for_change^
-- One key, locked until the transaction ends. Cards that refer to it may be written meanwhile.
SELECT tenant, kid, purpose, state, public_jwk, created_at, activated_at, retired_at, rotation_by
FROM signing_key
WHERE tenant = :tenant AND kid = :kid
FOR NO KEY UPDATE;

-- name: set_state^
-- Moves a key on.
UPDATE signing_key
SET state = :state,
    activated_at = CASE WHEN :state = 'active' THEN :now ELSE activated_at END,
    retired_at = CASE WHEN :state IN ('retired', 'revoked') THEN coalesce(retired_at, :now) ELSE retired_at END,
    rotation_by = CASE WHEN :state IN ('active', 'published') THEN rotation_by END
WHERE tenant = :tenant AND kid = :kid
RETURNING tenant, kid, purpose, state, public_jwk, created_at, activated_at, retired_at, rotation_by;

-- name: retire_active!
-- The key that signed so far signs no more; what it signed stays good.
UPDATE signing_key
SET state = 'retired', retired_at = :now
WHERE tenant = :tenant AND purpose = :purpose AND state = 'active';

-- name: every
-- All keys of a tenant, oldest first.
SELECT kid, purpose, state, public_jwk, created_at, activated_at, retired_at, rotation_by
FROM signing_key
WHERE tenant = :tenant
ORDER BY created_at, kid;

-- name: platform_secret$
-- A secret of the platform, sealed.
SELECT sealed FROM platform_secret WHERE name = :name;

-- name: add_platform_secret!
-- A secret of the platform, unless another process was quicker.
INSERT INTO platform_secret (name, sealed) VALUES (:name, :sealed) ON CONFLICT DO NOTHING;

-- name: may_sign
-- Keys of all tenants that sign now or may soon.
SELECT tenant, kid, private_sealed FROM signing_key WHERE state IN ('published', 'active') ORDER BY tenant, kid;

-- name: publish_numbers!
-- A key is told under the numbers that the council's feeds have now. The caller holds the tenant's lock.
INSERT INTO key_publication (tenant, kid, area, epoch, number)
SELECT tenant, :kid, area, epoch, number FROM feed WHERE tenant = :tenant;

-- name: readers_without
-- Readers that do not know a key yet, by feed: those that have reported neither its number nor one of a later epoch.
SELECT r.tenant, r.reader_id, r.name, r.site_id, s.name AS site_name, r.last_seen_at, f.area,
       CASE WHEN p.epoch = f.epoch THEN p.number END AS needs,
       (SELECT max(a.number) FROM reader_applied a
        WHERE a.tenant = r.tenant AND a.reader_id = r.reader_id AND a.feed_tenant = f.tenant AND a.area = f.area
          AND a.epoch = f.epoch) AS has
FROM feed f
JOIN reader r ON r.state = 'active' AND f.tenant || '/' || f.area = ANY (r.feeds)
LEFT JOIN site s ON s.tenant = r.tenant AND s.site_id = r.site_id
LEFT JOIN key_publication p ON p.tenant = f.tenant AND p.kid = :kid AND p.area = f.area
WHERE f.tenant = :tenant
  AND NOT EXISTS (
      SELECT FROM reader_applied a
      WHERE a.tenant = r.tenant AND a.reader_id = r.reader_id AND a.feed_tenant = f.tenant AND a.area = f.area
        AND CASE WHEN a.epoch = p.epoch THEN a.number >= p.number
                 ELSE a.epoch = f.epoch END  -- a feed or an epoch that began after the key begins with it
  )
ORDER BY r.last_seen_at NULLS FIRST, r.reader_id, f.area;

-- name: rotating
-- Keys of all tenants that shall sign as soon as every gate has them.
SELECT tenant, kid, purpose, created_at, rotation_by FROM signing_key
WHERE state = 'published' AND rotation_by IS NOT NULL
ORDER BY created_at;

-- name: rotating_of$
-- The key of this purpose that is on its way to sign.
SELECT kid FROM signing_key
WHERE tenant = :tenant AND purpose = :purpose AND state = 'published' AND rotation_by IS NOT NULL;

-- name: rotate!
-- Let a published key sign as soon as every gate has it.
UPDATE signing_key SET rotation_by = :actor WHERE tenant = :tenant AND kid = :kid;

-- name: call_off
-- Published keys of this purpose other than the given one no longer sign by themselves.
UPDATE signing_key SET rotation_by = NULL
WHERE tenant = :tenant AND purpose = :purpose AND kid <> :kid AND state = 'published' AND rotation_by IS NOT NULL
RETURNING kid;

-- name: over
-- Retired keys for cards that signed nothing which is still good: no living card is as old as the key's last signature.
-- A card's code may be signed anew at any time, so each card that was there while the key signed counts as signed by it.
SELECT k.tenant, k.kid
FROM signing_key k
WHERE k.state = 'retired' AND k.purpose = 'card'
  AND (k.activated_at IS NULL OR NOT EXISTS (
      SELECT FROM card c
      WHERE c.tenant = k.tenant AND c.state IN ('active', 'suspended') AND c.expires_at > :now
        AND c.issued_at <= k.retired_at + interval '1 hour'  -- a request that was under way when it was retired
  ));

-- name: cards_of^
-- Living cards that a key signed when they were issued, and those whose code it may have signed anew since.
SELECT count(*) FILTER (WHERE c.kid = k.kid) AS issued,
       count(*) FILTER (WHERE c.kid <> k.kid AND k.activated_at IS NOT NULL
                          AND c.issued_at <= coalesce(k.retired_at, c.issued_at)) AS perhaps
FROM signing_key k
LEFT JOIN card c ON c.tenant = k.tenant AND c.state IN ('active', 'suspended') AND c.expires_at > :now
WHERE k.tenant = :tenant AND k.kid = :kid;
