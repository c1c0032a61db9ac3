-- name: tenants
-- Time zones of all councils.
SELECT tenant, timezone, leap_birthday FROM rescard_tenants();

-- name: stamp$
-- Changes whenever anything changes that documents are compiled from: documents, lists, sites, councils.
SELECT md5(concat_ws('|',
    (SELECT string_agg(concat_ws(',', tenant, service_id, version, encode(sha256, 'hex')), ';' ORDER BY tenant, service_id)
     FROM service_version
     WHERE state = 'published' AND (tenant = :tenant OR :tenant = ANY (shared_with))),
    (SELECT string_agg(concat_ws(',', tenant, kind, name, md5(members::text)), ';' ORDER BY tenant, kind, name)
     FROM catalogue_list),
    (SELECT string_agg(concat_ws(',', tenant, site_id, md5(name || lanes::text)), ';' ORDER BY tenant, site_id) FROM site),
    (SELECT string_agg(concat_ws(',', tenant, timezone, leap_birthday), ';') FROM rescard_tenants())
));

-- name: published
-- Documents in force for a tenant's residents: its own, and those that others share with it.
SELECT tenant, service_id, version, area, document
FROM service_version
WHERE state = 'published' AND (tenant = :tenant OR :tenant = ANY (shared_with))
ORDER BY area, tenant, service_id;

-- name: lists
-- Lists that the tenant's documents and those shared with it may name.
SELECT tenant, kind, name, members FROM catalogue_list ORDER BY tenant, kind, name;

-- name: sites
-- Sites of the tenant and of those that share services with it.
SELECT tenant, site_id, name, lanes FROM site ORDER BY tenant, site_id;

-- name: people
-- What the person rules ask of people: all of a tenant who hold a card, or the named ones.
SELECT p.person_id, p.date_of_birth, p.household
FROM person p
WHERE p.tenant = :tenant AND (:people::uuid[] IS NULL OR p.person_id = ANY (:people::uuid[]))
  AND EXISTS (SELECT FROM card c WHERE c.tenant = p.tenant AND c.person_id = p.person_id);

-- name: facts
-- Statements that stand on those people.
SELECT f.person_id, f.kind, f.name, f.from_date, f.until_date, f.detail
FROM fact f
WHERE f.tenant = :tenant AND f.ended_at IS NULL
  AND (:people::uuid[] IS NULL OR f.person_id = ANY (:people::uuid[]))
ORDER BY f.kind, f.name, f.from_date NULLS FIRST, f.until_date, f.fact_id;

-- name: published_page
-- Own and shared services in force, in the order of their ids, after one of them.
SELECT tenant, service_id, version, area, document ->> 'title' AS title, document ->> 'kind' AS kind, shared_with, state,
       published_at, published_by
FROM service_version
WHERE state = 'published' AND (tenant = :tenant OR :tenant = ANY (shared_with))
  AND (:after::text IS NULL OR service_id > :after)
ORDER BY service_id
LIMIT :limit;

-- name: versions
-- Every version of a service that this tenant may see, newest first.
SELECT tenant, service_id, version, area, document, sha256, shared_with, state, published_at, published_by
FROM service_version
WHERE service_id = :service_id AND (tenant = :tenant OR (:tenant = ANY (shared_with) AND state = 'published'))
ORDER BY version DESC;

-- name: version^
-- One version of a service that this tenant may see.
SELECT tenant, document FROM service_version WHERE service_id = :service_id AND version = :version;

-- name: newest^
-- The newest version of a tenant's service.
SELECT version, area, document, sha256, shared_with, state
FROM service_version
WHERE tenant = :tenant AND service_id = :service_id
ORDER BY version DESC
LIMIT 1;

-- name: end_published!
-- The version in force is followed by another, or by none.
UPDATE service_version SET state = :state
WHERE tenant = :tenant AND service_id = :service_id AND state = 'published';

-- name: add_version$
-- A new version in force.
INSERT INTO service_version (tenant, service_id, version, area, document, sha256, shared_with, state, published_by, published_at)
VALUES (:tenant, :service_id, :version, :area, :document, :sha256, :shared_with, 'published', :published_by, :published_at)
RETURNING version;

-- name: sharing_with
-- Tenants with which a tenant shares a service in force.
SELECT DISTINCT unnest(shared_with) AS tenant
FROM service_version
WHERE tenant = :tenant AND state = 'published'
ORDER BY tenant;

-- name: site^
-- One site.
SELECT site_id, name, lanes, version, updated_at FROM site WHERE tenant = :tenant AND site_id = :site_id;

-- name: sites_page
-- Sites in the order of their ids, after one of them.
SELECT site_id, name, lanes, version, updated_at
FROM site
WHERE tenant = :tenant AND (:after::text IS NULL OR site_id > :after)
ORDER BY site_id
LIMIT :limit;

-- name: put_site^
-- A site as it is from now on.
INSERT INTO site (tenant, site_id, name, lanes, updated_at)
VALUES (:tenant, :site_id, :name, :lanes, :now)
ON CONFLICT (tenant, site_id) DO UPDATE
SET name = EXCLUDED.name, lanes = EXCLUDED.lanes, version = site.version + 1, updated_at = EXCLUDED.updated_at
RETURNING site_id, name, lanes, version, updated_at;

-- name: list^
-- One list.
SELECT kind, name, members, updated_at FROM catalogue_list WHERE tenant = :tenant AND kind = :kind AND name = :name;

-- name: lists_page
-- Lists of a tenant by kind and name, after one of them.
SELECT kind, name, members, updated_at
FROM catalogue_list
WHERE tenant = :tenant
  AND (:after_kind::text IS NULL OR (kind, name) > (:after_kind, :after_name::text))
ORDER BY kind, name
LIMIT :limit;

-- name: put_list^
-- A list as it is from now on.
INSERT INTO catalogue_list (tenant, kind, name, members, updated_at)
VALUES (:tenant, :kind, :name, :members, :now)
ON CONFLICT (tenant, kind, name) DO UPDATE SET members = EXCLUDED.members, updated_at = EXCLUDED.updated_at
RETURNING kind, name, members, updated_at;

-- name: areas
-- Service areas of a tenant with where their feeds stand.
SELECT f.area, f.epoch, f.number, f.horizon_from, f.horizon_until,
       (SELECT count(*) FROM card_row r WHERE r.tenant = f.tenant AND r.area = f.area) AS cards,
       (SELECT count(*) FROM service_version s
        WHERE s.area = f.area AND s.state = 'published' AND (s.tenant = f.tenant OR f.tenant = ANY (s.shared_with))) AS services
FROM feed f
WHERE f.tenant = :tenant
ORDER BY f.area;
