-- name: add_link!
-- A new one-time link for a person's phone.
INSERT INTO phone_link (tenant, link_sha256, person_id, replaces, created_by, created_at, expires_at)
VALUES (:tenant, :link_sha256, :person_id, :replaces, :created_by, :now, :expires_at);

-- name: links_since$
-- How many links were made for a person since an instant.
SELECT count(*) FROM phone_link WHERE tenant = :tenant AND person_id = :person_id AND created_at > :since;

-- name: forget_links!
-- Links that ended before an instant; the audit keeps that there were any.
DELETE FROM phone_link WHERE tenant = :tenant AND expires_at < :before;

-- name: find_link^
-- A link by its hash, whose council is not known yet.
SELECT tenant, person_id, replaces, expires_at, used_at, card_id FROM phone_link WHERE link_sha256 = :link_sha256;

-- name: lock_link^
-- A link, locked until the transaction ends: of two that open it at once the second waits and finds it used.
SELECT tenant, person_id, replaces, expires_at, used_at, card_id
FROM phone_link
WHERE tenant = :tenant AND link_sha256 = :link_sha256
FOR UPDATE;

-- name: use_link!
-- Says that a link was used, and which card it brought.
UPDATE phone_link SET used_at = :now, card_id = :card_id WHERE tenant = :tenant AND link_sha256 = :link_sha256;

-- name: add_phone!
-- The phone or browser that shows a card.
INSERT INTO phone (tenant, card_id, page_sha256, bound_at, seen_at, answered_ms)
VALUES (:tenant, :card_id, :page_sha256, :now, :now, :answered_ms);

-- name: add_phone_once!
-- The same for a card that followed another on the same phone.
INSERT INTO phone (tenant, card_id, bound_at, seen_at)
VALUES (:tenant, :card_id, :now, :now)
ON CONFLICT DO NOTHING;

-- name: answer$
-- Takes a phone's signed time if it is newer than the one before: no request counts twice.
UPDATE phone
SET answered_ms = :at_ms, seen_at = :now
WHERE tenant = :tenant AND card_id = :card_id AND answered_ms < :at_ms
RETURNING card_id;

-- name: by_page^
-- The card that a browser without JavaScript shows, by the hash of its cookie.
SELECT tenant, card_id FROM phone WHERE page_sha256 = :page_sha256;

-- name: successor^
-- The card that followed a card, if any.
SELECT * FROM card WHERE tenant = :tenant AND replaces = :card_id;

-- name: holder^
-- First name of a card's person, and the council's name, time zone and brand.
SELECT p.given_name, t.name AS council, t.timezone, t.brand
FROM card c JOIN person p USING (tenant, person_id) JOIN tenant t USING (tenant)
WHERE c.tenant = :tenant AND c.card_id = :card_id;

-- name: profiles
-- The compiled rights of a card in every area.
SELECT p.area, p.body
FROM card_row r JOIN profile p USING (tenant, area, profile_id)
WHERE r.tenant = :tenant AND r.card_id = :card_id
ORDER BY p.area;
