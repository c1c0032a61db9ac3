-- The horizon of a large council moves in slices, and only over people for whom a day makes a difference.

-- The window that rows are compiled for while the horizon moves; null when it does not. What the feed tells of its
-- horizon changes at the end, when every row is complete for it.
ALTER TABLE feed ADD COLUMN next_from timestamptz;
ALTER TABLE feed ADD COLUMN next_until timestamptz;
-- Digest of what the feed's rows were compiled from besides facts: documents, lists that they name, councils' local time,
-- the compiler itself. Null where not all rows are of one: then everybody is looked at. With a '~' in front while a
-- move that looks at everybody is not at its end.
ALTER TABLE feed ADD COLUMN rules text;
