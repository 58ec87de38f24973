-- Version 3: what is kept for a time only.

CREATE INDEX jobs_expiring ON jobs (expires_ms) WHERE status <> 'expired';
CREATE INDEX documents_by_age ON documents (uploaded_ms);
CREATE INDEX schemas_by_age ON schemas (updated_ms);
