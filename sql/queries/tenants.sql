-- name: add!
-- A new council.
INSERT INTO tenant (tenant, name, timezone, leap_birthday, brand, index_secret)
VALUES (:tenant, :name, :timezone, :leap_birthday, :brand, :index_secret);
