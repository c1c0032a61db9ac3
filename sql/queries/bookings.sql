-- name: lock_resource$
-- One booking of a resource is made at a time, whichever council's resident it is for.
SELECT pg_advisory_xact_lock(hashtextextended('rescard.resource/' || :owner::text || '/' || :resource::text, 0));

-- name: taken$
-- Whether anybody holds the resource in a part of that time. A booking that was released holds nothing.
SELECT rescard_taken(:owner, :resource, :start, :end, :now);

-- name: add^
-- A new booking.
INSERT INTO booking (tenant, person_id, service_id, owner, resource, starts_at, ends_at, party, created_at, created_by)
VALUES (:tenant, :person_id, :service_id, :owner, :resource, :starts_at, :ends_at, :party, :now, :created_by)
RETURNING *, rescard_released_from(booking) AS releases_at;

-- name: get^
-- One booking.
SELECT *, rescard_released_from(booking) AS releases_at FROM booking WHERE tenant = :tenant AND booking_id = :booking_id;

-- name: cancel^
-- Ends a booking that is open.
UPDATE booking
SET state = 'cancelled', cancelled_at = :now, cancelled_by = :cancelled_by
WHERE tenant = :tenant AND booking_id = :booking_id AND state = 'open'
RETURNING *, rescard_released_from(booking) AS releases_at;

-- name: entries
-- Units that were counted when a booking was made.
SELECT * FROM ledger_entry WHERE tenant = :tenant AND entry_id = :booking_id AND kind = 'booking';

-- name: check_in^
-- The open booking of a person that is nearest to an instant at which it may be used, if nobody checked in to it yet.
-- Those that began before the earliest start were released by then: a newer one goes first, as at the gate.
UPDATE booking
SET checked_in_at = :at
WHERE tenant = :tenant AND checked_in_at IS NULL AND booking_id = (
    SELECT b.booking_id
    FROM booking b
    WHERE b.tenant = :tenant AND b.person_id = :person_id AND b.owner = :owner AND b.resource = :resource
      AND b.state = 'open' AND b.starts_at <= :latest_start AND b.ends_at > :at
    ORDER BY coalesce(b.checked_in_at IS NULL AND b.starts_at < :earliest_start::timestamptz, false),
             abs(extract(epoch FROM b.starts_at - :at)), b.booking_id
    LIMIT 1
)
RETURNING *;

-- name: page
-- Bookings by their starts, after one of them.
SELECT *, rescard_released_from(booking) AS releases_at
FROM booking
WHERE tenant = :tenant
  AND (:person_id::uuid IS NULL OR person_id = :person_id)
  AND (:service::text IS NULL OR service_id = :service)
  AND (:resource::text IS NULL OR resource = :resource)
  AND (:state::text IS NULL OR :state = CASE
      WHEN date_trunc('second', :now::timestamptz) > rescard_released_from(booking) THEN 'released' ELSE state
  END)
  AND (:since::timestamptz IS NULL OR ends_at > :since)
  AND (:until::timestamptz IS NULL OR starts_at < :until)
  AND (:after_at::timestamptz IS NULL OR (starts_at, booking_id) > (:after_at, :after_id::uuid))
ORDER BY starts_at, booking_id
LIMIT :limit;

-- name: to_come
-- Open bookings of these resources that are not over.
SELECT b.*
FROM booking b
JOIN unnest(:owners::text[], :resources::text[]) AS named (owner, resource) USING (owner, resource)
WHERE b.tenant = :tenant AND b.state = 'open' AND b.ends_at > :after
ORDER BY b.starts_at, b.booking_id;
