-- Version 7: webhooks.

-- Where users want to hear of the ends of their jobs.
CREATE TABLE webhooks (
    scope        TEXT COLLATE "C" NOT NULL,
    id           UUID NOT NULL,
    url          TEXT NOT NULL,
    description  TEXT,
    -- Names, divided by spaces.
    topics       TEXT NOT NULL,
    -- In writing: messages are signed with it.
    secret       TEXT NOT NULL,
    -- The one of before, and until when it signs as well.
    old_secret   TEXT,
    old_until_ms BIGINT,
    -- Who took it out of use; null while it is enabled.
    disabled     TEXT,
    created_ms   BIGINT NOT NULL,
    PRIMARY KEY (scope, id)
);

-- What is to be sent, written in the transaction that ends a job. Without a foreign key, as events
-- are.
CREATE TABLE outbox (
    id          UUID PRIMARY KEY,
    scope       TEXT COLLATE "C" NOT NULL,
    job_id      UUID NOT NULL,
    -- Null for the callback URL of the job.
    webhook_id  UUID,
    receiver    TEXT COLLATE "C" NOT NULL,
    topic       TEXT NOT NULL,
    url         TEXT NOT NULL,
    body        TEXT NOT NULL,
    state       TEXT NOT NULL,
    attempts    BIGINT NOT NULL DEFAULT 0,
    last_status BIGINT,
    last_error  TEXT,
    last_ms     BIGINT,
    -- Null once it is not pending any more.
    next_ms     BIGINT,
    -- Until when somebody has taken it to be sent.
    lease_ms    BIGINT
);

CREATE INDEX outbox_pending ON outbox (receiver, next_ms, id) WHERE state = 'pending';
CREATE INDEX outbox_by_job ON outbox (job_id, id);
CREATE INDEX outbox_by_webhook ON outbox (webhook_id, id) WHERE webhook_id IS NOT NULL;
