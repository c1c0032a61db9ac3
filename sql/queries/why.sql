-- name: tap_to_explain^
-- One tap with what is told of its reader.
SELECT tap.*, passage.result AS passage_result, passage.happened_at AS passage_at, reader.name AS reader_name
FROM tap
LEFT JOIN passage ON passage.tenant = tap.tenant AND passage.tap_id = tap.tap_id
LEFT JOIN reader ON reader.tenant = tap.tenant AND reader.reader_id = tap.reader_id
WHERE tap.tenant = :tenant AND tap.tap_id = :tap_id;

-- name: version_at$
-- Which version of a service was in force at an instant.
SELECT max(version) FROM service_version WHERE service_id = :service_id AND published_at <= :at;

-- name: withdrawn_between$
-- Whether a service was taken out of force between two instants.
SELECT EXISTS (
    SELECT FROM audit
    WHERE tenant = :tenant AND action = 'service.withdrawn' AND subject = :service_id
      AND happened_at > :after AND happened_at <= :upto
);

-- name: lane^
-- The lane as it is now, and when its site was changed.
SELECT lane.value AS lane, site.updated_at
FROM site, jsonb_array_elements(site.lanes) AS lane (value)
WHERE site.tenant = :tenant AND site.site_id = :site_id AND lane.value ->> 'lane' = :lane_id;

-- name: lists_changed_since
-- Lists of a council that were changed after an instant.
SELECT name, updated_at FROM catalogue_list WHERE tenant = :tenant AND updated_at > :at ORDER BY name;

-- name: card_of_tap^
-- The card of a tap, as it is now.
SELECT card_id, card_index, person_id, state, channel, issued_at, expires_at
FROM card WHERE tenant = :tenant AND card_id = :card_id;

-- name: card_by_index^
-- The card of an index.
SELECT card_id, card_index, person_id, state, channel, issued_at, expires_at
FROM card WHERE tenant = :tenant AND card_index = :card_index;

-- name: card_events
-- What happened to a card, oldest first.
SELECT happened_at, action, detail
FROM audit
WHERE tenant = :tenant AND subject = :subject AND action LIKE 'card.%'
ORDER BY audit_id;

-- name: person_at^
-- Who, with the household of that time.
SELECT p.person_id, p.date_of_birth, p.updated_at, p.created_at,
       CASE WHEN past.person_id IS NULL THEN p.household ELSE past.household END AS household
FROM person p
LEFT JOIN LATERAL (
    SELECT h.person_id, h.household FROM household_past h
    WHERE h.tenant = p.tenant AND h.person_id = p.person_id AND h.until > :at
    ORDER BY h.until
    LIMIT 1
) AS past ON true
WHERE p.tenant = :tenant AND p.person_id = :person_id;

-- name: facts_at
-- Statements as they stood at an instant.
SELECT kind, name, from_date, until_date, detail, created_at, ended_at
FROM fact
WHERE tenant = :tenant AND person_id = :person_id AND created_at <= :at AND (ended_at IS NULL OR ended_at > :at)
ORDER BY kind, name, from_date NULLS FIRST, until_date, fact_id;

-- name: facts_changed
-- Statements recorded or withdrawn after an instant, with when.
SELECT kind, name, created_at, ended_at
FROM fact
WHERE tenant = :tenant AND person_id = :person_id AND (created_at > :at OR ended_at > :at)
ORDER BY created_at, fact_id;

-- name: units_of
-- Entries of an account in the time before an instant, without those of the tap itself.
SELECT units, happened_at, posted_at, site_id, offline, kind
FROM ledger_entry
WHERE tenant = :tenant AND area = :area AND account = :account AND scope = :scope AND holder = :holder
  AND happened_at <= :at AND entry_id <> ALL (:own::uuid[]);

-- name: visits_before
-- Taps of a person's cards at a site before an instant, oldest first: who came in and did not go out is inside.
SELECT t.happened_at, t.direction, t.outcome, t.service_id, passage.result AS passage_result
FROM tap t
JOIN card c ON c.tenant = :tenant AND c.person_id = :person_id AND c.card_id = t.card_id
LEFT JOIN passage ON passage.tenant = t.tenant AND passage.tap_id = t.tap_id
WHERE t.tenant = :site_tenant AND t.card_tenant = :tenant AND t.site_id = :site_id
  AND t.happened_at >= :since AND t.happened_at < :at AND t.tap_id <> :tap_id
  AND (t.direction = 'exit' OR t.outcome = 'allow')
ORDER BY t.happened_at, t.tap_id;

-- name: booking_at^
-- The booking of a person and resource that is nearest to an instant, as it stood then.
SELECT starts_at, ends_at, checked_in_at
FROM booking
WHERE tenant = :tenant AND person_id = :person_id AND resource = :resource
  AND created_at <= :at AND (cancelled_at IS NULL OR cancelled_at > :at)
ORDER BY CASE WHEN ends_at > :at THEN 0 ELSE 1 END, abs(extract(epoch FROM starts_at - :at::timestamptz))
LIMIT 1;

-- name: loans_at
-- What a person had out at an instant.
SELECT due FROM loan
WHERE tenant = :tenant AND person_id = :person_id AND pool = :pool AND tap_id <> :tap_id
  AND lent_at < :at AND (returned_at IS NULL OR returned_at > :at)
ORDER BY due;

-- name: upstream_word^
-- The last word of another system on a person.
SELECT not_blocked, said_at FROM upstream_word WHERE tenant = :tenant AND person_id = :person_id AND name = :name;

-- name: changes_not_seen
-- Changes of a card that its feed had told by an instant and that the reader did not yet have.
SELECT number, written_at
FROM feed_change
WHERE tenant = :tenant AND area = :area AND card_id = :card_id AND number > :number AND written_at <= :at
ORDER BY number;

-- name: number_at$
-- The last number that a feed had given out by an instant, as far as it is still kept.
SELECT max(number) FROM feed_change WHERE tenant = :tenant AND area = :area AND written_at <= :at;
