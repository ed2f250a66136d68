DROP TABLE tidemark.highest_key;
