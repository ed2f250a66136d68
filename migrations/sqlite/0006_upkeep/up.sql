-- What ends: tokens that were taken away, and how long what is settled is kept.

-- Tokens that open nothing any more, by their hash. They are remembered, so that a file that still has one is told what to do instead of
-- being taken for a stranger. A station whose own token is among them waits for the new one, which it takes with its code.
CREATE TABLE tidemark_ended_token (
    token_hash BLOB NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
    station    INTEGER NOT NULL REFERENCES tidemark_station (number),
    ended_at   TEXT NOT NULL
) STRICT;

-- The station's latest batch follows change `began`. It was sent when all up to `heard` was acknowledged on the station, verdicts included.
ALTER TABLE tidemark_cursor ADD COLUMN began INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tidemark_cursor ADD COLUMN heard INTEGER NOT NULL DEFAULT 0;

-- When the batch was applied; of those that are here already, now.
ALTER TABLE tidemark_history ADD COLUMN applied_at TEXT;
UPDATE tidemark_history SET applied_at = strftime('%Y-%m-%d %H:%M:%f000', 'now');

-- What is thinned out goes by these.
CREATE INDEX tidemark_rejects_settled ON tidemark_rejects (station, resolved_at) WHERE state <> 'open';

-- From now on, what a station writes settles the rejects of the numbers it replaced, of the same row. Whether it wrote or deleted these rows
-- before, nobody knows: they are not replayed.
UPDATE tidemark_rejects SET key = NULL
WHERE state = 'open' AND station IN (SELECT former FROM tidemark_line WHERE owned = 1);
