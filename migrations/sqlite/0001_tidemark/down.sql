DROP TABLE tidemark_rejects;
DROP TABLE tidemark_cursor;
DROP TABLE tidemark_station;
DROP TABLE tidemark_schema;
DROP TABLE tidemark_migration;
