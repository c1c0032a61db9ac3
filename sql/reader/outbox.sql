-- The durable outbox of a reader: what waits to be uploaded, and what the service rejected. SQLite, file outbox.db.

-- name: schema
CREATE TABLE IF NOT EXISTS waiting (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS parked (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    body    BLOB NOT NULL,
    problem TEXT NOT NULL,
    at      INTEGER NOT NULL
);

-- The numbers are given out in memory, so that an item has its number before it is here.

-- name: add
INSERT INTO waiting (seq, body) VALUES (?, ?)

-- name: oldest
SELECT seq, body FROM waiting ORDER BY seq LIMIT ?

-- name: remove
DELETE FROM waiting WHERE seq = ?

-- name: park
INSERT INTO parked (body, problem, at) SELECT body, ?, ? FROM waiting WHERE seq = ?

-- name: park_body
INSERT INTO parked (body, problem, at) VALUES (?, ?, ?)

-- The first is the highest number that was ever here, also when it is gone (SQLite keeps it for AUTOINCREMENT).

-- name: counts
SELECT (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'waiting'),
       (SELECT count(*) FROM waiting), (SELECT count(*) FROM parked)

-- name: parked_items
SELECT seq, body, problem FROM parked ORDER BY seq LIMIT ?

-- name: parked_whole
SELECT seq, body, problem, at FROM parked ORDER BY seq

-- name: unpark
INSERT INTO waiting (seq, body) SELECT ?, body FROM parked WHERE seq = ?

-- name: forget_parked
DELETE FROM parked WHERE seq = ?
