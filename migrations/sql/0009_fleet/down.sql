ALTER TABLE tidemark.replacement
    DROP CONSTRAINT replacement_name_fkey,
    DROP CONSTRAINT replacement_replaces_fkey,
    ADD CONSTRAINT replacement_name_fkey FOREIGN KEY (name) REFERENCES tidemark.station (name),
    ADD CONSTRAINT replacement_replaces_fkey FOREIGN KEY (replaces) REFERENCES tidemark.station (name);
DROP TABLE tidemark.backup;
DROP TABLE tidemark.audit;
DROP TABLE tidemark.session;
DROP TABLE tidemark.operator;
DROP TABLE tidemark.ingest;
DROP TABLE tidemark.pushes;
DROP TABLE tidemark.contact;
