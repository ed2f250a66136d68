//! A dump, read: pg_restore turns it into SQL; here that is taken apart into statements and the rows of COPY, piece
//! by piece.
//!
//! A dump of TimescaleDB holds hypertables as plain tables, their rows in chunks, and the extension's catalog, which
//! only a superuser may write. So the catalog is only read: from it come the hypertables to make, and which chunk's
//! rows are whose. That needs no rights beyond those on the database, and a dump goes into another version of
//! TimescaleDB, or a PostgreSQL without it, as well.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use tokio::sync::mpsc::{Receiver, channel};

use super::programs::{Running, command, find};
use crate::admin::TableName;
use crate::database::PostgresUrl;

/// Rows are handed on in pieces of about so many bytes.
const PIECE_BYTES: usize = 64 << 10;
/// How many pieces wait at most.
const PIECES: usize = 16;
/// The extension's own schemas.
const TIMESCALE: &[&str] = &["_timescaledb_", "timescaledb_"];

/// A dump's file.
#[derive(Debug)]
pub(super) struct Archive {
    file: PathBuf,
    pg_restore: PathBuf,
    /// Its entries, in the order in which they are restored.
    pub(super) entries: Vec<Entry>,
    /// Its hypertables.
    pub(super) hypertables: Vec<ArchivedHypertable>,
    /// The hypertable whose rows a chunk has.
    chunks: HashMap<String, usize>,
}

/// One line of `pg_restore --list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    line: String,
    /// `TABLE DATA`, `INDEX`, …
    pub(super) kind: String,
    /// The schema it is in; `-` where there is none.
    pub(super) schema: String,
    /// The rest of the line: its name, and its owner.
    pub(super) rest: String,
}

/// A hypertable in a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArchivedHypertable {
    pub(super) name: TableName,
    pub(super) column: String,
    /// Microseconds, or numbers, in one chunk.
    pub(super) interval: i64,
}

/// A piece of a dump.
#[derive(Debug)]
pub(super) enum Piece {
    /// Statements.
    Sql(String),
    /// The rows of a table begin: its name and columns as the dump writes them.
    Rows {
        /// `schema.table`, quoted where that is needed.
        table: String,
        /// `(a, b, c)`.
        columns: String,
    },
    /// Rows, as text of COPY, and how many.
    Data(Vec<u8>, u64),
    /// The rows end.
    End,
}

impl Entry {
    /// `4165; 0 17142 TABLE DATA public t harbour`
    fn parse(line: &str) -> Option<Self> {
        let (_, what) = line.split_once("; ")?;
        let mut words = what.splitn(3, ' ');
        let _ids = (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?);
        let mut rest = words.next()?;
        let mut kind = Vec::new();
        while let Some((word, after)) = rest.split_once(' ') {
            if !word.bytes().all(|byte| byte.is_ascii_uppercase()) {
                break;
            }
            kind.push(word);
            rest = after;
        }
        let (schema, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let kind = kind.join(" ");
        Some(Self { line: line.to_owned(), kind, schema: schema.to_owned(), rest: rest.to_owned() })
    }

    /// It is the extension's, or made by it.
    fn is_timescale(&self) -> bool {
        let of = |name: &str| TIMESCALE.iter().any(|prefix| name.starts_with(prefix));
        of(&self.schema)
            || (self.schema == "-"
                && (of(&self.rest)
                    || self.rest.starts_with("EXTENSION timescaledb")
                    || self.rest.starts_with("timescaledb")))
            || (self.kind == "TRIGGER" && self.rest.contains(" ts_insert_blocker "))
    }

    /// It is a chunk's rows.
    fn is_chunk_data(&self) -> bool {
        self.kind == "TABLE DATA" && self.schema == "_timescaledb_internal" && !self.rest.starts_with("bgw_")
    }
}

impl Archive {
    /// Reads what a dump holds.
    ///
    /// # Errors
    /// When it is none.
    pub(super) async fn open(file: &Path, server_major: u32) -> anyhow::Result<Self> {
        let pg_restore = find("pg_restore", server_major)?;
        let mut archive = Self {
            file: file.to_owned(),
            pg_restore,
            entries: Vec::new(),
            hypertables: Vec::new(),
            chunks: HashMap::new(),
        };
        archive
            .read_list()
            .await
            .with_context(|| format!("{} is no whole backup of a PostgreSQL database", file.display()))?;
        archive.read_catalog().await.with_context(|| file.display().to_string())?;
        Ok(archive)
    }

    async fn read_list(&mut self) -> anyhow::Result<()> {
        let list = tempfile::NamedTempFile::new().context("no temporary file")?;
        let mut command = Command::new(&self.pg_restore);
        command.arg("--list").arg("--file").arg(list.path()).arg(&self.file);
        Running::start(command)?.end().await?;
        let text = std::fs::read_to_string(list.path())?;
        self.entries = text.lines().filter(|line| !line.starts_with(';')).filter_map(Entry::parse).collect();
        Ok(())
    }

    /// The rows of the extension's catalog that say which hypertables there are.
    async fn read_catalog(&mut self) -> anyhow::Result<()> {
        let of_catalog = |entry: &&Entry| {
            entry.kind == "TABLE DATA"
                && entry.schema == "_timescaledb_catalog"
                && ["hypertable ", "dimension ", "chunk "].iter().any(|name| entry.rest.starts_with(name))
        };
        let entries: Vec<Entry> = self.entries.iter().filter(of_catalog).cloned().collect();
        if entries.is_empty() {
            return Ok(());
        }
        let mut tables: HashMap<String, Vec<BTreeMap<String, String>>> = HashMap::new();
        let mut columns: Vec<String> = Vec::new();
        let mut current = String::new();
        let mut reading = self.script(&entries)?;
        while let Some(piece) = reading.pieces.recv().await {
            match piece? {
                Piece::Rows { table, columns: names } => {
                    columns = names.trim_matches(['(', ')']).split(", ").map(str::to_owned).collect();
                    current = table;
                }
                Piece::Data(data, _) => {
                    for line in String::from_utf8_lossy(&data).lines() {
                        let row = columns.iter().cloned().zip(line.split('\t').map(str::to_owned)).collect();
                        tables.entry(current.clone()).or_default().push(row);
                    }
                }
                Piece::Sql(_) | Piece::End => {}
            }
        }
        reading.end().await?;
        let mut rows = |name: &str| tables.remove(&format!("_timescaledb_catalog.{name}")).unwrap_or_default();
        let (hypertables, dimensions, chunks) = (rows("hypertable"), rows("dimension"), rows("chunk"));
        let get = |row: &BTreeMap<String, String>, name: &str| {
            row.get(name).cloned().with_context(|| format!("its catalog of hypertables has no {name}"))
        };
        let mut ids = HashMap::new();
        for hypertable in &hypertables {
            let id = get(hypertable, "id")?;
            let time = dimensions.iter().filter(|row| row.get("hypertable_id") == Some(&id));
            let mut time: Vec<_> = time.collect();
            time.sort_by_key(|row| row.get("id").and_then(|id| id.parse::<i64>().ok()));
            let time = time.first().context("a hypertable has no dimension")?;
            let name =
                TableName { schema: Some(get(hypertable, "schema_name")?), table: get(hypertable, "table_name")? };
            let interval =
                get(time, "interval_length")?.parse().context("the chunk interval of a hypertable is no number")?;
            ids.insert(id, self.hypertables.len());
            self.hypertables.push(ArchivedHypertable { name, column: get(time, "column_name")?, interval });
        }
        for chunk in &chunks {
            if let Some(&index) = ids.get(&get(chunk, "hypertable_id")?) {
                let name = TableName { schema: Some(get(chunk, "schema_name")?), table: get(chunk, "table_name")? };
                self.chunks.insert(name.shown(), index);
            }
        }
        Ok(())
    }

    /// It holds what only TimescaleDB's own way of restoring brings back: compressed chunks, continuous aggregates.
    pub(super) fn needs_timescale(&self) -> bool {
        let inner = |entry: &Entry| entry.rest.starts_with("compress_") || entry.rest.starts_with("_materialized_");
        self.entries.iter().any(|entry| entry.schema == "_timescaledb_internal" && inner(entry))
    }

    /// pg_restore of the whole file into a database.
    pub(super) fn whole(&self, config: &PostgresUrl) -> Command {
        let mut restore = command(&self.pg_restore, config);
        let name = config.database().unwrap_or("postgres");
        restore.args([
            "--no-owner",
            "--no-acl",
            "--exit-on-error",
            "--single-transaction",
            "--no-password",
            "--dbname",
            name,
        ]);
        restore.arg(&self.file);
        restore
    }

    /// Everything but what is TimescaleDB's: tables, their rows, then indexes and constraints.
    pub(super) fn ordinary(&self) -> Vec<Entry> {
        self.entries.iter().filter(|entry| !entry.is_timescale()).cloned().collect()
    }

    /// The rows of the chunks.
    pub(super) fn chunk_data(&self) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.is_chunk_data()).cloned().collect()
    }

    /// The hypertable that rows of a chunk go to; nothing when the table is no chunk.
    pub(super) fn hypertable_of(&self, chunk: &str) -> Option<&ArchivedHypertable> {
        self.chunks.get(&chunk.replace('"', "")).map(|&index| &self.hypertables[index])
    }

    /// Starts to read these entries.
    pub(super) fn script(&self, entries: &[Entry]) -> anyhow::Result<Reading> {
        let mut list = tempfile::NamedTempFile::new().context("no temporary file")?;
        for entry in entries {
            writeln!(list, "{}", entry.line)?;
        }
        list.flush()?;
        let mut command = Command::new(&self.pg_restore);
        command.args(["--no-owner", "--no-acl", "--file", "-", "--use-list"]).arg(list.path()).arg(&self.file);
        command.stdout(Stdio::piped());
        let mut running = Running::start(command)?;
        let stdout = running.stdout().context("BUG: stdout is piped")?;
        let (send, pieces) = channel(PIECES);
        std::thread::spawn(move || {
            let mut split = Splitter::default();
            let mut reader = BufReader::with_capacity(PIECE_BYTES, stdout);
            let mut line = Vec::new();
            loop {
                line.clear();
                let read = reader.read_until(b'\n', &mut line);
                let ended = matches!(read, Ok(0) | Err(_));
                let made = match read {
                    Ok(0) => split.end(),
                    Ok(_) => split.line(&line),
                    Err(error) => vec![Err(error.into())],
                };
                for piece in made {
                    if send.blocking_send(piece).is_err() {
                        return;
                    }
                }
                if ended {
                    return;
                }
            }
        });
        Ok(Reading { pieces, running, _list: list })
    }
}

/// A dump that is read.
pub(super) struct Reading {
    /// The next piece.
    pub(super) pieces: Receiver<anyhow::Result<Piece>>,
    running: Running,
    _list: tempfile::NamedTempFile,
}

impl Reading {
    /// After the last piece: whether pg_restore read the file to its end.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        drop(self.pieces);
        self.running.end().await
    }
}

/// Takes the text of pg_restore apart, line by line.
#[derive(Default)]
struct Splitter {
    sql: String,
    data: Vec<u8>,
    rows: u64,
    in_rows: bool,
}

impl Splitter {
    fn line(&mut self, line: &[u8]) -> Vec<anyhow::Result<Piece>> {
        if self.in_rows {
            if line == b"\\.\n" {
                self.in_rows = false;
                return self.flush().into_iter().chain([Ok(Piece::End)]).collect();
            }
            self.data.extend_from_slice(line);
            self.rows += 1;
            return if self.data.len() >= PIECE_BYTES { self.flush().into_iter().collect() } else { Vec::new() };
        }
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(error) => return vec![Err(error.into())],
        };
        if let Some(copy) = text.strip_prefix("COPY ").and_then(|rest| rest.trim_end().strip_suffix(" FROM stdin;")) {
            self.in_rows = true;
            let Some((table, columns)) = copy.split_once(" (") else {
                return vec![Err(anyhow::anyhow!("the dump has a COPY of an unknown form: {copy}"))];
            };
            let (table, columns) = (table.to_owned(), format!("({columns}"));
            return self.flush().into_iter().chain([Ok(Piece::Rows { table, columns })]).collect();
        }
        // psql's own words, and a setting that servers before 17 do not know.
        let skipped = ["\\restrict ", "\\unrestrict ", "SET transaction_timeout = "];
        if !skipped.iter().any(|begin| text.starts_with(begin)) {
            self.sql.push_str(text);
        }
        Vec::new()
    }

    fn flush(&mut self) -> Option<anyhow::Result<Piece>> {
        if !self.data.is_empty() {
            return Some(Ok(Piece::Data(std::mem::take(&mut self.data), std::mem::take(&mut self.rows))));
        }
        let sql = std::mem::take(&mut self.sql);
        (!sql.trim().is_empty()).then_some(Ok(Piece::Sql(sql)))
    }

    fn end(&mut self) -> Vec<anyhow::Result<Piece>> {
        if self.in_rows {
            return vec![Err(anyhow::anyhow!("the dump ends within the rows of a table"))];
        }
        self.flush().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_apart() {
        let entry = |line: &str| Entry::parse(line).unwrap();
        let rows = entry("4166; 0 17151 TABLE DATA _timescaledb_internal _hyper_1_1_chunk harbour");
        assert!(rows.is_timescale() && rows.is_chunk_data());
        let table = entry("278; 1259 17142 TABLE public t harbour");
        assert_eq!((table.kind.as_str(), table.schema.as_str(), table.is_timescale()), ("TABLE", "public", false));
        for ours in [
            "2; 3079 16388 EXTENSION - timescaledb ",
            "4191; 0 0 COMMENT - EXTENSION timescaledb ",
            "4005; 2620 17150 TRIGGER public t ts_insert_blocker harbour",
            "3785; 0 16559 TABLE DATA _timescaledb_config bgw_job postgres",
        ] {
            assert!(entry(ours).is_timescale() && !entry(ours).is_chunk_data(), "{ours}");
        }
        let schema = entry("7; 2615 17151 SCHEMA - tidemark harbour");
        assert!(!schema.is_timescale() && schema.rest == "tidemark harbour");
        assert_eq!(Entry::parse(";     Format: CUSTOM"), None);
    }

    #[test]
    fn a_script_is_statements_and_rows() {
        let mut split = Splitter::default();
        let text = "\\restrict x\n-- a\nSET a = 1;\nCOPY s.t (a, b) FROM stdin;\n1\t\\N\n2\tx\n\\.\n\nSELECT 1;\n";
        let mut pieces: Vec<Piece> =
            text.split_inclusive('\n').flat_map(|line| split.line(line.as_bytes())).map(Result::unwrap).collect();
        pieces.extend(split.end().into_iter().map(Result::unwrap));
        assert!(matches!(&pieces[0], Piece::Sql(sql) if sql == "-- a\nSET a = 1;\n"), "{pieces:?}");
        assert!(
            matches!(&pieces[1], Piece::Rows { table, columns } if table == "s.t" && columns == "(a, b)"),
            "{pieces:?}"
        );
        assert!(matches!(&pieces[2], Piece::Data(data, 2) if data == b"1\t\\N\n2\tx\n"), "{pieces:?}");
        assert!(matches!(&pieces[3], Piece::End) && matches!(&pieces[4], Piece::Sql(sql) if sql.trim() == "SELECT 1;"));
        assert_eq!(pieces.len(), 5);
        let mut cut = Splitter::default();
        assert!(cut.line(b"COPY s.t (a) FROM stdin;\n").len() == 1 && cut.line(b"1\n").is_empty());
        assert!(cut.end()[0].is_err());
    }
}
