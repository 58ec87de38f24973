-- Version 1. Times are milliseconds since 1970; ids are the 16 bytes of a UUID, whose order is
-- the order of creation.

-- Who has jobs. `active_jobs` counts those that have not ended. `served` is the place in line: the
-- number of the claim that last took a job of the scope, or a negative number in order of arrival
-- when there was none yet. A counter, because clocks are set back.
CREATE TABLE tenants (
    scope       TEXT PRIMARY KEY,
    active_jobs INTEGER NOT NULL DEFAULT 0 CHECK (active_jobs >= 0),
    served      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX tenants_by_turn ON tenants (served);
CREATE INDEX tenants_in_line ON tenants (served) WHERE active_jobs > 0;

CREATE TABLE documents (
    scope       TEXT NOT NULL,
    id          BLOB NOT NULL,
    name        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    size        INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    page_count  INTEGER NOT NULL,
    uploaded_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX documents_by_sha256 ON documents (sha256);

CREATE TABLE schemas (
    scope       TEXT NOT NULL,
    id          BLOB NOT NULL,
    name        TEXT NOT NULL,
    description TEXT,
    definition  TEXT NOT NULL,
    metadata    TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    PRIMARY KEY (scope, id)
) STRICT;

CREATE TABLE plans (
    key  TEXT PRIMARY KEY,
    plan TEXT NOT NULL
) STRICT;

-- The row that each event changes; what never changes is in `specs`, so that it stays small.
CREATE TABLE jobs (
    id              BLOB PRIMARY KEY NOT NULL,
    scope           TEXT NOT NULL REFERENCES tenants (scope),
    status          TEXT NOT NULL,
    -- Number of the last event.
    sequence        INTEGER NOT NULL,
    created_ms      INTEGER NOT NULL,
    updated_ms      INTEGER NOT NULL,
    -- Null while the job is active.
    ended_ms        INTEGER,
    expires_ms      INTEGER,
    -- JSON of the rest of the view.
    state           TEXT NOT NULL,
    document_id     BLOB NOT NULL,
    document_sha256 TEXT NOT NULL,
    -- The lease: null when nobody works on the job, and always when it has ended.
    owner           TEXT,
    lease_ms        INTEGER,
    epoch           INTEGER NOT NULL DEFAULT 0,
    crashes         INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX jobs_by_scope ON jobs (scope, id, status);
CREATE INDEX jobs_waiting ON jobs (scope, created_ms, id)
    WHERE ended_ms IS NULL AND owner IS NULL;
CREATE INDEX jobs_leased ON jobs (lease_ms) WHERE owner IS NOT NULL;
CREATE INDEX jobs_active_by_document ON jobs (document_id) WHERE ended_ms IS NULL;
CREATE INDEX jobs_active_by_sha256 ON jobs (document_sha256) WHERE ended_ms IS NULL;

CREATE TABLE specs (
    job_id        BLOB PRIMARY KEY NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    document_name TEXT NOT NULL,
    schema_name   TEXT,
    plan          TEXT NOT NULL REFERENCES plans (key),
    spec          TEXT NOT NULL
) STRICT;

CREATE INDEX specs_by_plan ON specs (plan);

-- The log. With rowids, since the events of many jobs are committed together: they fill the same
-- few pages at the end of the table, where clustering by job would touch a page a job (measured:
-- a third of the bytes written, twice the events per second).
CREATE TABLE events (
    job_id   BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    payload  TEXT NOT NULL,
    PRIMARY KEY (job_id, sequence)
) STRICT;

-- Which events settle a subtree: the primary key lets each be settled once.
CREATE TABLE outcomes (
    job_id   BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    ordinal  INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    -- JSON of what an oversize event leaves out.
    aside    TEXT,
    PRIMARY KEY (job_id, ordinal)
) STRICT, WITHOUT ROWID;
