DROP INDEX tidemark.rejects_parent_idx;
DROP INDEX tidemark.rejects_open_idx;
ALTER TABLE tidemark.rejects
    DROP CONSTRAINT rejects_resolved_check,
    DROP COLUMN parent,
    DROP COLUMN key,
    DROP COLUMN resolved_at,
    DROP COLUMN state;
