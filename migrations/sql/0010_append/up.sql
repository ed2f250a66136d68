-- Which keys were inserted into tables that are only appended to, as ranges of keys that follow each other. Such a table
-- has no unique index: what lies in none of its ranges is new. A station's keys ascend, so they are few.
CREATE TABLE tidemark.inserted (
    tbl   text NOT NULL,
    first bigint NOT NULL,
    last  bigint NOT NULL CHECK (last >= first),
    PRIMARY KEY (tbl, first)
) WITH (fillfactor = 50);
