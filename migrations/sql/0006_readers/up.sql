-- Who may read reports over HTTP: programs at headquarters, each with a token of its own, kept only as its hash.
CREATE TABLE tidemark.reader (
    name       text PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
