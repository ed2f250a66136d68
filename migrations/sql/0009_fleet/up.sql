-- What operators see of the stations, who the operators are, and what they did.

-- The last contact of each station, and what it last said of itself. It is for display alone: nothing is decided by it.
CREATE TABLE tidemark.contact (
    station         integer PRIMARY KEY REFERENCES tidemark.station (number),
    contact_at      timestamptz NOT NULL,
    reported_at     timestamptz,
    pending         bigint,
    oldest_ms       bigint,
    free_disk_bytes bigint,
    client_version  text,
    schema_version  bigint,
    clock_offset_ms bigint
) WITH (fillfactor = 50);

-- The last batches of each station: written after they were applied, and thinned out.
CREATE TABLE tidemark.pushes (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station   integer NOT NULL REFERENCES tidemark.station (number),
    at        timestamptz NOT NULL,
    first_seq bigint NOT NULL,
    last_seq  bigint NOT NULL,
    applied   bigint NOT NULL,
    rejected  bigint NOT NULL,
    bytes     bigint NOT NULL,
    ms        bigint NOT NULL
);
CREATE INDEX pushes_station_idx ON tidemark.pushes (station, id);

-- What all stations together brought in a minute.
CREATE TABLE tidemark.ingest (
    minute   timestamptz PRIMARY KEY,
    batches  bigint NOT NULL,
    changes  bigint NOT NULL,
    rejected bigint NOT NULL,
    bytes    bigint NOT NULL
) WITH (fillfactor = 50);

-- Who may look at the fleet and act on it: people, each with a token of their own, kept only as its hash.
CREATE TABLE tidemark.operator (
    name       text PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- The sessions of operators in a browser, each by the hash of a secret that only its cookie has.
CREATE TABLE tidemark.session (
    secret_hash bytea PRIMARY KEY CHECK (octet_length(secret_hash) = 32),
    operator    text NOT NULL REFERENCES tidemark.operator (name),
    expires_at  timestamptz NOT NULL
);

-- What operators did, over HTTP or by the command line; `invited`: to a station that had no number then, by the name it has now.
CREATE TABLE tidemark.audit (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL,
    operator text NOT NULL,
    act      text NOT NULL,
    station  integer,
    invited  text REFERENCES tidemark.station (name) ON UPDATE CASCADE,
    detail   text NOT NULL
);
CREATE INDEX audit_station_idx ON tidemark.audit (station, id);
CREATE INDEX audit_invited_idx ON tidemark.audit (invited, id) WHERE invited IS NOT NULL;

-- The backups that were made of this database; `restored`: the copy was restored into a database of its own, and every row came back.
CREATE TABLE tidemark.backup (
    at         timestamptz PRIMARY KEY,
    file       text NOT NULL,
    size_bytes bigint NOT NULL,
    checked_at timestamptz NOT NULL,
    restored   boolean NOT NULL
);

-- A station may be given another name.
ALTER TABLE tidemark.replacement
    DROP CONSTRAINT replacement_name_fkey,
    DROP CONSTRAINT replacement_replaces_fkey,
    ADD CONSTRAINT replacement_name_fkey FOREIGN KEY (name) REFERENCES tidemark.station (name) ON UPDATE CASCADE,
    ADD CONSTRAINT replacement_replaces_fkey FOREIGN KEY (replaces) REFERENCES tidemark.station (name) ON UPDATE CASCADE;
