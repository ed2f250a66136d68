-- Tidemark's own tables in the embedded upstream. Times are text as `YYYY-MM-DD HH:MM:SS.ffffff`, UTC.

-- What was applied to this database, in order. `registers` is the fingerprint of the schema whose tables it made.
CREATE TABLE tidemark_migration (
    position   INTEGER NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    checksum   TEXT NOT NULL,
    down       TEXT NOT NULL,
    registers  TEXT,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now'))
) STRICT;

-- Every schema whose batches this database has known.
CREATE TABLE tidemark_schema (
    fingerprint  TEXT NOT NULL PRIMARY KEY,
    name         TEXT NOT NULL,
    version      INTEGER NOT NULL,
    toml         TEXT NOT NULL,
    partitioning TEXT NOT NULL CHECK (partitioning IN ('hypertable', 'plain')),
    added_at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now'))
) STRICT;

-- One row per station that was invited; `number` is given when it joins. Token and code are there only as hashes.
CREATE TABLE tidemark_station (
    name            TEXT NOT NULL PRIMARY KEY,
    number          INTEGER UNIQUE CHECK (number BETWEEN 1 AND 2097151),
    station_uuid    BLOB UNIQUE CHECK (length(station_uuid) = 16),
    token_hash      BLOB UNIQUE CHECK (length(token_hash) = 32),
    code_hash       BLOB NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    code_expires_at TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    joined_at       TEXT,
    revoked_at      TEXT,
    CHECK (
        (number IS NULL) = (joined_at IS NULL)
        AND (number IS NULL) = (station_uuid IS NULL)
        AND (number IS NULL) = (token_hash IS NULL)
    )
) STRICT;

-- The tidemark of each station: how far its log is durable here, and the chain there.
CREATE TABLE tidemark_cursor (
    station         INTEGER NOT NULL PRIMARY KEY REFERENCES tidemark_station (number),
    seq             INTEGER NOT NULL CHECK (seq >= 0),
    chain           BLOB NOT NULL CHECK (length(chain) = 32),
    updated_at      TEXT NOT NULL,
    clock_offset_ms INTEGER
) STRICT;

-- Changes that could not be applied, with their full image.
CREATE TABLE tidemark_rejects (
    station     INTEGER NOT NULL REFERENCES tidemark_station (number),
    seq         INTEGER NOT NULL,
    at          TEXT NOT NULL,
    received_at TEXT NOT NULL,
    tbl         TEXT NOT NULL,
    op          TEXT NOT NULL,
    code        TEXT NOT NULL,
    message     TEXT NOT NULL,
    image       TEXT,
    origin      TEXT NOT NULL CHECK (origin IN ('server', 'station')),
    PRIMARY KEY (station, seq)
) STRICT, WITHOUT ROWID;
