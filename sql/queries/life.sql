-- name: put_word^
-- A name of the council's vocabulary as it is from now on.
INSERT INTO vocabulary (tenant, kind, name, title, supplied_by, updated_at)
VALUES (:tenant, :kind, :name, :title, :supplied_by, :now)
ON CONFLICT (tenant, kind, name) DO UPDATE
SET title = EXCLUDED.title, supplied_by = EXCLUDED.supplied_by, updated_at = EXCLUDED.updated_at
RETURNING kind, name, title, supplied_by, updated_at;

-- name: remove_word^
-- Takes a name out of the vocabulary.
DELETE FROM vocabulary WHERE tenant = :tenant AND kind = :kind AND name = :name RETURNING kind, name;

-- name: words
-- The vocabulary of a council, by kind and name, after one of them.
SELECT kind, name, title, supplied_by, updated_at
FROM vocabulary
WHERE tenant = :tenant
  AND (:after_kind::text IS NULL OR (kind, name) > (:after_kind, :after_name::text))
ORDER BY kind, name
LIMIT :limit;

-- name: recorded_facts
-- Kinds and names of facts that were ever recorded, each once: from one to the next by the index, not through all.
WITH RECURSIVE seen AS (
    (SELECT kind, name FROM fact WHERE tenant = :tenant ORDER BY kind, name LIMIT 1)
    UNION ALL
    SELECT following.kind, following.name
    FROM seen
    CROSS JOIN LATERAL (
        SELECT f.kind, f.name FROM fact f
        WHERE f.tenant = :tenant AND (f.kind, f.name) > (seen.kind, seen.name)
          AND f.kind IN ('evidence', 'member_of', 'permit', 'role', 'linked', 'prerequisite')
        ORDER BY f.kind, f.name
        LIMIT 1
    ) AS following
)
SELECT kind, name FROM seen;

-- name: place_titles
-- What the council calls its sites.
SELECT site_id AS name, name AS title FROM site WHERE tenant = :tenant;

-- name: own_name$
-- What the council is called.
SELECT name FROM tenant WHERE tenant = :tenant;

-- name: published_document^
-- The version of a service in force that this council may see.
SELECT tenant, version, document, shared_with, published_at, published_by
FROM service_version
WHERE service_id = :service_id AND state = 'published' AND (tenant = :tenant OR :tenant = ANY (shared_with));

-- name: bases
-- Documents in force that a draft may extend.
SELECT service_id, document
FROM service_version
WHERE state = 'published' AND (tenant = :tenant OR :tenant = ANY (shared_with));

-- name: version^
-- One version of an own service.
SELECT version, area, document, shared_with, state, published_at, published_by
FROM service_version
WHERE tenant = :tenant AND service_id = :service_id AND version = :version;

-- name: version_before$
-- The newest version of a service older than one of them.
SELECT max(version) FROM service_version
WHERE tenant = :tenant AND service_id = :service_id AND version < :version;

-- name: versions_page
-- Versions of an own service, newest first, before one of them, each with who let it in force and why.
SELECT v.version, v.area, v.state, v.shared_with, v.published_at, v.published_by, v.document ->> 'title' AS title,
       e.what, e.why, e.draft_id, a.approved_by, a.why AS approved_why
FROM service_version v
LEFT JOIN LATERAL (
    SELECT what, why, draft_id FROM service_event e
    WHERE e.tenant = v.tenant AND e.service_id = v.service_id AND e.version = v.version
      AND e.what IN ('published', 'rolled back')
    ORDER BY e.event_id DESC LIMIT 1
) e ON true
LEFT JOIN LATERAL (
    SELECT approved_by, why FROM draft_approval a
    WHERE a.tenant = v.tenant AND a.draft_id = e.draft_id
    ORDER BY a.approval_id DESC LIMIT 1
) a ON true
WHERE v.tenant = :tenant AND v.service_id = :service_id AND (:before::integer IS NULL OR v.version < :before)
ORDER BY v.version DESC
LIMIT :limit;

-- name: add_draft^
-- A new draft.
INSERT INTO draft (tenant, service_id, text, shared_with, state, based_on, authors, created_at, updated_at)
VALUES (:tenant, :service_id, :text, :shared_with, 'draft', :based_on, ARRAY[:author::text], :now, :now)
RETURNING *;

-- name: draft^
-- One draft.
SELECT * FROM draft WHERE tenant = :tenant AND draft_id = :draft_id;

-- name: draft_for_change^
-- One draft, locked until the transaction ends.
SELECT * FROM draft WHERE tenant = :tenant AND draft_id = :draft_id FOR UPDATE;

-- name: drafts_page
-- Drafts, newest first, before one of them; of one service or state where given.
SELECT * FROM draft
WHERE tenant = :tenant
  AND (:service_id::text IS NULL OR service_id = :service_id)
  AND (:state::text IS NULL OR state = :state)
  AND (:before_time::timestamptz IS NULL OR (created_at, draft_id) < (:before_time, :before_id::uuid))
ORDER BY created_at DESC, draft_id DESC
LIMIT :limit;

-- name: write_draft^
-- Another text, by one more author.
UPDATE draft
SET text = :text, shared_with = :shared_with, based_on = :based_on, version = version + 1, updated_at = :now,
    authors = CASE WHEN :author::text = ANY (authors) THEN authors ELSE authors || :author::text END
WHERE tenant = :tenant AND draft_id = :draft_id
RETURNING *;

-- name: move_draft^
-- The next state of a draft.
UPDATE draft
SET state = :state, publish_at = :publish_at, scheduled_by = :scheduled_by, updated_at = :now,
    published_version = coalesce(:published_version, published_version)
WHERE tenant = :tenant AND draft_id = :draft_id
RETURNING *;

-- name: add_approval!
-- Who let which text pass, and why.
INSERT INTO draft_approval (tenant, draft_id, draft_version, text_sha256, approved_by, why, approved_at)
VALUES (:tenant, :draft_id, :draft_version, :text_sha256, :approved_by, :why, :now);

-- name: approvals
-- Approvals of a draft, oldest first.
SELECT draft_version, approved_by, why, approved_at
FROM draft_approval
WHERE tenant = :tenant AND draft_id = :draft_id
ORDER BY approval_id;

-- name: approval_of$
-- Who approved exactly this text last.
SELECT approved_by FROM draft_approval
WHERE tenant = :tenant AND draft_id = :draft_id AND text_sha256 = :text_sha256
ORDER BY approval_id DESC
LIMIT 1;

-- name: add_event!
-- What happened: who, why.
INSERT INTO service_event (tenant, service_id, draft_id, version, what, who, why, detail)
VALUES (:tenant, :service_id, :draft_id, :version, :what, :who, :why, :detail);

-- name: events
-- Events of a draft, oldest first.
SELECT what, who, why, version, detail, happened_at
FROM service_event
WHERE tenant = :tenant AND draft_id = :draft_id
ORDER BY event_id;

-- name: due_drafts
-- Scheduled drafts whose time has come, of any council, oldest first.
SELECT tenant, draft_id FROM draft WHERE state = 'scheduled' AND publish_at <= :now ORDER BY publish_at LIMIT :limit;

-- name: next_due$
-- When the next scheduled draft is due.
SELECT min(publish_at) FROM draft WHERE state = 'scheduled';

-- name: lock_due^
-- A due draft, unless another process has it or it is no longer due.
SELECT * FROM draft
WHERE tenant = :tenant AND draft_id = :draft_id AND state = 'scheduled' AND publish_at <= :now
FOR UPDATE SKIP LOCKED;

-- name: add_simulation^
-- Keeps what a replay led to.
INSERT INTO simulation (tenant, draft_id, draft_version, asked_by, since, until, result, seconds)
VALUES (:tenant, :draft_id, :draft_version, :asked_by, :since, :until, :result, :seconds)
RETURNING simulation_id, draft_version, asked_by, since, until, result, seconds, made_at;

-- name: simulations
-- Replays of a draft, newest first, older than one of them.
SELECT simulation_id, draft_version, asked_by, since, until, result, seconds, made_at
FROM simulation
WHERE tenant = :tenant AND draft_id = :draft_id
  AND (:before_at::timestamptz IS NULL OR (made_at, simulation_id) < (:before_at, :before_id::uuid))
ORDER BY made_at DESC, simulation_id DESC
LIMIT :limit;

-- name: replay_taps
-- Taps to replay, for a server-side cursor: those that the service decided, and those that were refused where it is or
-- would be offered. For a service that is new: every tap there.
SELECT t.happened_at, t.site_id, t.lane_id, t.direction, t.outcome, t.reason, t.effects, t.media, t.presentation,
       t.online, t.clock_trusted, t.card_id, t.card_tenant, t.service_id
FROM tap t
WHERE t.tenant = :tenant AND t.happened_at >= :since AND t.happened_at < :until
  AND t.card_id IS NOT NULL
  AND (t.service_id = :service_id
       OR (t.site_id = ANY (:sites::text[])
           AND (:every::boolean OR t.direction = 'exit' OR t.outcome <> 'allow')));

-- name: replay_cards
-- Whose cards these are.
SELECT card_id, person_id FROM card WHERE tenant = :tenant AND card_id = ANY (:card_ids::bytea[]);

-- name: units_before
-- Units that allowed taps of a service took before the replay, within the longest period.
SELECT t.happened_at, t.card_id, t.effects
FROM tap t
WHERE t.tenant = :tenant AND t.service_id = :service_id AND t.happened_at >= :since AND t.happened_at < :until
  AND t.outcome = 'allow' AND t.direction = 'entry' AND t.card_tenant = :tenant AND t.card_id IS NOT NULL;

-- name: hours_of_taps
-- Outcomes of a service's entries by the hour.
SELECT date_trunc('hour', happened_at) AS hour, outcome, count(*) AS taps
FROM tap
WHERE tenant = :tenant AND service_id = :service_id AND direction = 'entry'
  AND happened_at >= :since AND happened_at < :until
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: reasons_of_taps
-- Outcomes and reasons of a service's entries before and after an instant.
SELECT happened_at >= :published_at AS after, outcome, reason, count(*) AS taps
FROM tap
WHERE tenant = :tenant AND service_id = :service_id AND direction = 'entry'
  AND happened_at >= :since AND happened_at < :until
GROUP BY 1, 2, 3
ORDER BY 1, 4 DESC, 2, 3;
