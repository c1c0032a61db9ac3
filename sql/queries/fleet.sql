-- name: reader_by_id^
-- A reader of any tenant, for its sign-in.
SELECT tenant, reader_id, site_id, name, feeds, public_jwk, state, last_seen_at
FROM reader
WHERE reader_id = :reader_id;

-- name: seen!
-- The reader was heard of.
UPDATE reader
SET last_seen_at = now()
WHERE tenant = :tenant AND reader_id = :reader_id AND (last_seen_at IS NULL OR last_seen_at < now());

-- name: add_code$
-- A new one-time code; only its hash is stored.
INSERT INTO enrolment_code (tenant, code_sha256, site_id, name, feeds, created_by, expires_at)
VALUES (:tenant, :code_sha256, :site_id, :name, :feeds, :created_by, :expires_at)
RETURNING expires_at;

-- name: area_is_shared$
-- Whether two tenants share a published service of an area: only then may a reader of one carry the other's feed.
SELECT EXISTS (
    SELECT FROM service_version
    WHERE area = :area AND state = 'published'
      AND ((tenant = :tenant AND :other = ANY (shared_with)) OR (tenant = :other AND :tenant = ANY (shared_with)))
);

-- name: find_code^
-- Whose code this is, whatever its state.
SELECT tenant, reader_id, used_at FROM enrolment_code WHERE code_sha256 = :code_sha256;

-- name: use_code^
-- Takes a code that is still good; a second request waits here until the first has committed, and then gets nothing.
UPDATE enrolment_code
SET used_at = now(), reader_id = :reader_id
WHERE tenant = :tenant AND code_sha256 = :code_sha256 AND used_at IS NULL AND expires_at > now()
RETURNING site_id, name, feeds, created_by;

-- name: add_reader!
-- A reader that proved its key.
INSERT INTO reader (tenant, reader_id, site_id, name, feeds, public_jwk, last_seen_at)
VALUES (:tenant, :reader_id, :site_id, :name, :feeds, :public_jwk, now());

-- name: roll_key$
-- Another key in place of the one that signed the request; nothing where that was replaced in the meantime.
UPDATE reader
SET public_jwk = :public_jwk
WHERE tenant = :tenant AND reader_id = :reader_id AND state = 'active' AND public_jwk = :old_jwk
RETURNING true;

-- name: revoke$
-- Ends a reader for good; nothing where it was ended before.
UPDATE reader
SET state = 'revoked'
WHERE tenant = :tenant AND reader_id = :reader_id AND state = 'active'
RETURNING true;

-- name: get_reader^
-- One reader of the tenant.
SELECT reader_id, site_id, name, feeds, public_jwk, state, enrolled_at, last_seen_at, status
FROM reader
WHERE tenant = :tenant AND reader_id = :reader_id;

-- name: list_readers
-- Readers of the tenant by name, after the given one.
SELECT reader_id, site_id, name, feeds, public_jwk, state, enrolled_at, last_seen_at, status
FROM reader
WHERE tenant = :tenant
  AND (:site::text IS NULL OR site_id = :site)
  AND (:after_name::text IS NULL OR (name, reader_id) > (:after_name, :after_id::uuid))
ORDER BY name, reader_id
LIMIT :limit;

-- name: get_site^
-- The site a reader works at.
SELECT site_id, name, lanes FROM site WHERE tenant = :tenant AND site_id = :site_id;

-- name: keep_status!
-- A reader's last report.
UPDATE reader
SET status = :status, last_seen_at = now()
WHERE tenant = :tenant AND reader_id = :reader_id;

-- name: add_applied!
-- When a reader applied numbers that it had not reported before; a number that did not grow changes nothing.
INSERT INTO reader_applied (tenant, reader_id, feed_tenant, area, epoch, number, applied_at)
SELECT :tenant, :reader_id, item.feed_tenant, item.area, item.epoch, item.number, item.applied_at
FROM unnest(
    :feed_tenants::text[], :areas::text[], :epochs::uuid[], :numbers::bigint[], :moments::timestamptz[]
) AS item (feed_tenant, area, epoch, number, applied_at)
WHERE NOT EXISTS (
    SELECT FROM reader_applied AS known
    WHERE known.tenant = :tenant AND known.reader_id = :reader_id AND known.feed_tenant = item.feed_tenant
      AND known.area = item.area AND known.epoch = item.epoch AND known.number >= item.number
)
ON CONFLICT DO NOTHING;

-- name: forget_applied!
-- Reports are kept for a month: how long a change took is asked in the days after it.
DELETE FROM reader_applied AS old
WHERE old.reported_at < now() - interval '30 days'
  AND EXISTS (
      SELECT FROM reader_applied AS newer
      WHERE newer.tenant = old.tenant AND newer.reader_id = old.reader_id AND newer.feed_tenant = old.feed_tenant
        AND newer.area = old.area AND newer.epoch = old.epoch AND newer.number > old.number
  );

-- name: last_told
-- Every feed of the tenant, and the number from which a reader has what the feed last told of a card. That is the card's
-- newest change; where none is kept, it was pruned, or told by the snapshots of the epoch: whoever has all up to the oldest
-- change that is kept has it too.
SELECT feed.area, feed.epoch, told.written_at,
       coalesce(
           told.number,
           (SELECT min(kept.number) - 1 FROM feed_change AS kept
            WHERE kept.tenant = feed.tenant AND kept.area = feed.area),
           feed.number
       ) AS number
FROM feed
LEFT JOIN (
    SELECT DISTINCT ON (change.area) change.area, change.number, change.written_at
    FROM feed_change AS change
    WHERE change.tenant = :tenant AND change.card_id = :card_id
    ORDER BY change.area, change.number DESC
) AS told ON told.area = feed.area
WHERE feed.tenant = :tenant
ORDER BY feed.area;

-- name: subscribers
-- Readers of any tenant that carry one of these feeds, and what is known of their gates.
SELECT reader.tenant, reader.reader_id, reader.site_id, reader.name, reader.feeds, reader.last_seen_at,
       reader.state, reader.status, site.name AS site_name, site.lanes
FROM reader
LEFT JOIN site ON site.tenant = reader.tenant AND site.site_id = reader.site_id
WHERE reader.state = 'active' AND reader.feeds && :feeds::text[]
ORDER BY reader.site_id, reader.name, reader.reader_id;

-- name: applied_since
-- When each reader first reported a number that includes the change, by area.
SELECT applied.tenant, applied.reader_id, applied.area, min(applied.applied_at) AS applied_at
FROM unnest(:areas::text[], :epochs::uuid[], :numbers::bigint[]) AS change (area, epoch, number)
JOIN reader_applied AS applied
  ON applied.feed_tenant = :tenant AND applied.area = change.area AND applied.epoch = change.epoch
 AND applied.number >= change.number
GROUP BY applied.tenant, applied.reader_id, applied.area;

-- name: card_and_timezone^
-- Whether there is such a card, and the council's time zone.
SELECT tenant.timezone
FROM card
JOIN tenant ON tenant.tenant = card.tenant
WHERE card.tenant = :tenant AND card.card_id = :card_id;
