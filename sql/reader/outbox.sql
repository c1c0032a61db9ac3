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

-- name: add
INSERT INTO waiting (body) VALUES (?)

-- name: oldest
SELECT seq, body FROM waiting ORDER BY seq LIMIT ?

-- name: remove
DELETE FROM waiting WHERE seq = ?

-- name: park
INSERT INTO parked (body, problem, at) SELECT body, ?, ? FROM waiting WHERE seq = ?

-- name: park_body
INSERT INTO parked (body, problem, at) VALUES (?, ?, ?)

-- name: counts
SELECT (SELECT count(*) FROM waiting), (SELECT count(*) FROM parked)

-- name: parked_items
SELECT seq, body, problem FROM parked ORDER BY seq LIMIT ?
