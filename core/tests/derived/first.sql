CREATE TRIGGER "tidemark_site_after_insert" AFTER INSERT ON "site"
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'site', 'I', NEW."id", NEW."name");
END;
CREATE TRIGGER "tidemark_site_before_update" BEFORE UPDATE ON "site"
WHEN (NEW."id" IS NOT OLD."id") AND (EXISTS (SELECT 1 FROM "site" WHERE ("id" = NEW."id") AND "id" IS NOT OLD."id") OR EXISTS (SELECT 1 FROM tidemark_ousted))
BEGIN
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_ousted (tbl, c0, c1) SELECT 'site', "id", "name" FROM "site" WHERE ("id" = NEW."id") AND "id" IS NOT OLD."id";
END;
CREATE TRIGGER "tidemark_site_after_update" AFTER UPDATE ON "site"
WHEN NOT (NEW."id" IS NOT OLD."id")
BEGIN
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
CREATE TRIGGER "tidemark_reading_before_insert" BEFORE INSERT ON "reading"
WHEN EXISTS (SELECT 1 FROM "reading" WHERE "id" = NEW."id") OR EXISTS (SELECT 1 FROM tidemark_ousted)
BEGIN
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_ousted (tbl, c0, c1, c2, c3, c4, c5, c6, c7, c8) SELECT 'reading', "id", "site_id", "measured_at", "temperature", "count", "note", "ok", "extra", "raw" FROM "reading" WHERE "id" = NEW."id";
END;
CREATE TRIGGER "tidemark_reading_after_insert" AFTER INSERT ON "reading"
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1, c2, c3, c4, c5, c6, c7, c8) SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'reading', 'D', c0, c1, c2, c3, c4, c5, c6, c7, c8 FROM tidemark_ousted
        WHERE tbl = 'reading' AND (c0 = NEW."id" OR NOT EXISTS (SELECT 1 FROM "reading" WHERE "id" = tidemark_ousted.c0));
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_log (at, tbl, op, c0, c1, c2, c3, c4, c5, c6, c7, c8) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'reading', 'I', NEW."id", NEW."site_id", NEW."measured_at", NEW."temperature", NEW."count", NEW."note", NEW."ok", NEW."extra", NEW."raw");
END;
CREATE TRIGGER "tidemark_reading_before_update" BEFORE UPDATE ON "reading"
WHEN (NEW."id" IS NOT OLD."id") AND (EXISTS (SELECT 1 FROM "reading" WHERE ("id" = NEW."id") AND "id" IS NOT OLD."id") OR EXISTS (SELECT 1 FROM tidemark_ousted))
BEGIN
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_ousted (tbl, c0, c1, c2, c3, c4, c5, c6, c7, c8) SELECT 'reading', "id", "site_id", "measured_at", "temperature", "count", "note", "ok", "extra", "raw" FROM "reading" WHERE ("id" = NEW."id") AND "id" IS NOT OLD."id";
END;
CREATE TRIGGER "tidemark_reading_after_update" AFTER UPDATE ON "reading"
WHEN NOT (NEW."id" IS NOT OLD."id" OR NEW."measured_at" IS NOT OLD."measured_at")
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1, c2, c3, c4, c5, c6, c7, c8) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'reading', 'U', NEW."id", NEW."site_id", NEW."measured_at", NEW."temperature", NEW."count", NEW."note", NEW."ok", NEW."extra", NEW."raw");
END;
CREATE TRIGGER "tidemark_reading_after_move" AFTER UPDATE ON "reading"
WHEN NEW."id" IS NOT OLD."id" OR NEW."measured_at" IS NOT OLD."measured_at"
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1, c2, c3, c4, c5, c6, c7, c8) SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'reading', 'D', c0, c1, c2, c3, c4, c5, c6, c7, c8 FROM tidemark_ousted
        WHERE tbl = 'reading' AND (c0 = NEW."id" AND NEW."id" IS NOT OLD."id" OR NOT EXISTS (SELECT 1 FROM "reading" WHERE "id" = tidemark_ousted.c0));
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_log (at, tbl, op, c0, c1, c2, c3, c4, c5, c6, c7, c8) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'reading', 'D', OLD."id", OLD."site_id", OLD."measured_at", OLD."temperature", OLD."count", OLD."note", OLD."ok", OLD."extra", OLD."raw");
    INSERT INTO tidemark_log (at, tbl, op, c0, c1, c2, c3, c4, c5, c6, c7, c8) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'reading', 'I', NEW."id", NEW."site_id", NEW."measured_at", NEW."temperature", NEW."count", NEW."note", NEW."ok", NEW."extra", NEW."raw");
END;
CREATE TRIGGER "tidemark_reading_after_delete" AFTER DELETE ON "reading"
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1, c2, c3, c4, c5, c6, c7, c8) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'reading', 'D', OLD."id", OLD."site_id", OLD."measured_at", OLD."temperature", OLD."count", OLD."note", OLD."ok", OLD."extra", OLD."raw");
    DELETE FROM tidemark_ousted WHERE tbl = 'reading' AND c0 = OLD."id";
END;
CREATE TRIGGER "tidemark_tag_after_insert" AFTER INSERT ON "tag"
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'tag', 'I', NEW."uid", NEW."label");
END;
CREATE TRIGGER "tidemark_tag_before_update" BEFORE UPDATE ON "tag"
WHEN (NEW."uid" IS NOT OLD."uid") AND (EXISTS (SELECT 1 FROM "tag" WHERE ("uid" = NEW."uid") AND "uid" IS NOT OLD."uid") OR EXISTS (SELECT 1 FROM tidemark_ousted))
BEGIN
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_ousted (tbl, c0, c1) SELECT 'tag', "uid", "label" FROM "tag" WHERE ("uid" = NEW."uid") AND "uid" IS NOT OLD."uid";
END;
CREATE TRIGGER "tidemark_tag_after_update" AFTER UPDATE ON "tag"
WHEN NOT (NEW."uid" IS NOT OLD."uid")
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'tag', 'U', NEW."uid", NEW."label");
END;
CREATE TRIGGER "tidemark_tag_after_move" AFTER UPDATE ON "tag"
WHEN NEW."uid" IS NOT OLD."uid"
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'tag', 'D', c0, c1 FROM tidemark_ousted
        WHERE tbl = 'tag' AND (c0 = NEW."uid" AND NEW."uid" IS NOT OLD."uid" OR NOT EXISTS (SELECT 1 FROM "tag" WHERE "uid" = tidemark_ousted.c0));
    DELETE FROM tidemark_ousted WHERE 1;
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'tag', 'D', OLD."uid", OLD."label");
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'tag', 'I', NEW."uid", NEW."label");
END;
CREATE TRIGGER "tidemark_tag_after_delete" AFTER DELETE ON "tag"
BEGIN
    INSERT INTO tidemark_log (at, tbl, op, c0, c1) VALUES (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER), 'tag', 'D', OLD."uid", OLD."label");
    DELETE FROM tidemark_ousted WHERE tbl = 'tag' AND c0 = OLD."uid";
END;
