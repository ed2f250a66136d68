CREATE TRIGGER "tidemark_site_before_insert" BEFORE INSERT ON "site"
WHEN EXISTS (SELECT 1 FROM "site" WHERE "id" = NEW."id" OR "name" = NEW."name" OR "id" = NEW."id" AND "name" = NEW."name") OR EXISTS (SELECT 1 FROM tidemark_ousted)
BEGIN
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_ousted (tbl, c0, c1) SELECT 'site', "id", "name" FROM "site" WHERE "id" = NEW."id" OR "name" = NEW."name" OR "id" = NEW."id" AND "name" = NEW."name";
END;
CREATE TRIGGER "tidemark_site_after_insert" AFTER INSERT ON "site"
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'site', 'D', c0, c1 FROM tidemark_ousted
        WHERE tbl = 'site' AND (c0 = NEW."id" OR NOT EXISTS (SELECT 1 FROM "site" WHERE "id" = tidemark_ousted.c0));
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'site', 'I', NEW."id", NEW."name");
END;
CREATE TRIGGER "tidemark_site_before_update" BEFORE UPDATE ON "site"
WHEN (NEW."id" IS NOT OLD."id" OR NEW."name" IS NOT OLD."name" OR NEW."id" IS NOT OLD."id" OR NEW."name" IS NOT OLD."name") AND (EXISTS (SELECT 1 FROM "site" WHERE ("id" = NEW."id" OR "name" = NEW."name" OR "id" = NEW."id" AND "name" = NEW."name") AND "id" IS NOT OLD."id") OR EXISTS (SELECT 1 FROM tidemark_ousted))
BEGIN
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_ousted (tbl, c0, c1) SELECT 'site', "id", "name" FROM "site" WHERE ("id" = NEW."id" OR "name" = NEW."name" OR "id" = NEW."id" AND "name" = NEW."name") AND "id" IS NOT OLD."id";
END;
CREATE TRIGGER "tidemark_site_after_update" AFTER UPDATE ON "site"
WHEN NOT (NEW."id" IS NOT OLD."id")
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'site', 'D', c0, c1 FROM tidemark_ousted
        WHERE tbl = 'site' AND (NOT EXISTS (SELECT 1 FROM "site" WHERE "id" = tidemark_ousted.c0));
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'site', 'U', NEW."id", NEW."name");
END;
CREATE TRIGGER "tidemark_site_after_move" AFTER UPDATE ON "site"
WHEN NEW."id" IS NOT OLD."id"
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'site', 'D', c0, c1 FROM tidemark_ousted
        WHERE tbl = 'site' AND (c0 = NEW."id" AND NEW."id" IS NOT OLD."id" OR NOT EXISTS (SELECT 1 FROM "site" WHERE "id" = tidemark_ousted.c0));
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'site', 'D', OLD."id", OLD."name");
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'site', 'I', NEW."id", NEW."name");
END;
CREATE TRIGGER "tidemark_site_after_delete" AFTER DELETE ON "site"
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'site', 'D', OLD."id", OLD."name");
    DELETE FROM tidemark_ousted WHERE tbl = 'site' AND c0 = OLD."id";
END;
