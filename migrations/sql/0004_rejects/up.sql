-- What became of a rejected change. `key` is its row's, as text; none when it is not known, as in rejects from before this migration.
-- `parent` is the seq of the rejected change on which this one hangs.
ALTER TABLE tidemark.rejects
    ADD COLUMN state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded', 'superseded')),
    ADD COLUMN resolved_at timestamptz,
    ADD COLUMN key         text,
    ADD COLUMN parent      bigint,
    ADD CONSTRAINT rejects_resolved_check CHECK ((state = 'open') = (resolved_at IS NULL));

-- What a push asks: has this station open rejects, and for which rows?
CREATE INDEX rejects_open_idx ON tidemark.rejects (station, tbl, key) WHERE state = 'open';
CREATE INDEX rejects_parent_idx ON tidemark.rejects (station, parent) WHERE parent IS NOT NULL;
