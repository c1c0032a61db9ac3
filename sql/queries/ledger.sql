-- name: secret$
-- The secret from which account keys are derived.
SELECT index_secret FROM tenant WHERE tenant = :tenant;

-- name: delegates_of
-- Everybody who was ever named as a delegate of these people.
SELECT DISTINCT name::uuid AS delegate
FROM fact
WHERE tenant = :tenant AND kind = 'delegate' AND person_id = ANY (:people::uuid[]);

-- name: mandates
-- Standing delegations (to these people where named), each with the holder's newest active card.
SELECT f.name AS delegate, f.person_id, f.from_date, f.until_date, f.detail, c.card_index, c.card_id
FROM fact f
JOIN LATERAL (
    SELECT card.card_index, card.card_id
    FROM card
    WHERE card.tenant = f.tenant AND card.person_id = f.person_id AND card.state = 'active'
    ORDER BY card.issue_number DESC
    LIMIT 1
) AS c ON true
WHERE f.tenant = :tenant AND f.kind = 'delegate' AND f.ended_at IS NULL
  AND (:delegates::text[] IS NULL OR f.name = ANY (:delegates::text[]))
ORDER BY f.created_at, f.fact_id;

-- name: told_holders
-- What the feeds of these areas last told of these cards' holders (of all where none are named).
SELECT area, card_index, body
FROM holder_row
WHERE tenant = :tenant AND area = ANY (:areas::text[])
  AND (:indexes::integer[] IS NULL OR card_index = ANY (:indexes::integer[]));

-- name: put_holders!
-- What the feeds tell of these cards' holders from now on.
INSERT INTO holder_row (tenant, area, card_index, body)
SELECT :tenant, new.area, new.card_index, new.body
FROM unnest(:areas::text[], :indexes::integer[], :bodies::bytea[]) AS new (area, card_index, body)
ON CONFLICT (tenant, area, card_index) DO UPDATE SET body = EXCLUDED.body;

-- name: remove_holders!
-- These cards' holders need no record any more.
DELETE FROM holder_row h
USING unnest(:areas::text[], :indexes::integer[]) AS gone (area, card_index)
WHERE h.tenant = :tenant AND h.area = gone.area AND h.card_index = gone.card_index;

-- name: holders
-- Every holder's record of a feed, in the order of the cards.
SELECT body FROM holder_row WHERE tenant = :tenant AND area = :area ORDER BY card_index;

-- name: cards_by_id
-- Whose these cards are.
SELECT card_id, person_id FROM card WHERE tenant = :tenant AND card_id = ANY (:card_ids::bytea[]);

-- name: cards_by_index
-- Whose the cards of these indexes are.
SELECT card_index, person_id FROM card WHERE tenant = :tenant AND card_index = ANY (:indexes::integer[]);

-- name: delegations
-- Who was ever named as a delegate of whom: a late tap may be of a delegation that has ended since.
SELECT DISTINCT person_id, name AS delegate
FROM fact
WHERE tenant = :tenant AND kind = 'delegate' AND person_id = ANY (:people::uuid[]);

-- name: moves
-- In which households these people lived before, and until when.
SELECT person_id, household, until
FROM household_past
WHERE tenant = :tenant AND person_id = ANY (:people::uuid[])
ORDER BY until;

-- name: add_entries
-- Posts entries; comes back with what was new. What is there already is left as it was.
INSERT INTO ledger_entry (
    tenant, entry_id, origin, area, account, scope, holder, units, happened_at, posted_at, kind, service_id, person_id,
    site_id, reader_id, offline, actor, reason
)
SELECT
    :tenant, new.entry_id, new.origin, new.area, new.account, new.scope, new.holder, new.units, new.happened_at,
    :posted_at, new.kind, new.service_id, new.person_id, new.site_id, new.reader_id, new.offline, new.actor, new.reason
FROM unnest(
    :entry_ids::uuid[], :origins::text[], :areas::text[], :accounts::text[], :scopes::text[], :holders::text[],
    :units::integer[], :moments::timestamptz[], :kinds::text[], :services::text[], :people::uuid[], :sites::text[],
    :readers::uuid[], :offline::boolean[], :actors::text[], :reasons::text[]
) AS new (
    entry_id, origin, area, account, scope, holder, units, happened_at, kind, service_id, person_id, site_id, reader_id,
    offline, actor, reason
)
ON CONFLICT DO NOTHING
RETURNING entry_id, origin, account;

-- name: entries_to_give_back
-- What these taps took at entrances. The kind is that of the version by which the gate decided, else of the one in force.
SELECT e.*
FROM unnest(:tap_ids::uuid[], :versions::integer[]) AS tap (tap_id, version)
JOIN ledger_entry e
    ON e.tenant = :tenant AND e.entry_id = tap.tap_id AND e.origin = :origin AND e.kind = 'tap'
WHERE 'access' = (
    SELECT s.document ->> 'kind'
    FROM service_version s
    WHERE s.service_id = e.service_id AND (s.version = tap.version OR s.state = 'published')
    ORDER BY s.version = tap.version DESC NULLS LAST
    LIMIT 1
)
ORDER BY e.entry_id, e.account;

-- name: entries_since
-- Entries of these accounts, each since its own time.
SELECT e.entry_id, e.origin, e.area, e.account, e.scope, e.holder, e.happened_at, e.units
FROM ledger_entry e
JOIN unnest(:areas::text[], :accounts::text[], :scopes::text[], :holders::text[], :sinces::timestamptz[])
    AS wanted (area, account, scope, holder, since) USING (area, account, scope, holder)
WHERE e.tenant = :tenant AND e.happened_at >= wanted.since;

-- name: counting_entries
-- Entries of an area that still count: each account since its own time.
SELECT e.entry_id, e.area, e.account, e.scope, e.holder, e.happened_at, e.units
FROM ledger_entry e
JOIN unnest(:accounts::text[], :sinces::timestamptz[]) AS wanted (account, since) USING (account)
WHERE e.tenant = :tenant AND e.area = :area AND e.happened_at >= wanted.since
ORDER BY e.happened_at, e.entry_id;

-- name: add_flags!
-- What people should look at.
INSERT INTO flag (
    tenant, kind, sentence, happened_at, raised_at, service_id, area, account, scope, holder, person_id, tap_id, site_id,
    units
)
SELECT
    :tenant, new.kind, new.sentence, new.happened_at, :raised_at, new.service_id, new.area, new.account, new.scope,
    new.holder, new.person_id, new.tap_id, new.site_id, new.units
FROM unnest(
    :kinds::text[], :sentences::text[], :moments::timestamptz[], :services::text[], :areas::text[], :accounts::text[],
    :scopes::text[], :holders::text[], :people::uuid[], :taps::uuid[], :sites::text[], :units::integer[]
) AS new (
    kind, sentence, happened_at, service_id, area, account, scope, holder, person_id, tap_id, site_id, units
);

-- name: page
-- Entries of the ledger, newest events first, older than one of them.
SELECT *
FROM ledger_entry
WHERE tenant = :tenant
  AND (:person_id::uuid IS NULL OR person_id = :person_id)
  AND (:account::text IS NULL OR account = :account)
  AND (:service::text IS NULL OR service_id = :service)
  AND (:site::text IS NULL OR site_id = :site)
  AND (:since::timestamptz IS NULL OR happened_at >= :since)
  AND (:until::timestamptz IS NULL OR happened_at < :until)
  AND (:before_at::timestamptz IS NULL OR (happened_at, entry_id, account) < (:before_at, :before_id::uuid, :before_account::text))
ORDER BY happened_at DESC, entry_id DESC, account DESC
LIMIT :limit;

-- name: get_entry^
-- One entry that is not of a tap.
SELECT * FROM ledger_entry WHERE tenant = :tenant AND entry_id = :entry_id;

-- name: spent_offline
-- Units that sites gave while they were cut off.
SELECT service_id, account, site_id, sum(units)::integer AS units, max(happened_at) AS last
FROM ledger_entry
WHERE tenant = :tenant AND offline AND happened_at >= :since
GROUP BY service_id, account, site_id
ORDER BY service_id, account, site_id;

-- name: resolve_overspent!
-- Closes what was said of taps whose units were too many, once they are given back.
UPDATE flag
SET resolved_at = :now, resolved_by = :resolved_by, note = :note
WHERE tenant = :tenant AND kind = 'overspent' AND tap_id = ANY (:tap_ids::uuid[]) AND resolved_at IS NULL;

-- name: flags_page
-- Flags, newest first, older than one of them.
SELECT *
FROM flag
WHERE tenant = :tenant
  AND (:resolved::boolean IS NULL OR (resolved_at IS NOT NULL) = :resolved)
  AND (:kind::text IS NULL OR kind = :kind)
  AND (:person_id::uuid IS NULL OR person_id = :person_id)
  AND (:before_at::timestamptz IS NULL OR (raised_at, flag_id) < (:before_at, :before_id::uuid))
ORDER BY raised_at DESC, flag_id DESC
LIMIT :limit;

-- name: get_flag^
-- One flag.
SELECT * FROM flag WHERE tenant = :tenant AND flag_id = :flag_id;

-- name: resolve_flag^
-- Closes a flag that is open.
UPDATE flag
SET resolved_at = :now, resolved_by = :resolved_by, note = :note
WHERE tenant = :tenant AND flag_id = :flag_id AND resolved_at IS NULL
RETURNING *;

-- name: used$
-- Units of an account whose events lie in a period; open where an end is not given.
SELECT coalesce(sum(units), 0)::integer
FROM ledger_entry
WHERE tenant = :tenant AND area = :area AND account = :account AND scope = :scope AND holder = :holder
  AND (:since::timestamptz IS NULL OR happened_at >= :since)
  AND (:until::timestamptz IS NULL OR happened_at < :until);
