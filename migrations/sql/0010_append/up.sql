-- The highest key that a station ever inserted into a table that is only appended to. Such a table has no unique index: a
-- key above this one is new, any other is looked for.
CREATE TABLE tidemark.highest_key (
    station integer NOT NULL REFERENCES tidemark.station (number),
    tbl     text NOT NULL,
    key     bigint NOT NULL,
    PRIMARY KEY (station, tbl)
);
