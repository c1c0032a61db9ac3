-- Units that nobody used go back, and a room that nobody came for is free: both by what is stored, without a job.

-- A tap's units are posted at the release. If nobody passed an entrance then, a further entry gives them back.
ALTER TABLE ledger_entry DROP CONSTRAINT ledger_entry_kind_check;
ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_kind_check
    CHECK (kind IN ('tap', 'booking', 'cancellation', 'adjustment', 'reversal'));

-- From when a booking without a check-in holds its resource no longer: by the document in force, as at the gates. Null
-- is never: somebody came, it was cancelled, or the service does not release bookings.
CREATE FUNCTION rescard_released_from(b booking) RETURNS timestamptz
LANGUAGE sql STABLE SET rescard.tenant = '*'
AS $$
    -- In seconds, as the gates add it: a day is 86,400 of them, whatever the clocks do.
    SELECT b.starts_at + make_interval(secs => extract(epoch FROM (rule -> 'booking' ->> 'late')::interval)::integer)
    FROM service_version s, jsonb_array_elements(s.document -> 'limits') AS rule
    WHERE b.state = 'open' AND b.checked_in_at IS NULL
      AND s.tenant = b.owner AND s.service_id = b.service_id AND s.state = 'published'
      AND rule -> 'booking' ->> 'resource' = b.resource
    LIMIT 1
$$;

-- Whether anybody of any council holds a resource in a time, as things stand at an instant: not who. At the very last
-- second of its grace a booking still opens the door, so it is free after that second only.
DROP FUNCTION rescard_taken(text, text, timestamptz, timestamptz);
CREATE FUNCTION rescard_taken(
    of_owner text, of_resource text, from_at timestamptz, until_at timestamptz, as_of timestamptz DEFAULT now()
) RETURNS boolean
LANGUAGE sql STABLE SET rescard.tenant = '*'
AS $$
    SELECT EXISTS (
        SELECT FROM booking b
        WHERE b.owner = of_owner AND b.resource = of_resource AND b.state = 'open'
          AND b.starts_at < until_at AND b.ends_at > from_at
          AND coalesce(date_trunc('second', as_of) <= rescard_released_from(b), true)
    )
$$;
