-- No token that ended opens anything again.
UPDATE tidemark.station SET revoked_at = now()
WHERE revoked_at IS NULL AND token_hash IN (SELECT token_hash FROM tidemark.ended_token);
DROP INDEX tidemark.rejects_settled_idx;
ALTER TABLE tidemark.history DROP COLUMN applied_at;
ALTER TABLE tidemark.cursor
    DROP COLUMN heard,
    DROP COLUMN began;
DROP TABLE tidemark.ended_token;
