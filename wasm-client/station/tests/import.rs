//! CSV import: strict, streaming, all or nothing.

use std::io::Read;

use tidemark_client::Store;
use tidemark_core::schema::Schema;
use tidemark_station::import::{ImportError, import_csv};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let schema = Schema::parse(
        r#"
        name = "weather"
        version = 1
        [tables.site.columns]
        id = { type = "integer" }
        name = { type = "text", required = true }
        [tables.reading]
        time = "at"
        [tables.reading.columns]
        id = { type = "integer" }
        site_id = { type = "integer", references = "site" }
        at = { type = "timestamp" }
        temperature = { type = "real", min = -90, max = 60 }
        note = { type = "text" }
        [tables.tag]
        key = "u"
        [tables.tag.columns]
        u = { type = "uuid" }
        "#,
    )
    .unwrap();
    let store = Store::init(folder.path().join("t.db"), &schema, [1; 16]).unwrap();
    (folder, store)
}

fn import(store: &mut Store, table: &str, csv: &[u8]) -> Result<u64, ImportError> {
    import_csv(store, table, "in.csv", csv, |_, _| ())
}

#[track_caller]
fn refused(csv: &[u8]) -> String {
    let (_folder, mut store) = store();
    import(&mut store, "site", b"name\na\n").unwrap();
    let message = import(&mut store, "reading", csv).unwrap_err().to_string();
    // Nothing half done, neither rows nor changes.
    assert_eq!(store.row_counts().unwrap()[1].1, 0, "{message}");
    assert_eq!(store.status().unwrap().last_seq, 1, "{message}");
    message
}

#[test]
fn rows_land_as_their_columns_want_them() {
    let (_folder, mut store) = store();
    assert_eq!(import(&mut store, "site", "\u{feff}name\n\"a \"\"b\"\"\nc\"\r\nд\n".as_bytes()).unwrap(), 2);
    let csv = b"at,temperature,site_id,note\n2013-01-01T06:00:00Z,39.02,1,NA\n2013-01-01 07:00,NA,2,\"x,y\"\n";
    assert_eq!(import(&mut store, "reading", csv).unwrap(), 2);
    let rows: Vec<String> = store
        .connection()
        .prepare("SELECT id || '|' || site_id || '|' || at || '|' || ifnull(temperature, '-') || '|' || ifnull(note, '-') || '|' || typeof(temperature) FROM reading")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(rows, ["1|1|2013-01-01 06:00:00.000000|39.02|-|real", "2|2|2013-01-01 07:00:00.000000|-|x,y|null"]);
    assert_eq!(store.status().unwrap().pending, 4, "imported rows are captured like any others");
}

#[test]
fn bad_fields_are_named_by_line_and_column() {
    let good = "at,temperature,note\n2013-01-01,1,x\n";
    for (row, says) in [
        ("2013-01-01,warm,x", "in.csv, line 3, column temperature: \"warm\" is not a number"),
        ("2013-01-01,60.5,x", "line 3, column temperature: 60.5 is outside -90.0 … 60.0"),
        ("NA,1,x", "line 3, column at: empty or NA"),
        ("2013-02-30,1,x", "line 3, column at: \"2013-02-30\" is not a timestamp"),
        ("2013-01-01,1,a\0b", "line 3, column note: "),
        ("2013-01-01,1", "line 3: 2 fields, but the first line names 3 columns"),
        ("2013-01-01,1,x,y", "line 3: 4 fields, but the first line names 3 columns"),
    ] {
        let message = refused(format!("{good}{row}\n").as_bytes());
        assert!(message.contains(says), "{row}: {message}");
    }
    // A quoted line break: the row's first line is told.
    let message = refused(b"at,note\n2013-01-01,\"a\nb\nc\"\n2013-01-01,\"d\ne\"\nx,f\n");
    assert!(message.contains("line 7, column at"), "{message}");
    let message = refused(b"at,note\n2013-01-01,\xff\n");
    assert!(message.contains("line 2: field 2 is not UTF-8"), "{message}");
}

#[test]
fn rows_that_break_a_rule_of_the_database_are_named_by_line() {
    let message = refused(b"id,at,site_id\n1,2013-01-01,1\n1,2013-01-02,1\n");
    assert!(message.starts_with("in.csv, line 3: UNIQUE constraint failed: reading.id"), "{message}");
    let message = refused(b"at,site_id\n2013-01-01,1\n2013-01-01,9\n");
    assert!(message.starts_with("in.csv, line 3: FOREIGN KEY constraint failed"), "{message}");
}

#[test]
fn headers_that_do_not_fit_say_what_there_is() {
    for (csv, says) in [
        (&b""[..], "in.csv, line 1: the file is empty"),
        (
            b"at,temp,Note\n",
            "the table reading has no column \"temp\", \"Note\"; it has: id, site_id, at, temperature, note",
        ),
        (b"at,note,at\n", "the column at is there twice"),
        (b"note\nx\n", "required columns of the table reading are missing: at"),
        (b"2013-01-01,1\n2013-01-02,2\n", "The first line must name the columns"),
    ] {
        let message = refused(csv);
        assert!(message.contains(says), "{message}");
    }
    let (_folder, mut store) = store();
    assert!(import(&mut store, "tag", b"u\n").is_ok());
    assert!(
        import(&mut store, "readings", b"u\n").unwrap_err().to_string().contains("its tables are: site, reading, tag")
    );
}

/// Rows without end, then a failure: an input that no memory could hold must stream.
struct Generated {
    row: u64,
    rows: u64,
    rest: Vec<u8>,
}

impl Read for Generated {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() && self.row < self.rows {
            self.rest = format!("2013-01-01,{}\n", self.row).into_bytes();
            self.row += 1;
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

#[test]
fn a_long_file_streams_and_reports_progress() {
    let (_folder, mut store) = store();
    let input = (&b"at,note\n"[..]).chain(Generated { row: 0, rows: 20_500, rest: Vec::new() });
    let mut reports = Vec::new();
    let rows =
        import_csv(&mut store, "reading", "generated", input, |rows, bytes| reports.push((rows, bytes))).unwrap();
    assert_eq!((rows, reports.len()), (20_500, 20));
    assert!(reports.is_sorted() && reports[0].1 > 10_000);
}

#[test]
fn an_input_that_breaks_off_leaves_nothing() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let (_folder, mut store) = store();
    let input = (&b"at,note\n2013-01-01,x\n2013-01-01,y\n"[..]).chain(Broken);
    let error = import_csv(&mut store, "reading", "in.csv", input, |_, _| ()).unwrap_err();
    assert_eq!(error.to_string(), "in.csv: cannot read it: the disk is gone");
    assert_eq!(store.row_counts().unwrap()[1].1, 0);
}
