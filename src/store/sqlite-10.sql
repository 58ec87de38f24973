-- Version 10: what users save under a name, such as templates of jobs.

CREATE TABLE definitions (
    scope      TEXT NOT NULL,
    kind       TEXT NOT NULL,
    id         BLOB NOT NULL,
    name       TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, kind, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX definitions_by_name ON definitions (scope, kind, name);
