-- Version 7: parts of long arrays, kept while the array is read.

-- What was read in one window of a document. With rowids, as the log has: the windows of many jobs
-- are committed together.
CREATE TABLE windows (
    job_id BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    -- SHA-256 of all that the window was asked with.
    key    BLOB NOT NULL,
    -- JSON of the rows, and what they did cost.
    body   TEXT NOT NULL,
    PRIMARY KEY (job_id, key)
) STRICT;

CREATE INDEX windows_by_key ON windows (key);
