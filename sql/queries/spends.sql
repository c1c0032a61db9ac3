-- name: add_purse!
-- A budget on its first use.
INSERT INTO purse (tenant, account, scope, holder)
VALUES (:tenant, :account, :scope, :holder)
ON CONFLICT (tenant, account, scope, holder) DO NOTHING;

-- name: lock_purse$
-- A budget by what it is for, locked until the transaction ends.
SELECT purse_id FROM purse
WHERE tenant = :tenant AND account = :account AND scope = :scope AND holder = :holder
FOR UPDATE;

-- name: lock_purse_by_id^
-- A budget, locked until the transaction ends.
SELECT account, scope, holder FROM purse WHERE tenant = :tenant AND purse_id = :purse_id FOR UPDATE;

-- name: purse_of$
-- A budget by what it is for, to look at.
SELECT purse_id FROM purse WHERE tenant = :tenant AND account = :account AND scope = :scope AND holder = :holder;

-- name: add_transfer!
-- Money from one book of a purse to another.
INSERT INTO money_transfer (tenant, kind, purse_id, spend_id, debit, credit, pence, happened_at, actor, reason)
VALUES (:tenant, :kind, :purse_id, :spend_id, :debit, :credit, :pence, :happened_at, :actor, :reason);

-- name: books
-- What the books of a purse hold.
SELECT book, sum(pence)::bigint AS pence
FROM money_posting
WHERE tenant = :tenant AND purse_id = :purse_id
GROUP BY book;

-- name: add$
-- A new spend.
INSERT INTO spend (tenant, purse_id, service_id, person_id, card_id, presented_by, site_id, item, pence, state, held_until,
                   closed_at, closed_by, created_at, created_by)
VALUES (:tenant, :purse_id, :service_id, :person_id, :card_id, :presented_by, :site_id, :item, :pence, :state,
        :held_until, :closed_at, :closed_by, :now, :created_by)
RETURNING spend_id;

-- name: get^
-- One spend with its account.
SELECT spend.*, purse.account
FROM spend JOIN purse USING (tenant, purse_id)
WHERE tenant = :tenant AND spend_id = :spend_id;

-- name: close^
-- Ends a hold.
UPDATE spend
SET state = :state, closed_at = :now, closed_by = :closed_by
WHERE tenant = :tenant AND spend_id = :spend_id AND state = 'held'
RETURNING pence;

-- name: expire
-- Ends the holds of a purse that nobody confirmed in time.
UPDATE spend
SET state = 'expired', closed_at = :now, closed_by = 'upkeep'
WHERE tenant = :tenant AND purse_id = :purse_id AND state = 'held' AND held_until <= :now
RETURNING spend_id, pence;

-- name: overdue_purses
-- Purses of any council with a hold that nobody confirmed in time.
SELECT DISTINCT tenant, purse_id FROM spend WHERE state = 'held' AND held_until <= :now ORDER BY tenant, purse_id;

-- name: spent
-- What was spent from a purse since a time, and not given back.
SELECT pence, created_at
FROM spend
WHERE tenant = :tenant AND purse_id = :purse_id AND state IN ('held', 'confirmed')
  AND (:since::timestamptz IS NULL OR created_at >= :since);

-- name: page
-- Spends, newest first, older than one of them.
SELECT spend.*, purse.account
FROM spend JOIN purse USING (tenant, purse_id)
WHERE tenant = :tenant
  AND (:person_id::uuid IS NULL OR person_id = :person_id)
  AND (:service::text IS NULL OR service_id = :service)
  AND (:state::text IS NULL OR state = :state)
  AND (:before_at::timestamptz IS NULL OR (created_at, spend_id) < (:before_at, :before_id::uuid))
ORDER BY created_at DESC, spend_id DESC
LIMIT :limit;

-- name: transfers_page
-- Movements of money, newest first, older than one of them.
SELECT *
FROM money_transfer
WHERE tenant = :tenant
  AND (:purse_id::uuid IS NULL OR purse_id = :purse_id)
  AND (:before_at::timestamptz IS NULL OR (happened_at, transfer_id) < (:before_at, :before_id::uuid))
ORDER BY happened_at DESC, transfer_id DESC
LIMIT :limit;

-- name: take_code$
-- Uses a live code up, if it is newer than any by which this card paid; of two tills at once the second waits here.
INSERT INTO till_code (tenant, card_id, iat)
VALUES (:tenant, :card_id, :iat)
ON CONFLICT (tenant, card_id) DO UPDATE
SET iat = EXCLUDED.iat
WHERE till_code.iat < EXCLUDED.iat
RETURNING true;
