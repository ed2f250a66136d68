-- What became of a rejected change. `key` is its row's, as text; none when it is not known, as in rejects from before this migration.
-- `parent` is the seq of the rejected change on which this one hangs.
ALTER TABLE tidemark_rejects
    ADD COLUMN state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded', 'superseded'));
ALTER TABLE tidemark_rejects
    ADD COLUMN resolved_at TEXT CHECK ((state = 'open') = (resolved_at IS NULL));
ALTER TABLE tidemark_rejects ADD COLUMN key TEXT;
ALTER TABLE tidemark_rejects ADD COLUMN parent INTEGER;

-- What a push asks: has this station open rejects, and for which rows?
CREATE INDEX tidemark_rejects_open ON tidemark_rejects (station, tbl, key) WHERE state = 'open';
CREATE INDEX tidemark_rejects_parent ON tidemark_rejects (station, parent) WHERE parent IS NOT NULL;
