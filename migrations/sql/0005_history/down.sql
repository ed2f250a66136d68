DROP TABLE tidemark.line;
DROP TABLE tidemark.replacement;
DROP TABLE tidemark.fork;
DROP TABLE tidemark.history;
