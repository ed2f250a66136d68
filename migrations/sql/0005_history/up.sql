-- What a fork is found out and settled by.

-- The chain of every station's log after each change, its first 8 bytes: one row per applied batch, 8 bytes per change.
-- It says where another history parted from this one. Batches applied before this migration have none.
CREATE TABLE tidemark.history (
    station   integer NOT NULL REFERENCES tidemark.station (number),
    first_seq bigint NOT NULL CHECK (first_seq > 0),
    count     integer NOT NULL CHECK (count > 0),
    prints    bytea NOT NULL CHECK (octet_length(prints) = 8 * count),
    PRIMARY KEY (station, first_seq)
);
-- Hashes do not compress.
ALTER TABLE tidemark.history ALTER COLUMN prints SET STORAGE EXTERNAL;

-- The last time a station's batch continued another history.
CREATE TABLE tidemark.fork (
    station integer PRIMARY KEY REFERENCES tidemark.station (number),
    seq     bigint NOT NULL,
    seen_at timestamptz NOT NULL
);

-- Codes for files that rejoin and replace their old station.
CREATE TABLE tidemark.replacement (
    name     text PRIMARY KEY REFERENCES tidemark.station (name),
    replaces text NOT NULL REFERENCES tidemark.station (name)
);

-- Which numbers a station's file had before, the last one at distance 1; `owned`: the station replaced them and may write their rows.
-- With distance 1: the last change both histories have in common, and the chain after the file's next one.
CREATE TABLE tidemark.line (
    station    integer NOT NULL REFERENCES tidemark.station (number),
    former     integer NOT NULL REFERENCES tidemark.station (number),
    distance   integer NOT NULL CHECK (distance > 0),
    owned      boolean NOT NULL,
    common     bigint,
    next_chain bytea CHECK (octet_length(next_chain) = 32),
    PRIMARY KEY (station, former)
);
CREATE INDEX line_former ON tidemark.line (former);
