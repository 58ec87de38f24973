-- Version 4: active jobs are counted where they are. A count of them in the row of their scope was
-- changed by each start and end of a job, and each waited for the flush of the one before.

DROP INDEX jobs_active_by_document;
CREATE INDEX jobs_active ON jobs (scope, document_id) WHERE ended_ms IS NULL;

ALTER TABLE tenants DROP COLUMN active_jobs;
