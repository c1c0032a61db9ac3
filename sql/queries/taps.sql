-- name: lock_site$
-- Uploads from a site that concern units follow one another: of a tap and its passage, sent at the same time, the later
-- one sees the earlier.
SELECT pg_advisory_xact_lock(hashtextextended('rescard.site/' || :tenant::text || '/' || :site::text, 0));

-- name: add_taps
-- Stores a batch; comes back with the ids that were new. A tap_id that is there already is left as it was. What many taps
-- have alike is sent once, and each names it by its place. In the order of the ids: so two uploads of the same taps wait
-- for each other and never for ever.
INSERT INTO tap (
    tenant, reader_id, tap_id, site_id, lane_id, direction, happened_at, card_tenant, card_id, service_id,
    service_version, outcome, reason, band, pence, effects, media, feed, feed_number, online, clock_trusted,
    clock_offset_ms, detail, acts_for, item, presentation
)
SELECT
    :tenant, :reader_id, own.tap_id, alike.site_id, alike.lane_id, alike.direction, own.happened_at, alike.card_tenant,
    own.card_id, alike.service_id, alike.service_version, alike.outcome, alike.reason, alike.band, alike.pence,
    own.effects::jsonb, alike.media, alike.feed, own.feed_number, alike.online, alike.clock_trusted,
    own.clock_offset_ms, own.detail, own.acts_for, own.item, alike.presentation
FROM unnest(
    :places::integer[], :tap_ids::uuid[], :moments::timestamptz[], :cards::bytea[], :effects::text[],
    :feed_numbers::bigint[], :clock_offsets::bigint[], :details::text[], :acting::integer[], :items::text[]
) AS own (place, tap_id, happened_at, card_id, effects, feed_number, clock_offset_ms, detail, acts_for, item)
JOIN unnest(
    :sites::text[], :lanes::text[], :directions::text[], :card_tenants::text[], :services::text[],
    :service_versions::integer[], :outcomes::text[], :reasons::text[], :bands::text[], :pence::integer[], :media::text[],
    :feeds::text[], :online::boolean[], :clock_trusted::boolean[], :presentations::text[]
) WITH ORDINALITY AS alike (
    site_id, lane_id, direction, card_tenant, service_id, service_version, outcome, reason, band, pence, media, feed,
    online, clock_trusted, presentation, place
) ON alike.place = own.place
ORDER BY own.tap_id
ON CONFLICT (tenant, tap_id) DO NOTHING
RETURNING tap_id;

-- name: kept_taps
-- What stands under these ids.
SELECT tap_id, site_id, lane_id, happened_at, outcome, reason
FROM tap
WHERE tenant = :tenant AND tap_id = ANY (:tap_ids::uuid[]);

-- name: add_passages
-- Stores what passage contacts said; comes back with the ids that were new.
INSERT INTO passage (tenant, tap_id, result, happened_at)
SELECT :tenant, item.tap_id, item.result, item.happened_at
FROM unnest(:tap_ids::uuid[], :outcomes::text[], :moments::timestamptz[]) AS item (tap_id, result, happened_at)
ORDER BY item.tap_id
ON CONFLICT (tenant, tap_id) DO NOTHING
RETURNING tap_id;

-- name: kept_passages
-- What stands under these ids.
SELECT tap_id, result, happened_at
FROM passage
WHERE tenant = :tenant AND tap_id = ANY (:tap_ids::uuid[]);

-- name: not_passed
-- Those of a site's taps after whose release nobody passed.
SELECT tap.tap_id, tap.card_tenant, tap.service_version
FROM tap
JOIN passage ON passage.tenant = tap.tenant AND passage.tap_id = tap.tap_id
WHERE tap.tenant = :tenant AND tap.tap_id = ANY (:tap_ids::uuid[]) AND tap.site_id = :site
  AND tap.card_tenant IS NOT NULL AND passage.result IN ('timed_out', 'fault');

-- name: passed_by_lane
-- How many people passed each lane of a site within a time, and when the last did. A second scan within the gap that a
-- service sets is one more person at the gate, as the gate counts them.
SELECT tap.lane_id, tap.direction, count(*)::integer AS people, max(passage.happened_at) AS last_at
FROM tap
JOIN passage ON passage.tenant = tap.tenant AND passage.tap_id = tap.tap_id
WHERE tap.tenant = :tenant AND tap.site_id = :site AND tap.happened_at >= :since AND tap.happened_at < :until
  AND tap.outcome = 'allow' AND passage.result = 'passed'
GROUP BY tap.lane_id, tap.direction;

-- name: list_taps
-- Taps of the tenant's sites, newest first, older than the given one, each with its passage.
SELECT tap.*, passage.result AS passage_result, passage.happened_at AS passage_at
FROM tap
LEFT JOIN passage ON passage.tenant = tap.tenant AND passage.tap_id = tap.tap_id
WHERE tap.tenant = :tenant
  AND (:site::text IS NULL OR tap.site_id = :site)
  AND (:lane::text IS NULL OR tap.lane_id = :lane)
  AND (:outcome::text IS NULL OR tap.outcome = :outcome)
  AND (:card_id::bytea IS NULL OR tap.card_id = :card_id)
  AND (:since::timestamptz IS NULL OR tap.happened_at >= :since)
  AND (:until::timestamptz IS NULL OR tap.happened_at < :until)
  AND (:before_at::timestamptz IS NULL OR (tap.happened_at, tap.tap_id) < (:before_at, :before_id::uuid))
ORDER BY tap.happened_at DESC, tap.tap_id DESC
LIMIT :limit;

-- name: get_tap^
-- One tap with its passage.
SELECT tap.*, passage.result AS passage_result, passage.happened_at AS passage_at
FROM tap
LEFT JOIN passage ON passage.tenant = tap.tenant AND passage.tap_id = tap.tap_id
WHERE tap.tenant = :tenant AND tap.tap_id = :tap_id;

-- name: make_months$
-- Partitions for this month and the coming ones, where they are not there yet; gives how many were made.
SELECT rescard_make_months(:now, :months);
