-- name: councils
-- Councils on the page: one, or all ('*').
SELECT tenant, name, timezone, brand
FROM tenant
WHERE :scope = '*' OR tenant = :scope
ORDER BY name;

-- name: sites
-- Their sites with lanes.
SELECT tenant, site_id, name, lanes
FROM site
WHERE :scope = '*' OR tenant = :scope
ORDER BY name, site_id;

-- name: readers
-- The readers of those sites, the one heard of last first.
SELECT tenant, reader_id, site_id, name, feeds, state, last_seen_at, status
FROM reader
WHERE (:scope = '*' OR tenant = :scope) AND state = 'active'
ORDER BY last_seen_at DESC NULLS LAST, reader_id;

-- name: last_taps
-- The newest taps of each lane.
SELECT site.tenant, site.site_id, lane.lane_id, tap.tap_id, tap.happened_at, tap.direction, tap.outcome, tap.reason,
       tap.service_id, tap.card_id, tap.media, tap.online, passage.result AS passage_result
FROM site
CROSS JOIN LATERAL (SELECT item ->> 'lane' AS lane_id FROM jsonb_array_elements(site.lanes) AS item) AS lane
CROSS JOIN LATERAL (
    SELECT *
    FROM tap
    WHERE tap.tenant = site.tenant AND tap.site_id = site.site_id AND tap.lane_id = lane.lane_id
    ORDER BY tap.happened_at DESC, tap.tap_id DESC
    LIMIT :limit
) AS tap
LEFT JOIN passage ON passage.tenant = tap.tenant AND passage.tap_id = tap.tap_id
WHERE :scope = '*' OR site.tenant = :scope
ORDER BY tap.happened_at DESC, tap.tap_id DESC;

-- name: counts_today
-- Decisions since local midnight of each council.
SELECT tap.tenant, tap.outcome, count(*) AS taps
FROM tenant
JOIN tap ON tap.tenant = tenant.tenant
        AND tap.happened_at >= date_trunc('day', now(), tenant.timezone)
WHERE :scope = '*' OR tenant.tenant = :scope
GROUP BY tap.tenant, tap.outcome;

-- name: services
-- Titles of services, also of those published in other councils' catalogues.
SELECT DISTINCT ON (service_id) service_id, document ->> 'title' AS title
FROM service_version
ORDER BY service_id, version DESC;

-- name: last_stopped^
-- The card of a council that was stopped last.
SELECT card_id, state, updated_at
FROM card
WHERE tenant = :tenant AND state IN ('suspended', 'lost', 'replaced', 'revoked')
ORDER BY updated_at DESC
LIMIT 1;
