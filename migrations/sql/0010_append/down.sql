DROP TABLE tidemark.inserted;
