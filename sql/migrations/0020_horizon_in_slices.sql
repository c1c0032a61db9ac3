-- The horizon of a large council moves in slices, and only over people for whom a day makes a difference; and a service
-- is taken out of force in the background as it is put in force.

-- The window that rows are compiled for while the horizon moves; null when it does not. What the feed tells of its
-- horizon changes at the end, when every row is complete for it.
ALTER TABLE feed ADD COLUMN next_from timestamptz;
ALTER TABLE feed ADD COLUMN next_until timestamptz;
-- Digest of what the feed's rows were compiled from besides facts: documents, lists that they name, councils' local time,
-- the compiler itself. Null where not all rows are of one: then everybody is looked at. With a '~' in front while a
-- move that looks at everybody is not at its end.
ALTER TABLE feed ADD COLUMN rules text;

-- Taking a service out of force concerns as many people as putting one in.
ALTER TABLE job DROP CONSTRAINT job_kind_check;
ALTER TABLE job ADD CONSTRAINT job_kind_check CHECK (kind IN ('publish', 'withdraw'));
