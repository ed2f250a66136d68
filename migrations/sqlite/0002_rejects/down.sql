DROP INDEX tidemark_rejects_parent;
DROP INDEX tidemark_rejects_open;
ALTER TABLE tidemark_rejects DROP COLUMN parent;
ALTER TABLE tidemark_rejects DROP COLUMN key;
ALTER TABLE tidemark_rejects DROP COLUMN resolved_at;
ALTER TABLE tidemark_rejects DROP COLUMN state;
