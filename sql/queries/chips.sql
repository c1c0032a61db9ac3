-- name: of_card^
-- The chip that a card is on.
SELECT uid_hash, uid_secret_id, kind, master_id, registered_at
FROM chip
WHERE tenant = :tenant AND card_id = :card_id;

-- name: by_number^
-- The chip with this serial number, hashed under each key in use, and the state of the card that it was last written for.
SELECT chip.uid_hash, chip.card_id, chip.kind, chip.master_id, card.state, card.expires_at
FROM chip
JOIN card USING (tenant, card_id)
WHERE chip.tenant = :tenant AND chip.uid_hash = ANY (:uid_hashes)
FOR UPDATE OF chip;

-- name: put^
-- A chip holds this card from now on; the card that it held before has ended.
INSERT INTO chip (tenant, uid_hash, uid_secret_id, card_id, kind, master_id, registered_at)
VALUES (:tenant, :uid_hash, :uid_secret_id, :card_id, :kind, :master_id, :now)
ON CONFLICT (tenant, uid_hash) DO UPDATE
SET card_id = EXCLUDED.card_id, kind = EXCLUDED.kind, master_id = EXCLUDED.master_id,
    registered_at = EXCLUDED.registered_at
RETURNING kind, registered_at;

-- name: numbers
-- Active cards that are known by their chip's number, where the key of the hash is still in use.
SELECT chip.uid_hash, card.card_id, card.card_index, card.issued_at, card.expires_at, card.issue_number
FROM chip
JOIN card USING (tenant, card_id)
JOIN tenant_secret ON tenant_secret.tenant = chip.tenant AND tenant_secret.secret_id = chip.uid_secret_id
WHERE chip.tenant = :tenant AND chip.kind = 'number' AND card.state = 'active' AND tenant_secret.retired_at IS NULL
ORDER BY card.card_index;
