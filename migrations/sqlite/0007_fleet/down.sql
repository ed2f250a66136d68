CREATE TABLE tidemark_replacement_named (
    name     TEXT NOT NULL PRIMARY KEY REFERENCES tidemark_station (name),
    replaces TEXT NOT NULL REFERENCES tidemark_station (name)
) STRICT;
INSERT INTO tidemark_replacement_named SELECT name, replaces FROM tidemark_replacement;
DROP TABLE tidemark_replacement;
ALTER TABLE tidemark_replacement_named RENAME TO tidemark_replacement;
DROP TABLE tidemark_backup;
DROP TABLE tidemark_audit;
DROP TABLE tidemark_session;
DROP TABLE tidemark_operator;
DROP TABLE tidemark_ingest;
DROP TABLE tidemark_pushes;
DROP TABLE tidemark_contact;
