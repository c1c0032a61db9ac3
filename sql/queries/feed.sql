-- name: next_issue_number$
-- The tenant's next issue number; its row stays locked until the end of the transaction.
UPDATE tenant SET issue_number = issue_number + 1 WHERE tenant = :tenant RETURNING issue_number;

-- name: lock_tenant$
-- Serialises feed writers of a tenant; as strong a lock as the update above takes, so that foreign keys do not wait.
SELECT issue_number FROM tenant WHERE tenant = :tenant FOR NO KEY UPDATE;

-- name: bind_tenant$
-- Whose rows the rest of this transaction sees.
SELECT set_config('rescard.tenant', :tenant, true);

-- name: bound_tenant$
-- Whose rows this transaction sees.
SELECT current_setting('rescard.tenant', true);

-- name: add_feed$
-- A feed on first use; nothing comes back where it was there before.
INSERT INTO feed (tenant, area, horizon_from, horizon_until)
VALUES (:tenant, :area, :horizon_from, :horizon_until)
ON CONFLICT DO NOTHING
RETURNING true;

-- name: feeds
-- Feeds of a tenant, or those of the named areas, in the order in which they are locked. Rows are compiled for a window
-- that is ahead of the horizon while that moves.
SELECT area, epoch, number, rules, horizon_from, horizon_until,
       coalesce(next_from, horizon_from) AS compile_from, coalesce(next_until, horizon_until) AS compile_until
FROM feed
WHERE tenant = :tenant AND (:areas::text[] IS NULL OR area = ANY (:areas::text[]))
ORDER BY area;

-- name: cards
-- Cards of a tenant, or those of the named people.
SELECT card_index, card_id, state, person_id
FROM card
WHERE tenant = :tenant AND (:people::uuid[] IS NULL OR person_id = ANY (:people::uuid[]))
ORDER BY card_index;

-- name: told_rows
-- What the feeds of these areas last told of these cards (of all cards where none are named).
SELECT area, card_index, state, profile_id
FROM card_row
WHERE tenant = :tenant AND area = ANY (:areas::text[])
  AND (:indexes::integer[] IS NULL OR card_index = ANY (:indexes::integer[]));

-- name: known_profiles
-- Numbers of profiles by their content.
SELECT p.area, p.digest, p.profile_id
FROM profile p
JOIN unnest(:areas::text[], :digests::bytea[]) AS wanted (area, digest) USING (area, digest)
WHERE p.tenant = :tenant;

-- name: add_profiles
-- New profiles of one area under the smallest free numbers; the caller holds the tenant's lock.
INSERT INTO profile (tenant, area, profile_id, digest, body)
SELECT :tenant, :area, free.profile_id, new.digest, new.body
FROM unnest(:digests::bytea[], :bodies::bytea[]) WITH ORDINALITY AS new (digest, body, place)
JOIN (
    SELECT candidate AS profile_id, row_number() OVER (ORDER BY candidate) AS place
    FROM generate_series(
        0,
        (SELECT count(*) FROM profile WHERE tenant = :tenant AND area = :area)::integer + cardinality(:digests::bytea[])
    ) AS candidate
    WHERE NOT EXISTS (
        SELECT FROM profile p WHERE p.tenant = :tenant AND p.area = :area AND p.profile_id = candidate
    )
    ORDER BY candidate
    LIMIT cardinality(:digests::bytea[])
) AS free USING (place)
RETURNING digest, profile_id;

-- name: take_numbers
-- The last of n new numbers of each feed, under its row lock: gapless, because nobody else numbers until we commit.
UPDATE feed f SET number = f.number + wanted.n
FROM unnest(:areas::text[], :counts::bigint[]) AS wanted (area, n)
WHERE f.tenant = :tenant AND f.area = wanted.area
RETURNING f.area, f.number;

-- name: add_changes!
-- Changes as readers get them.
INSERT INTO feed_change (tenant, area, number, issue_number, body, card_id)
SELECT :tenant, new.area, new.number, :issue_number, new.body, new.card_id
FROM unnest(:areas::text[], :numbers::bigint[], :bodies::bytea[], :card_ids::bytea[])
    AS new (area, number, body, card_id);

-- name: put_rows!
-- What the feeds tell of these cards from now on.
INSERT INTO card_row (tenant, area, card_index, card_id, state, profile_id)
SELECT :tenant, new.area, new.card_index, new.card_id, new.state, new.profile_id
FROM unnest(:areas::text[], :indexes::integer[], :card_ids::bytea[], :states::smallint[], :profiles::integer[])
    AS new (area, card_index, card_id, state, profile_id)
ON CONFLICT (tenant, area, card_index) DO UPDATE
SET card_id = EXCLUDED.card_id, state = EXCLUDED.state, profile_id = EXCLUDED.profile_id;

-- name: first_rows!
-- A row without any right for each card of a range of indexes that has none, in an area that has no feed yet.
INSERT INTO card_row (tenant, area, card_index, card_id, state, profile_id)
SELECT c.tenant, :area, c.card_index, c.card_id, code.code, 0
FROM card c JOIN unnest(:states::text[], :codes::smallint[]) AS code (state, code) ON code.state = c.state
WHERE c.tenant = :tenant AND c.card_index >= :first AND c.card_index < :after
  AND NOT EXISTS (SELECT FROM feed f WHERE f.tenant = c.tenant AND f.area = :area)
ON CONFLICT DO NOTHING;

-- name: fill_rows!
-- The same row for every card, in an area in which nothing is offered yet. Most have it where first rows were made.
INSERT INTO card_row (tenant, area, card_index, card_id, state, profile_id)
SELECT c.tenant, :area, c.card_index, c.card_id, code.code, :profile_id
FROM card c JOIN unnest(:states::text[], :codes::smallint[]) AS code (state, code) ON code.state = c.state
WHERE c.tenant = :tenant AND NOT EXISTS (
    SELECT FROM card_row r
    WHERE r.tenant = c.tenant AND r.area = :area AND r.card_index = c.card_index
      AND (r.state, r.profile_id) = (code.code, :profile_id)
)
ON CONFLICT (tenant, area, card_index) DO UPDATE SET state = EXCLUDED.state, profile_id = EXCLUDED.profile_id;

-- name: last_card$
-- The highest index of a card.
SELECT max(card_index) FROM card WHERE tenant = :tenant;

-- name: wholly_blocked
-- People who may use nothing, on some days at least.
SELECT DISTINCT person_id
FROM fact
WHERE tenant = :tenant AND kind = 'block' AND name = '*' AND ended_at IS NULL;

-- name: new_epoch
-- Readers of these feeds start over from a snapshot. The number goes on, so that no two changes ever share one.
UPDATE feed SET epoch = gen_random_uuid(), number = number + 1
WHERE tenant = :tenant AND (:areas::text[] IS NULL OR area = ANY (:areas::text[]))
RETURNING area, number;

-- name: keep_rules!
-- What these feeds' rows were compiled from; null where they are not of one and the same.
UPDATE feed f SET rules = kept.rules
FROM unnest(:areas::text[], :rules::text[]) AS kept (area, rules)
WHERE f.tenant = :tenant AND f.area = kept.area;

-- name: begin_move!
-- Rows of feeds that are behind are compiled for this window from now on. What the feeds tell does not change yet.
UPDATE feed SET next_from = :horizon_from, next_until = :horizon_until
WHERE tenant = :tenant AND horizon_from < :horizon_from;

-- name: end_move
-- The time for which these feeds' grants are complete.
UPDATE feed SET horizon_from = next_from, horizon_until = next_until, next_from = NULL, next_until = NULL
WHERE tenant = :tenant AND next_from IS NOT NULL
RETURNING area;

-- name: stale_horizons
-- Tenants with a feed whose horizon began before this instant.
SELECT DISTINCT tenant FROM feed WHERE horizon_from < :horizon_from ORDER BY tenant;

-- name: claim_horizon$
-- One process at a time moves a tenant's horizon. Held by the session: if it dies, the next that looks goes on.
SELECT pg_try_advisory_lock(hashtextextended('rescard.horizon/' || :tenant::text, 0));

-- name: unclaim_horizon$
-- The next one may.
SELECT pg_advisory_unlock(hashtextextended('rescard.horizon/' || :tenant::text, 0));

-- name: people_with_edges
-- Card holders of whom a statement begins, or has its last day, or who were born, within one of these spans of days.
SELECT person_id
FROM (
    SELECT f.person_id
    FROM fact f JOIN unnest(:firsts::date[], :lasts::date[]) AS span (first, last)
        ON f.from_date BETWEEN span.first AND span.last OR f.until_date BETWEEN span.first - 1 AND span.last - 1
    WHERE f.tenant = :tenant AND f.ended_at IS NULL
    UNION
    SELECT p.person_id
    FROM person p JOIN unnest(:born_firsts::date[], :born_lasts::date[]) AS span (first, last)
        ON p.date_of_birth BETWEEN span.first AND span.last
    WHERE p.tenant = :tenant
) AS edged
WHERE EXISTS (SELECT FROM card c WHERE c.tenant = :tenant AND c.person_id = edged.person_id)
ORDER BY person_id;

-- name: told_digests
-- What the feeds of these areas last told of these cards, profiles by their content.
SELECT r.area, r.card_index, r.state, p.digest
FROM card_row r JOIN profile p USING (tenant, area, profile_id)
WHERE r.tenant = :tenant AND r.area = ANY (:areas::text[]) AND r.card_index = ANY (:indexes::integer[]);

-- name: unused_profiles^
-- Profiles of a feed that no card has, and the number that the feed had when that was so.
SELECT f.number, ARRAY(
    SELECT p.profile_id FROM profile p
    WHERE p.tenant = f.tenant AND p.area = f.area
      AND NOT EXISTS (
          SELECT FROM card_row r WHERE r.tenant = p.tenant AND r.area = p.area AND r.profile_id = p.profile_id
      )
) AS unused
FROM feed f
WHERE f.tenant = :tenant AND f.area = :area;

-- name: drop_profiles!
-- Profiles that no card has, unless the feed told anything since that was looked up. Under the tenant's row lock.
DELETE FROM profile p
USING feed f
WHERE f.tenant = :tenant AND f.area = :area AND f.number = :number
  AND p.tenant = f.tenant AND p.area = f.area AND p.profile_id = ANY (:unused::integer[]);

-- name: card_keys
-- Card-signing keys of a tenant that may be believed, oldest first.
SELECT public_jwk
FROM signing_key
WHERE tenant = :tenant AND purpose = 'card' AND state IN ('published', 'active', 'retired')
ORDER BY created_at, kid;

-- name: head^
-- Where a feed stands.
SELECT f.epoch, f.number, t.issue_number, f.horizon_from, f.horizon_until
FROM feed f JOIN tenant t USING (tenant)
WHERE f.tenant = :tenant AND f.area = :area;

-- name: heads
-- Where these feeds stand, of any tenant: for the pump that feeds all streams of a process.
SELECT f.tenant, f.area, f.epoch, f.number, t.issue_number
FROM feed f
JOIN tenant t USING (tenant)
JOIN unnest(:tenants::text[], :areas::text[]) AS wanted (tenant, area) USING (tenant, area);

-- name: changes
-- Changes from a number up to another, oldest first.
SELECT number, body
FROM feed_change
WHERE tenant = :tenant AND area = :area AND number >= :first AND number <= :upto
ORDER BY number
LIMIT :limit;

-- name: change$
-- One change, to see whether whoever says that they have it means the same.
SELECT body FROM feed_change WHERE tenant = :tenant AND area = :area AND number = :number;

-- name: lost_readers
-- Those of these readers that are revoked, gone, or no longer enrolled for what they listen to.
SELECT wanted.reader_id
FROM unnest(:readers::uuid[], :feeds::text[]) AS wanted (reader_id, feed)
LEFT JOIN reader r ON r.reader_id = wanted.reader_id AND r.state = 'active'
WHERE r.reader_id IS NULL OR NOT wanted.feed = ANY (r.feeds);

-- name: newest_snapshot^
-- The newest snapshot of the feed's present epoch.
SELECT s.number, s.manifest, s.created_at
FROM feed_snapshot s JOIN feed f USING (tenant, area, epoch)
WHERE tenant = :tenant AND area = :area
ORDER BY s.number DESC
LIMIT 1;

-- name: try_snapshot_lock$
-- One process at a time builds a snapshot of a feed. Held by the session: the snapshot of the data must be taken after it.
SELECT pg_try_advisory_lock(hashtextextended('rescard.snapshot/' || :tenant::text || '/' || :area::text, 0));

-- name: snapshot_unlock$
-- The next one may build.
SELECT pg_advisory_unlock(hashtextextended('rescard.snapshot/' || :tenant::text || '/' || :area::text, 0));

-- name: profiles
-- Profiles of a feed by their numbers.
SELECT profile_id, body
FROM profile
WHERE tenant = :tenant AND area = :area AND profile_id = ANY (:numbers::integer[]);

-- name: packed_rows
-- Every card of a feed for COPY in binary: index, tag (first four bytes of the card id), state, number of the profile. In
-- the order of the index, so that runs of cards go to their places at once.
SELECT card_index, substring(card_id FROM 1 FOR 4) AS tag, state, profile_id
FROM card_row
WHERE tenant = :tenant AND area = :area
ORDER BY card_index;

-- name: snapshot_time$
-- When this transaction began, by the one clock that all processes share: a request may have waited long before it.
SELECT now();

-- name: add_snapshot!
-- A snapshot; one of the same number is the same.
INSERT INTO feed_snapshot (tenant, area, epoch, number, manifest, meta, meta_sha256, rows, rows_sha256)
VALUES (:tenant, :area, :epoch, :number, :manifest, :meta, :meta_sha256, :rows, :rows_sha256)
ON CONFLICT DO NOTHING;

-- name: prune_snapshots!
-- Keeps the newest few of a feed, and none of before a time.
DELETE FROM feed_snapshot
WHERE tenant = :tenant AND area = :area
  AND (created_at < :before OR (epoch, number) NOT IN (
      SELECT epoch, number FROM feed_snapshot
      WHERE tenant = :tenant AND area = :area
      ORDER BY number DESC LIMIT :keep
  ));

-- name: prune_changes!
-- Changes that every kept snapshot has and that are older than any reader's patience.
DELETE FROM feed_change
WHERE tenant = :tenant AND area = :area AND written_at < :before
  AND number <= coalesce(
      (SELECT min(number) FROM feed_snapshot WHERE tenant = :tenant AND area = :area),
      (SELECT number FROM feed WHERE tenant = :tenant AND area = :area)
  );

-- name: part$
-- One part of a snapshot by its content.
SELECT CASE WHEN meta_sha256 = :sha256 THEN meta ELSE rows END
FROM feed_snapshot
WHERE tenant = :tenant AND area = :area AND (meta_sha256 = :sha256 OR rows_sha256 = :sha256)
LIMIT 1;

-- name: see_all$
-- Lets a session of the pump see every council's feeds; it reads nothing else.
SELECT set_config('rescard.tenant', '*', false);

-- name: try_outbox_lock$
-- One process at a time tells the others that feeds moved. Held by the session, so it ends with the process.
SELECT pg_try_advisory_lock(hashtextextended('rescard.outbox', 0));

-- name: outbox_mark$
-- Another text whenever a feed moved, was made, or began anew.
SELECT coalesce(md5(string_agg(concat_ws('/', tenant, area, epoch, number), ',' ORDER BY tenant, area)), '') FROM feed;

-- name: notify$
-- A hint to every process that listens, in a transaction of its own.
SELECT pg_notify(:channel, :message);

-- name: forget_snapshots!
-- Whoever asks next has a snapshot built and signed anew.
DELETE FROM feed_snapshot WHERE tenant = :tenant;
