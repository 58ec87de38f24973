-- Version 8: files, and those that are still being uploaded.

CREATE TABLE files (
    scope      TEXT COLLATE "C" NOT NULL,
    id         UUID NOT NULL,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       BIGINT NOT NULL,
    sha256     TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    -- Null where it is kept until it is deleted.
    expires_ms BIGINT,
    PRIMARY KEY (scope, id)
);

CREATE INDEX files_by_sha256 ON files (sha256);
CREATE INDEX files_by_end ON files (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE uploads (
    id         UUID PRIMARY KEY,
    scope      TEXT COLLATE "C" NOT NULL,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    -- What the whole file will be, where its uploader said so.
    size       BIGINT,
    sha256     TEXT COLLATE "C",
    -- Bytes that are there.
    received   BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE INDEX uploads_by_scope ON uploads (scope, expires_ms);
CREATE INDEX uploads_by_end ON uploads (expires_ms);

CREATE TABLE chunks (
    upload_id UUID NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    begins    BIGINT NOT NULL,
    size      BIGINT NOT NULL,
    sha256    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (upload_id, begins)
);
