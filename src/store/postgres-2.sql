-- Version 2: how many jobs may be active for the holder of a key to start another one; null for as
-- many as the server's setting says.

ALTER TABLE keys ADD COLUMN max_active_jobs BIGINT CHECK (max_active_jobs >= 1);
