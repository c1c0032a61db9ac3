-- name: changed!
-- What readers may hold of a council's secrets of one kind has changed. The caller holds the tenant's row lock.
INSERT INTO secret_number (tenant, kind) VALUES (:tenant, :kind)
ON CONFLICT (tenant, kind) DO UPDATE SET number = secret_number.number + 1;

-- name: numbers
-- How often each council's secrets changed, of any council: read once for all readers.
SELECT tenant, kind, number FROM secret_number ORDER BY tenant, kind;

-- name: catalogue_stamp$
-- Changes whenever a document in force, a list or a site of any council does: what a site needs follows from them.
SELECT md5(concat_ws('|',
    (SELECT string_agg(concat_ws(',', tenant, service_id, version, array_to_string(shared_with, '+')), ';'
                       ORDER BY tenant, service_id)
     FROM service_version WHERE state = 'published'),
    (SELECT string_agg(concat_ws(',', tenant, name, md5(members::text)), ';' ORDER BY tenant, name)
     FROM catalogue_list WHERE kind = 'site_set'),
    (SELECT string_agg(concat_ws(',', tenant, site_id, version), ';' ORDER BY tenant, site_id) FROM site)
));

-- name: add^
-- A new master, already sealed under the name of its row.
INSERT INTO tenant_secret (tenant, secret_id, kind, sealed)
VALUES (:tenant, :secret_id, :kind, :sealed)
RETURNING secret_id, kind, created_at, retired_at;

-- name: in_use
-- Masters of one kind that are not retired, newest first.
SELECT secret_id, sealed
FROM tenant_secret
WHERE tenant = :tenant AND kind = :kind AND retired_at IS NULL
ORDER BY place DESC;

-- name: every
-- All masters of a tenant, newest first; never the secret itself.
SELECT secret_id, kind, created_at, retired_at
FROM tenant_secret
WHERE tenant = :tenant
ORDER BY place DESC;

-- name: get^
-- One master; never the secret itself.
SELECT secret_id, kind, created_at, retired_at
FROM tenant_secret
WHERE tenant = :tenant AND secret_id = :secret_id;

-- name: retire^
-- Nothing that this master made is good any more.
UPDATE tenant_secret
SET retired_at = :now
WHERE tenant = :tenant AND secret_id = :secret_id AND retired_at IS NULL
RETURNING secret_id, kind, created_at, retired_at;

-- name: note_delivery$
-- A reader is given a page; nothing comes back where it was given the same one before.
INSERT INTO reader_secrets (tenant, reader_id, tag, delivered_at)
VALUES (:tenant, :reader_id, :tag, :now)
ON CONFLICT (tenant, reader_id) DO UPDATE
SET tag = EXCLUDED.tag, delivered_at = EXCLUDED.delivered_at
WHERE reader_secrets.tag <> EXCLUDED.tag
RETURNING true;
