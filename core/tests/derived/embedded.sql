CREATE TABLE "site" (
    "id" INTEGER NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL CHECK (length(CAST("name" AS BLOB)) <= 100),
    "station" INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE "reading" (
    "id" INTEGER NOT NULL PRIMARY KEY,
    "site_id" INTEGER NOT NULL,
    "measured_at" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
    "temperature" ANY CHECK ("temperature" >= -90.0 AND "temperature" <= 60.0),
    "count" INTEGER,
    "note" TEXT,
    "ok" INTEGER DEFAULT 1,
    "extra" TEXT,
    "raw" BLOB,
    "station" INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE "tag" (
    "uid" TEXT NOT NULL PRIMARY KEY,
    "label" TEXT DEFAULT 'it''s',
    "station" INTEGER NOT NULL DEFAULT 0
) STRICT;
