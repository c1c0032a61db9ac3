-- name: take_number^
-- Counts one more card of the tenant; gives its number from 0 and the key of the permutation that makes its index.
UPDATE tenant
SET cards_numbered = cards_numbered + 1
WHERE tenant = :tenant
RETURNING cards_numbered - 1 AS number, index_secret, timezone;

-- name: add^
-- A new, active card.
INSERT INTO card (tenant, card_id, card_index, person_id, state, channel, kid, issue_number, issued_at, expires_at,
                  replaces, device_key, updated_at)
VALUES (:tenant, :card_id, :card_index, :person_id, 'active', :channel, :kid, :issue_number, :issued_at, :expires_at,
        :replaces, :device_key, :issued_at)
RETURNING *;

-- name: get^
-- One card.
SELECT * FROM card WHERE tenant = :tenant AND card_id = :card_id;

-- name: get_for_change^
-- One card, locked until the transaction ends.
SELECT * FROM card WHERE tenant = :tenant AND card_id = :card_id FOR UPDATE;

-- name: successor$
-- Id of the card that renewed or replaced this one.
SELECT card_id FROM card WHERE tenant = :tenant AND replaces = :card_id;

-- name: set_state^
-- Moves a card on.
UPDATE card
SET state = :state, state_reason = :reason, version = version + 1, updated_at = :now
WHERE tenant = :tenant AND card_id = :card_id
RETURNING *;

-- name: page
-- Cards in the order of their ids; of one person where given.
SELECT *
FROM card
WHERE tenant = :tenant
  AND (:person_id::uuid IS NULL OR person_id = :person_id)
  AND (:after::bytea IS NULL OR card_id > :after)
ORDER BY card_id
LIMIT :limit;

-- name: due
-- Cards whose time is over and that do not say so yet.
SELECT card_id
FROM card
WHERE tenant = :tenant AND state IN ('active', 'suspended', 'lost') AND expires_at <= :now
ORDER BY expires_at
LIMIT :limit;

-- name: expire
-- Marks cards as expired, unless they came to their end meanwhile.
UPDATE card
SET state = 'expired', state_reason = 'expired', version = version + 1, updated_at = :now
WHERE tenant = :tenant AND card_id = ANY (:card_ids) AND state IN ('active', 'suspended', 'lost')
RETURNING card_id, person_id;

-- name: every_tenant
-- All councils, for work that comes round by the clock.
SELECT tenant FROM tenant ORDER BY tenant;

-- name: try_turn$
-- Whether this transaction may do the work that only one process does at a time.
SELECT pg_try_advisory_xact_lock(:lock_id);
