-- Version 6: schemas are found by the address that they give themselves.

-- The schema's `$id`, or `id` as draft 4 has it, without a closing `#`; null where it has none.
ALTER TABLE schemas ADD COLUMN address TEXT;

UPDATE schemas SET address = rtrim(coalesce(
    CASE json_type(definition, '$."$id"') WHEN 'text' THEN json_extract(definition, '$."$id"') END,
    CASE json_type(definition, '$.id') WHEN 'text' THEN json_extract(definition, '$.id') END
), '#');

CREATE INDEX schemas_by_address ON schemas (scope, address) WHERE address IS NOT NULL;
