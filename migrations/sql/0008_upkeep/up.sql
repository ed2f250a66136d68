-- What ends: tokens that were taken away, and how long what is settled is kept.

-- Tokens that open nothing any more, by their hash. They are remembered, so that a file that still has one is told what to do instead of
-- being taken for a stranger. A station whose own token is among them waits for the new one, which it takes with its code.
CREATE TABLE tidemark.ended_token (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    station    integer NOT NULL REFERENCES tidemark.station (number),
    ended_at   timestamptz NOT NULL
);

-- The station's latest batch follows change `began`. It was sent when all up to `heard` was acknowledged on the station, verdicts included.
ALTER TABLE tidemark.cursor
    ADD COLUMN began bigint NOT NULL DEFAULT 0,
    ADD COLUMN heard bigint NOT NULL DEFAULT 0;

-- When the batch was applied; of those that are here already, now.
ALTER TABLE tidemark.history ADD COLUMN applied_at timestamptz NOT NULL DEFAULT now();

-- What is thinned out goes by these.
CREATE INDEX rejects_settled_idx ON tidemark.rejects (station, resolved_at) WHERE state <> 'open';

-- From now on, what a station writes settles the rejects of the numbers it replaced, of the same row. Whether it wrote or deleted these rows
-- before, nobody knows: they are not replayed.
UPDATE tidemark.rejects SET key = NULL
WHERE state = 'open' AND station IN (SELECT former FROM tidemark.line WHERE owned);
