-- Who may read reports over HTTP: programs at headquarters, each with a token of its own, kept only as its hash.
CREATE TABLE tidemark_reader (
    name       TEXT NOT NULL PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_at TEXT NOT NULL,
    revoked_at TEXT
) STRICT;
