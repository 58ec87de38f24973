-- Version 1. Times are milliseconds since 1970 by this database's clock; the order of ids is the
-- order of creation. Keys are compared byte by byte, whatever the language of the database.
--
-- Events, outcomes and specifications have no foreign key to their job: each costs a query a row,
-- and whoever writes them holds the lock of the job's row. What is locked is locked in this order:
-- document, job, tenant, plan; rows of one table in the order of their keys.

-- Who has jobs. `active_jobs` counts those that have not ended. `served` is the place in line: the
-- number of the claim that last took a job of the scope, or a negative number in order of arrival
-- when there was none yet. A counter, because clocks are set back. No index on either: the row of
-- a busy scope changes with every job.
CREATE TABLE tenants (
    scope       TEXT COLLATE "C" PRIMARY KEY,
    active_jobs BIGINT NOT NULL DEFAULT 0 CHECK (active_jobs >= 0),
    served      BIGINT NOT NULL
) WITH (fillfactor = 50);

CREATE SEQUENCE arrivals MINVALUE -9223372036854775807 START -9223372036854775807;
CREATE SEQUENCE turns;

CREATE TABLE documents (
    scope       TEXT COLLATE "C" NOT NULL,
    id          UUID NOT NULL,
    name        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    size        BIGINT NOT NULL,
    sha256      TEXT COLLATE "C" NOT NULL,
    page_count  BIGINT NOT NULL,
    uploaded_ms BIGINT NOT NULL,
    PRIMARY KEY (scope, id)
);

CREATE INDEX documents_by_age ON documents (uploaded_ms);
CREATE INDEX documents_by_sha256 ON documents (sha256);

CREATE TABLE schemas (
    scope       TEXT COLLATE "C" NOT NULL,
    id          UUID NOT NULL,
    name        TEXT NOT NULL,
    description TEXT,
    definition  TEXT NOT NULL,
    metadata    TEXT NOT NULL,
    created_ms  BIGINT NOT NULL,
    updated_ms  BIGINT NOT NULL,
    PRIMARY KEY (scope, id)
);

CREATE INDEX schemas_by_age ON schemas (updated_ms);

CREATE TABLE plans (
    key  TEXT COLLATE "C" PRIMARY KEY,
    plan TEXT NOT NULL
);

-- The row that each event changes; what never changes is in `specs`, so that it stays small. Half
-- of each page is left free, so that a change finds room beside the row and no index is touched.
CREATE TABLE jobs (
    id              UUID PRIMARY KEY,
    scope           TEXT COLLATE "C" NOT NULL,
    status          TEXT NOT NULL,
    -- Number of the last event.
    sequence        BIGINT NOT NULL,
    created_ms      BIGINT NOT NULL,
    updated_ms      BIGINT NOT NULL,
    -- Null while the job is active.
    ended_ms        BIGINT,
    expires_ms      BIGINT,
    -- JSON of the rest of the view.
    state           TEXT NOT NULL,
    document_id     UUID NOT NULL,
    document_sha256 TEXT COLLATE "C" NOT NULL,
    -- The lease: null when nobody works on the job, and always when it has ended.
    owner           TEXT,
    lease_ms        BIGINT,
    epoch           BIGINT NOT NULL DEFAULT 0,
    crashes         BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE INDEX jobs_expiring ON jobs (expires_ms) WHERE status <> 'expired';
CREATE INDEX jobs_by_scope ON jobs (scope, id, status);
CREATE INDEX jobs_waiting ON jobs (scope, created_ms, id)
    WHERE ended_ms IS NULL AND owner IS NULL;
CREATE INDEX jobs_leased ON jobs (lease_ms) WHERE owner IS NOT NULL;
CREATE INDEX jobs_active_by_document ON jobs (document_id) WHERE ended_ms IS NULL;
CREATE INDEX jobs_active_by_sha256 ON jobs (document_sha256) WHERE ended_ms IS NULL;

CREATE TABLE specs (
    job_id        UUID PRIMARY KEY,
    document_name TEXT NOT NULL,
    schema_name   TEXT,
    plan          TEXT COLLATE "C" NOT NULL REFERENCES plans (key),
    spec          TEXT NOT NULL
);

CREATE INDEX specs_by_plan ON specs (plan);

CREATE TABLE events (
    job_id   UUID NOT NULL,
    sequence BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    payload  TEXT NOT NULL,
    PRIMARY KEY (job_id, sequence)
);

-- Which events settle a subtree: the primary key lets each be settled once.
CREATE TABLE outcomes (
    job_id   UUID NOT NULL,
    ordinal  BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    -- JSON of what an oversize event leaves out.
    aside    TEXT,
    PRIMARY KEY (job_id, ordinal)
);

-- API keys. The secret is not kept: `hash` is the SHA-256 of it, `id` the part of the key that is
-- no secret. A revoked key keeps its row, so that a server with keys never becomes one without.
CREATE TABLE keys (
    id         TEXT COLLATE "C" PRIMARY KEY,
    hash       BYTEA NOT NULL,
    -- Whose data it opens: the scope.
    owner      TEXT NOT NULL,
    name       TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);

-- What this installation signs with. Made at first use; never leaves the database.
CREATE TABLE secrets (
    name   TEXT COLLATE "C" PRIMARY KEY,
    secret BYTEA NOT NULL
);

-- Which job a client's key stands for; the row lives as long as the job.
CREATE TABLE idempotency (
    scope        TEXT COLLATE "C" NOT NULL,
    key          TEXT COLLATE "C" NOT NULL,
    request_hash TEXT NOT NULL,
    job_id       UUID NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (scope, key)
);

CREATE INDEX idempotency_by_job ON idempotency (job_id);

CREATE FUNCTION clock_ms() RETURNS BIGINT LANGUAGE sql VOLATILE AS
    $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT $$;
