-- Version 9: files, and those that are still being uploaded.

CREATE TABLE files (
    scope      TEXT NOT NULL,
    id         BLOB NOT NULL,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       INTEGER NOT NULL,
    sha256     TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    -- Null where it is kept until it is deleted.
    expires_ms INTEGER,
    PRIMARY KEY (scope, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX files_by_sha256 ON files (sha256);
CREATE INDEX files_by_end ON files (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE uploads (
    id         BLOB PRIMARY KEY NOT NULL,
    scope      TEXT NOT NULL,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    -- What the whole file will be, where its uploader said so.
    size       INTEGER,
    sha256     TEXT,
    -- Bytes that are there.
    received   INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX uploads_by_scope ON uploads (scope, expires_ms);
CREATE INDEX uploads_by_end ON uploads (expires_ms);

CREATE TABLE chunks (
    upload_id BLOB NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    begins    INTEGER NOT NULL,
    size      INTEGER NOT NULL,
    sha256    TEXT NOT NULL,
    PRIMARY KEY (upload_id, begins)
) STRICT, WITHOUT ROWID;
