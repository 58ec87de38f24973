-- Version 9: what users save under a name, such as templates of jobs.

CREATE TABLE definitions (
    scope      TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    id         UUID NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    body       TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (scope, kind, id)
);

CREATE UNIQUE INDEX definitions_by_name ON definitions (scope, kind, name);
