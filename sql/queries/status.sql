-- name: place^
-- Where a council stands, and its list: which one, and whether its key may still be believed. Null before the first.
SELECT t.tenant, t.issue_number, t.cards_numbered, s.version, k.state <> 'revoked' AS believed
FROM tenant t
LEFT JOIN status_list s ON s.tenant = t.tenant
LEFT JOIN signing_key k ON k.tenant = s.tenant AND k.kid = s.kid
WHERE t.tenant = :tenant;

-- name: stored^
-- The list as it was signed last.
SELECT version, number, token FROM status_list WHERE tenant = :tenant;

-- name: changes
-- Cards whose state changed at an issue number or later, oldest change first, after one of them.
SELECT state_number, card_index, state
FROM card
WHERE tenant = :tenant AND state_number IS NOT NULL AND (state_number, card_index) > (:number::bigint, :index::integer)
ORDER BY state_number, card_index
LIMIT :limit;

-- name: take_turn$
-- One process at a time signs a council's list, until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('rescard.status/' || :tenant::text, 0));

-- name: had_key$
-- Whether the council ever had a key that signs lists.
SELECT EXISTS (SELECT FROM signing_key WHERE tenant = :tenant AND purpose = 'status');

-- name: put$
-- The list that is served from now on; gives its version.
INSERT INTO status_list (tenant, version, number, kid, token, signed_at)
VALUES (:tenant, 1, :number, :kid, :token, :signed_at)
ON CONFLICT (tenant) DO UPDATE
SET version = status_list.version + 1, number = EXCLUDED.number, kid = EXCLUDED.kid, token = EXCLUDED.token,
    signed_at = EXCLUDED.signed_at
RETURNING version;
