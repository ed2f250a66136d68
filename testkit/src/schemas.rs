//! Schemas with every type, both kinds of key and tables with and without time.

/// The schema of the golden frames: every type, a reference, a uuid key, a time column, bounds, defaults. Its
/// fingerprint stands in files, so it never changes.
pub const GOLDEN: &str = r#"
name = "golden"
version = 1

[tables.site.columns]
id   = { type = "integer" }
name = { type = "text", required = true, max_bytes = 100 }

[tables.reading]
doc = "Every type there is."
time = "measured_at"
chunk = "7 days"
[tables.reading.columns]
id          = { type = "integer" }
site_id     = { type = "integer", references = "site", required = true }
measured_at = { type = "timestamp", default = "now" }
temperature = { type = "real", unit = "°C", min = -90, max = 60 }
count       = { type = "integer" }
note        = { type = "text" }
ok          = { type = "boolean", default = true }
extra       = { type = "json" }
raw         = { type = "bytes" }

[tables.tag]
key = "uid"
[tables.tag.columns]
uid   = { type = "uuid" }
label = { type = "text", default = "it's" }
"#;

/// References of every kind, a table's reference to itself among them: the schema of the stores' contract.
pub const FIELD: &str = r#"
name = "field"
version = 1
[tables.site.columns]
id        = { type = "integer" }
name      = { type = "text", required = true, max_bytes = 100 }
parent_id = { type = "integer", references = "site" }
[tables.reading]
time = "measured_at"
chunk = "7 days"
[tables.reading.columns]
id          = { type = "integer" }
site_id     = { type = "integer", references = "site" }
measured_at = { type = "timestamp" }
temperature = { type = "real", min = -90, max = 60, unit = "°C" }
level       = { type = "real" }
count       = { type = "integer" }
note        = { type = "text" }
ok          = { type = "boolean" }
extra       = { type = "json" }
raw         = { type = "bytes" }
tag_uid     = { type = "uuid", references = "tag" }
checked_at  = { type = "timestamp" }
[tables.tag]
key = "uid"
[tables.tag.columns]
uid     = { type = "uuid" }
label   = { type = "text" }
site_id = { type = "integer", references = "site" }
[tables.remark]
[tables.remark.columns]
id         = { type = "integer" }
reading_id = { type = "integer", references = "reading" }
body       = { type = "text" }
"#;

/// No bounds and no reference to a uuid, so that random rows are taken; a table with a time column whose key is a uuid.
pub const VARIED: &str = r#"
name = "varied"
version = 1
[tables.site.columns]
id        = { type = "integer" }
name      = { type = "text", required = true, max_bytes = 200 }
parent_id = { type = "integer", references = "site" }
height    = { type = "real" }
[tables.reading]
time = "measured_at"
chunk = "7 days"
[tables.reading.columns]
id          = { type = "integer" }
site_id     = { type = "integer", references = "site" }
measured_at = { type = "timestamp" }
temperature = { type = "real" }
count       = { type = "integer" }
note        = { type = "text" }
ok          = { type = "boolean" }
extra       = { type = "json" }
raw         = { type = "bytes" }
tag_uid     = { type = "uuid" }
checked_at  = { type = "timestamp" }
[tables.tag]
key = "uid"
[tables.tag.columns]
uid     = { type = "uuid" }
label   = { type = "text" }
site_id = { type = "integer", references = "site" }
raw     = { type = "bytes" }
[tables.event]
time = "at"
key = "uid"
[tables.event.columns]
uid  = { type = "uuid" }
at   = { type = "timestamp" }
what = { type = "text" }
"#;
