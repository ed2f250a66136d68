-- What a fork is found out and settled by.

-- The chain of every station's log after each change, its first 8 bytes: one row per applied batch, 8 bytes per change.
-- It says where another history parted from this one. Batches applied before this migration have none.
CREATE TABLE tidemark_history (
    station   INTEGER NOT NULL REFERENCES tidemark_station (number),
    first_seq INTEGER NOT NULL CHECK (first_seq > 0),
    count     INTEGER NOT NULL CHECK (count > 0),
    prints    BLOB NOT NULL CHECK (length(prints) = 8 * count),
    PRIMARY KEY (station, first_seq)
) STRICT;

-- The last time a station's batch continued another history.
CREATE TABLE tidemark_fork (
    station INTEGER NOT NULL PRIMARY KEY REFERENCES tidemark_station (number),
    seq     INTEGER NOT NULL,
    seen_at TEXT NOT NULL
) STRICT;

-- Codes for files that rejoin and replace their old station.
CREATE TABLE tidemark_replacement (
    name     TEXT NOT NULL PRIMARY KEY REFERENCES tidemark_station (name),
    replaces TEXT NOT NULL REFERENCES tidemark_station (name)
) STRICT;

-- Which numbers a station's file had before, the last one at distance 1; `owned`: the station replaced them and may write their rows.
-- With distance 1: the last change both histories have in common, and the chain after the file's next one.
CREATE TABLE tidemark_line (
    station    INTEGER NOT NULL REFERENCES tidemark_station (number),
    former     INTEGER NOT NULL REFERENCES tidemark_station (number),
    distance   INTEGER NOT NULL CHECK (distance > 0),
    owned      INTEGER NOT NULL CHECK (owned IN (0, 1)),
    common     INTEGER,
    next_chain BLOB CHECK (length(next_chain) = 32),
    PRIMARY KEY (station, former)
) STRICT;
CREATE INDEX tidemark_line_former ON tidemark_line (former);
