DROP TABLE tidemark_line;
DROP TABLE tidemark_replacement;
DROP TABLE tidemark_fork;
DROP TABLE tidemark_history;
