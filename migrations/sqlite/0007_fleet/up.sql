-- What operators see of the stations, who the operators are, and what they did.

-- The last contact of each station, and what it last said of itself. It is for display alone: nothing is decided by it.
CREATE TABLE tidemark_contact (
    station         INTEGER NOT NULL PRIMARY KEY REFERENCES tidemark_station (number),
    contact_at      TEXT NOT NULL,
    reported_at     TEXT,
    pending         INTEGER,
    oldest_ms       INTEGER,
    free_disk_bytes INTEGER,
    client_version  TEXT,
    schema_version  INTEGER,
    clock_offset_ms INTEGER
) STRICT;

-- The last batches of each station: written after they were applied, and thinned out.
CREATE TABLE tidemark_pushes (
    id        INTEGER NOT NULL PRIMARY KEY,
    station   INTEGER NOT NULL REFERENCES tidemark_station (number),
    at        TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    applied   INTEGER NOT NULL,
    rejected  INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    ms        INTEGER NOT NULL
) STRICT;
CREATE INDEX tidemark_pushes_station ON tidemark_pushes (station, id);

-- What all stations together brought in a minute.
CREATE TABLE tidemark_ingest (
    minute   TEXT NOT NULL PRIMARY KEY,
    batches  INTEGER NOT NULL,
    changes  INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    bytes    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who may look at the fleet and act on it: people, each with a token of their own, kept only as its hash.
CREATE TABLE tidemark_operator (
    name       TEXT NOT NULL PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_at TEXT NOT NULL,
    revoked_at TEXT
) STRICT;

-- The sessions of operators in a browser, each by the hash of a secret that only its cookie has.
CREATE TABLE tidemark_session (
    secret_hash BLOB NOT NULL PRIMARY KEY CHECK (length(secret_hash) = 32),
    operator    TEXT NOT NULL REFERENCES tidemark_operator (name),
    expires_at  TEXT NOT NULL
) STRICT;

-- What operators did, over HTTP or by the command line; `invited`: to a station that had no number then, by the name it has now.
CREATE TABLE tidemark_audit (
    id       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at       TEXT NOT NULL,
    operator TEXT NOT NULL,
    act      TEXT NOT NULL,
    station  INTEGER,
    invited  TEXT REFERENCES tidemark_station (name) ON UPDATE CASCADE,
    detail   TEXT NOT NULL
) STRICT;
CREATE INDEX tidemark_audit_station ON tidemark_audit (station, id);
CREATE INDEX tidemark_audit_invited ON tidemark_audit (invited, id) WHERE invited IS NOT NULL;

-- The backups that were made of this database; `restored`: the copy was restored into a database of its own, and every row came back.
CREATE TABLE tidemark_backup (
    at         TEXT NOT NULL PRIMARY KEY,
    file       TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    checked_at TEXT NOT NULL,
    restored   INTEGER NOT NULL CHECK (restored IN (0, 1))
) STRICT;

-- A station may be given another name.
CREATE TABLE tidemark_replacement_named (
    name     TEXT NOT NULL PRIMARY KEY REFERENCES tidemark_station (name) ON UPDATE CASCADE,
    replaces TEXT NOT NULL REFERENCES tidemark_station (name) ON UPDATE CASCADE
) STRICT;
INSERT INTO tidemark_replacement_named SELECT name, replaces FROM tidemark_replacement;
DROP TABLE tidemark_replacement;
ALTER TABLE tidemark_replacement_named RENAME TO tidemark_replacement;
