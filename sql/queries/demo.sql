-- name: count_people$
-- How many people a tenant has.
SELECT count(*) FROM person WHERE tenant = :tenant;

-- name: add_people!
-- Synthetic people, set-wise. Their ids are given, so that making them again changes nothing.
INSERT INTO person (tenant, person_id, given_name, family_name, date_of_birth, household)
SELECT :tenant, * FROM unnest(:ids::uuid[], :given::text[], :family::text[], :born::date[], :households::text[])
ON CONFLICT DO NOTHING;

-- name: add_facts!
-- Facts stated on synthetic people, set-wise.
INSERT INTO fact (tenant, person_id, kind, name, from_date, until_date, checked_by)
SELECT :tenant, given.*, 'demonstration'
FROM unnest(:ids::uuid[], :kinds::text[], :names::text[], :since::date[], :until::date[]) AS given;

-- name: take_card_numbers^
-- Counts so many more cards of the tenant; gives the first number and the key of the permutation.
UPDATE tenant
SET cards_numbered = cards_numbered + :count
WHERE tenant = :tenant
RETURNING cards_numbered - :count AS first, index_secret;

-- name: add_cards!
-- A card for each synthetic person, set-wise.
INSERT INTO card (tenant, card_id, card_index, person_id, state, kid, issue_number, issued_at, expires_at)
SELECT :tenant, given.card_id, given.card_index, given.person_id, 'active', :kid, :issue_number, :issued_at, :expires_at
FROM unnest(:card_ids::bytea[], :indexes::integer[], :ids::uuid[]) AS given (card_id, card_index, person_id);
