-- Version 6: parts of long arrays, kept while the array is read.

-- What was read in one window of a document.
CREATE TABLE windows (
    job_id UUID NOT NULL,
    -- SHA-256 of all that the window was asked with.
    key    BYTEA NOT NULL,
    -- JSON of the rows, and what they did cost.
    body   TEXT NOT NULL,
    PRIMARY KEY (job_id, key)
);

CREATE INDEX windows_by_key ON windows (key);
