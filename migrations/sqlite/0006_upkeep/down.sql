-- No token that ended opens anything again.
UPDATE tidemark_station SET revoked_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
WHERE revoked_at IS NULL AND token_hash IN (SELECT token_hash FROM tidemark_ended_token);
DROP INDEX tidemark_rejects_settled;
ALTER TABLE tidemark_history DROP COLUMN applied_at;
ALTER TABLE tidemark_cursor DROP COLUMN heard;
ALTER TABLE tidemark_cursor DROP COLUMN began;
DROP TABLE tidemark_ended_token;
