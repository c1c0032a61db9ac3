-- State of a reader that must survive a killed process: SQLite, file state.db.

-- name: schema
CREATE TABLE IF NOT EXISTS run (
    seq   INTEGER PRIMARY KEY,
    feed  TEXT NOT NULL,
    epoch TEXT NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    body  BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS note (
    name TEXT PRIMARY KEY,
    body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS presence (
    card   BLOB PRIMARY KEY,
    body   BLOB NOT NULL,
    at     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS own (
    tap    TEXT PRIMARY KEY,
    body   BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used (
    code     BLOB PRIMARY KEY,
    sequence INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
    card TEXT PRIMARY KEY,
    body BLOB NOT NULL
) WITHOUT ROWID;

-- A run holds changes ``first`` to ``last``. Runs may overlap: what could be written and not applied comes again, and
-- what cannot be read is fetched again. The one written later is what was applied later.

-- name: add_run
INSERT INTO run (feed, epoch, first, last, body) VALUES (?, ?, ?, ?, ?)

-- name: runs_after
SELECT first, last, body FROM run WHERE feed = ? AND epoch = ? AND last > ? ORDER BY seq

-- name: forget_changes
DELETE FROM run WHERE feed = ? AND (epoch <> ? OR last <= ?)

-- name: forget_all_changes
DELETE FROM run WHERE feed = ?

-- name: set_note
INSERT INTO note (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body

-- name: get_note
SELECT body FROM note WHERE name = ?

-- name: set_presence
INSERT INTO presence (card, body, at) VALUES (?, ?, ?)
ON CONFLICT (card) DO UPDATE SET body = excluded.body, at = excluded.at

-- name: all_presence
SELECT card, body FROM presence

-- name: forget_presence
DELETE FROM presence WHERE at < ?

-- name: set_own
INSERT INTO own (tap, body) VALUES (?, ?) ON CONFLICT (tap) DO UPDATE SET body = excluded.body

-- name: drop_own
DELETE FROM own WHERE tap = ?

-- name: all_own
SELECT tap, body FROM own ORDER BY tap

-- name: wipe_own
DELETE FROM own

-- name: wipe_changes
DELETE FROM run

-- name: wipe_notes
DELETE FROM note

-- name: wipe_presence
DELETE FROM presence

-- One-time codes: the highest sequence that a card has shown at this site, by form and card.

-- name: set_used
INSERT INTO used (code, sequence) VALUES (?, ?)
ON CONFLICT (code) DO UPDATE SET sequence = max(sequence, excluded.sequence)

-- name: drop_used
DELETE FROM used WHERE code = ?

-- name: all_used
SELECT code, sequence FROM used

-- name: wipe_used
DELETE FROM used

-- Wrong PINs in a row, by card.

-- name: set_attempts
INSERT INTO attempts (card, body) VALUES (?, ?) ON CONFLICT (card) DO UPDATE SET body = excluded.body

-- name: drop_attempts
DELETE FROM attempts WHERE card = ?

-- name: all_attempts
SELECT card, body FROM attempts

-- name: wipe_attempts
DELETE FROM attempts
