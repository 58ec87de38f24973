-- Version 5: schemas are found by the address that they give themselves.

-- The schema's `$id`, or `id` as draft 4 has it, without a closing `#`; null where it has none.
ALTER TABLE schemas ADD COLUMN address TEXT;

-- A zero character is no text here, and stands in no address.
UPDATE schemas SET address = rtrim(coalesce(definition::json ->> '$id', definition::json ->> 'id'), '#')
    WHERE left(definition, 1) = '{' AND strpos(definition, '\u0000') = 0;

-- Of its beginning: an entry of an index has little room, and addresses may be long.
CREATE INDEX schemas_by_address ON schemas (scope, left(address, 200)) WHERE address IS NOT NULL;
