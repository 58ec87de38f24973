-- Version 8: webhooks.

-- Where users want to hear of the ends of their jobs.
CREATE TABLE webhooks (
    scope        TEXT NOT NULL,
    id           BLOB NOT NULL,
    url          TEXT NOT NULL,
    description  TEXT,
    -- Names, divided by spaces.
    topics       TEXT NOT NULL,
    -- In writing: messages are signed with it.
    secret       TEXT NOT NULL,
    -- The one of before, and until when it signs as well.
    old_secret   TEXT,
    old_until_ms INTEGER,
    -- Who took it out of use; null while it is enabled.
    disabled     TEXT,
    created_ms   INTEGER NOT NULL,
    PRIMARY KEY (scope, id)
) STRICT, WITHOUT ROWID;

-- What is to be sent, written in the transaction that ends a job.
CREATE TABLE outbox (
    id          BLOB PRIMARY KEY NOT NULL,
    scope       TEXT NOT NULL,
    job_id      BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    -- Null for the callback URL of the job.
    webhook_id  BLOB,
    receiver    TEXT NOT NULL,
    topic       TEXT NOT NULL,
    url         TEXT NOT NULL,
    body        TEXT NOT NULL,
    state       TEXT NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    last_status INTEGER,
    last_error  TEXT,
    last_ms     INTEGER,
    -- Null once it is not pending any more.
    next_ms     INTEGER,
    -- Until when somebody has taken it to be sent.
    lease_ms    INTEGER
) STRICT;

CREATE INDEX outbox_pending ON outbox (receiver, next_ms, id) WHERE state = 'pending';
CREATE INDEX outbox_by_job ON outbox (job_id, id);
CREATE INDEX outbox_by_webhook ON outbox (webhook_id, id) WHERE webhook_id IS NOT NULL;
