DROP TABLE tidemark.reader;
