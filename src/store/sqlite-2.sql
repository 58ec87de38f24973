-- Version 2: who may ask, and which requests were made before.

-- API keys. The secret is not kept: `hash` is the SHA-256 of it, `id` the part of the key that is
-- no secret. A revoked key keeps its row, so that a server with keys never becomes one without.
CREATE TABLE keys (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL,
    -- Whose data it opens: the scope.
    user       TEXT NOT NULL,
    name       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT, WITHOUT ROWID;

-- What this installation signs with. Made at first use; never leaves the database.
CREATE TABLE secrets (
    name   TEXT PRIMARY KEY,
    secret BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Which job a client's key stands for; the row lives as long as the job.
CREATE TABLE idempotency (
    scope        TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    job_id       BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_job ON idempotency (job_id);
