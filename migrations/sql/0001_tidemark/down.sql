DROP TABLE tidemark.rejects;
DROP TABLE tidemark.cursor;
DROP TABLE tidemark.station;
DROP TABLE tidemark.schema;
DROP TABLE tidemark.migration;
DROP SCHEMA tidemark;
