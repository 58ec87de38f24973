-- Version 3: answers are found again by what was asked.

-- SHA-256 of all that the answer was asked with; null where it is not to be used again.
ALTER TABLE outcomes ADD COLUMN answer BYTEA;

CREATE INDEX outcomes_by_answer ON outcomes (answer) WHERE answer IS NOT NULL;
