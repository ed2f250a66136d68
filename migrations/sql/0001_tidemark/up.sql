-- Tidemark's own tables.
CREATE SCHEMA tidemark;

-- What was applied to this database, in order. `registers` is the fingerprint of the schema whose tables it made.
CREATE TABLE tidemark.migration (
    position   integer PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    checksum   text NOT NULL,
    down       text NOT NULL,
    registers  text,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Every schema whose batches this database has known.
CREATE TABLE tidemark.schema (
    fingerprint  text PRIMARY KEY,
    name         text NOT NULL,
    version      bigint NOT NULL,
    toml         text NOT NULL,
    partitioning text NOT NULL CHECK (partitioning IN ('hypertable', 'plain')),
    added_at     timestamptz NOT NULL DEFAULT now()
);

-- One row per station that was invited; `number` is given when it joins. Token and code are there only as hashes.
CREATE TABLE tidemark.station (
    name            text PRIMARY KEY,
    number          integer UNIQUE CHECK (number BETWEEN 1 AND 2097151),
    station_uuid    uuid UNIQUE,
    token_hash      bytea UNIQUE CHECK (octet_length(token_hash) = 32),
    code_hash       bytea NOT NULL UNIQUE CHECK (octet_length(code_hash) = 32),
    code_expires_at timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    joined_at       timestamptz,
    revoked_at      timestamptz,
    CONSTRAINT station_joined_check CHECK (
        (number IS NULL) = (joined_at IS NULL)
        AND (number IS NULL) = (station_uuid IS NULL)
        AND (number IS NULL) = (token_hash IS NULL)
    )
);

-- The tidemark of each station: how far its log is durable here, and the chain there. Its row lock orders a station's batches.
CREATE TABLE tidemark.cursor (
    station         integer PRIMARY KEY REFERENCES tidemark.station (number),
    seq             bigint NOT NULL CHECK (seq >= 0),
    chain           bytea NOT NULL CHECK (octet_length(chain) = 32),
    updated_at      timestamptz NOT NULL,
    clock_offset_ms bigint
) WITH (fillfactor = 50);

-- Changes that could not be applied, with their full image.
CREATE TABLE tidemark.rejects (
    station     integer NOT NULL REFERENCES tidemark.station (number),
    seq         bigint NOT NULL,
    at          timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    tbl         text NOT NULL,
    op          text NOT NULL,
    code        text NOT NULL,
    message     text NOT NULL,
    image       json,
    origin      text NOT NULL CHECK (origin IN ('server', 'station')),
    PRIMARY KEY (station, seq)
);
