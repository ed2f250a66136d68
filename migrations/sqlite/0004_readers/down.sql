DROP TABLE tidemark_reader;
