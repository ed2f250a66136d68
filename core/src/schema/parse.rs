//! Reading a schema file: TOML with the position of every key, every problem collected.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{NameOf, name_problem};
use super::{Bound, Chunk, Column, DefaultValue, Table};
use crate::limits::{COLUMNS_MAX, SCHEMA_BYTES_MAX, TABLES_MAX};
use crate::value::ColumnType;

/// One thing that is wrong with a schema file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaIssue {
    /// The line, from 1.
    pub line: usize,
    /// Where in the file's structure, such as `tables.reading.columns.note`; empty for the file as a whole.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Everything that is wrong with a schema file, by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// At least one.
    pub issues: Vec<SchemaIssue>,
}

impl std::error::Error for SchemaError {}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, issue) in self.issues.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "line {}", issue.line)?;
            if !issue.path.is_empty() {
                write!(f, ", {}", issue.path)?;
            }
            write!(f, ": {}", issue.message)?;
        }
        Ok(())
    }
}

impl SchemaError {
    pub(super) fn of(text: &str, (at, path, message): (usize, String, String)) -> Self {
        Self { issues: vec![SchemaIssue { line: line_of(text, at), path, message }] }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// A schema whose parts are checked, before the tables are ordered.
pub(super) struct Draft {
    pub name: String,
    pub version: u32,
    pub tables: Vec<Table>,
    table_spans: Vec<Range<usize>>,
}

impl Draft {
    pub(super) fn cycle_issue(&self, cycle: &[usize]) -> (usize, String, String) {
        let names: Vec<&str> = cycle.iter().map(|&index| self.tables[index].name.as_str()).collect();
        let at = self.table_spans[cycle[0]].start;
        (
            at,
            format!("tables.{}", names[0]),
            format!(
                "references go round in a circle among {}; upstream rows are written parents first, so drop one `references`",
                names.join(", ")
            ),
        )
    }
}

struct Collector<'t> {
    text: &'t str,
    issues: Vec<SchemaIssue>,
}

impl Collector<'_> {
    fn add(&mut self, span: &Range<usize>, path: &str, message: impl Into<String>) {
        self.issues.push(SchemaIssue {
            line: line_of(self.text, span.start),
            path: path.to_owned(),
            message: message.into(),
        });
    }

    fn table<'v, 'i>(&mut self, value: &'v Spanned<DeValue<'i>>, path: &str) -> Option<&'v DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.add(&value.span(), path, format!("expected a table, found {}", other.type_str()));
                None
            }
        }
    }

    fn string<'v>(&mut self, value: &'v Spanned<DeValue<'_>>, path: &str) -> Option<&'v str> {
        match value.get_ref() {
            DeValue::String(text) => Some(text),
            other => {
                self.add(&value.span(), path, format!("expected a string, found {}", other.type_str()));
                None
            }
        }
    }

    fn boolean(&mut self, value: &Spanned<DeValue<'_>>, path: &str) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(truth) => Some(*truth),
            other => {
                self.add(&value.span(), path, format!("expected true or false, found {}", other.type_str()));
                None
            }
        }
    }

    fn integer(&mut self, value: &Spanned<DeValue<'_>>, path: &str) -> Option<i64> {
        let parsed = match value.get_ref() {
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        };
        if parsed.is_none() {
            self.add(&value.span(), path, format!("expected a 64-bit integer, found {}", value.get_ref().type_str()));
        }
        parsed
    }

    fn number(&mut self, value: &Spanned<DeValue<'_>>, path: &str) -> Option<f64> {
        let parsed = match value.get_ref() {
            DeValue::Float(n) => n.as_str().parse::<f64>().ok(),
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok().map(|n| n as f64),
            _ => None,
        };
        let finite = parsed.filter(|n| n.is_finite());
        if finite.is_none() {
            self.add(&value.span(), path, format!("expected a finite number, found {}", value.get_ref().type_str()));
        }
        finite
    }

    fn name(&mut self, span: &Range<usize>, path: &str, name: &str, of: NameOf) {
        if let Some(problem) = name_problem(name, of) {
            self.add(span, path, problem);
        }
    }

    fn unknown_key(&mut self, span: &Range<usize>, path: &str, key: &str, known: &str) {
        self.add(span, path, format!("unknown key {key:?}; known here: {known}"));
    }
}

/// A reference by name, resolved once all tables are known.
struct PendingReference {
    table: usize,
    column: usize,
    parent: String,
    span: Range<usize>,
    path: String,
}

pub(super) fn parse(text: &str) -> Result<Draft, SchemaError> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(SchemaError::of(
            "",
            (0, String::new(), format!("the file has {} bytes, the limit is {SCHEMA_BYTES_MAX}", text.len())),
        ));
    }
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        SchemaError::of(text, (at, String::new(), format!("not valid TOML: {}", error.message())))
    })?;
    let mut issues = Collector { text, issues: Vec::new() };
    let mut draft = Draft { name: String::new(), version: 0, tables: Vec::new(), table_spans: Vec::new() };
    let mut pending = Vec::new();
    for (key, value) in root.get_ref() {
        match key.get_ref().as_ref() {
            "name" => {
                if let Some(name) = issues.string(value, "name") {
                    issues.name(&value.span(), "name", name, NameOf::Schema);
                    draft.name = name.to_owned();
                }
            }
            "version" => {
                if let Some(version) = issues.integer(value, "version") {
                    match u32::try_from(version) {
                        Ok(version) if version > 0 => draft.version = version,
                        _ => {
                            issues.add(&value.span(), "version", format!("the version is {version}; it counts from 1"))
                        }
                    }
                }
            }
            "tables" => {
                if let Some(tables) = issues.table(value, "tables") {
                    parse_tables(&mut issues, tables, &mut draft, &mut pending);
                }
            }
            other => issues.unknown_key(&key.span(), "", other, "name, version, tables"),
        }
    }
    for key in ["name", "version", "tables"] {
        if !root.get_ref().iter().any(|(found, _)| found.get_ref() == key) {
            issues.add(&(0..0), "", format!("`{key}` is missing"));
        }
    }
    resolve(&mut issues, &mut draft.tables, pending);
    if issues.issues.is_empty() {
        return Ok(draft);
    }
    issues.issues.sort_by_key(|issue| issue.line);
    Err(SchemaError { issues: issues.issues })
}

fn parse_tables(
    issues: &mut Collector<'_>,
    tables: &DeTable<'_>,
    draft: &mut Draft,
    pending: &mut Vec<PendingReference>,
) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (key, value) in tables {
        let name = key.get_ref().as_ref();
        let path = format!("tables.{name}");
        issues.name(&key.span(), &path, name, NameOf::Table);
        note_twin(issues, &mut seen, &key.span(), &path, name);
        let Some(body) = issues.table(value, &path) else { continue };
        if let Some(table) = parse_table(issues, name, &key.span(), body, &path, draft.tables.len(), pending) {
            draft.tables.push(table);
            draft.table_spans.push(key.span());
        }
    }
    if tables.is_empty() || tables.len() > TABLES_MAX {
        issues.add(&(0..0), "tables", format!("there are {} tables; a schema has 1 to {TABLES_MAX}", tables.len()));
    }
}

/// SQLite's names do not tell case apart, so two that differ by case only are one.
fn note_twin(
    issues: &mut Collector<'_>,
    seen: &mut HashMap<String, usize>,
    span: &Range<usize>,
    path: &str,
    name: &str,
) {
    let line = line_of(issues.text, span.start);
    if let Some(first) = seen.insert(name.to_ascii_lowercase(), line) {
        issues.add(
            span,
            path,
            format!("the name {name:?} is a duplicate: line {first} has it already (SQLite does not tell case apart)"),
        );
    }
}

fn parse_table(
    issues: &mut Collector<'_>,
    name: &str,
    name_span: &Range<usize>,
    body: &DeTable<'_>,
    path: &str,
    number: usize,
    pending: &mut Vec<PendingReference>,
) -> Option<Table> {
    let mut table = Table { name: name.to_owned(), doc: None, columns: Vec::new(), key: 0, time: None, chunk: None };
    let mut key_name = (String::from("id"), name_span.clone());
    let mut time_name: Option<(String, Range<usize>)> = None;
    let mut chunk_span = None;
    for (key, value) in body {
        let here = format!("{path}.{}", key.get_ref());
        match key.get_ref().as_ref() {
            "doc" => table.doc = issues.string(value, &here).map(str::to_owned),
            "time" => time_name = issues.string(value, &here).map(|time| (time.to_owned(), value.span())),
            "key" => match value.get_ref() {
                DeValue::Array(columns) => issues.add(
                    &value.span(),
                    &here,
                    format!("the key has {} columns; a key is one column, an integer or a uuid", columns.len()),
                ),
                _ => {
                    if let Some(column) = issues.string(value, &here) {
                        key_name = (column.to_owned(), value.span());
                    }
                }
            },
            "chunk" => {
                chunk_span = Some(value.span());
                if let Some(text) = issues.string(value, &here) {
                    match parse_chunk(text) {
                        Some(chunk) => table.chunk = Some(chunk),
                        None => issues.add(
                            &value.span(),
                            &here,
                            format!("{text:?} is no chunk width; write hours, days or weeks, such as \"7 days\""),
                        ),
                    }
                }
            }
            "columns" => {
                if let Some(columns) = issues.table(value, &here) {
                    parse_columns(issues, columns, &here, number, &mut table.columns, pending);
                }
            }
            other => issues.unknown_key(&key.span(), path, other, "doc, key, time, chunk, columns"),
        }
    }
    if table.columns.is_empty() {
        issues.add(name_span, path, "the table has no columns");
        return None;
    }
    match table.column_index(&key_name.0) {
        Some(index) => {
            table.key = index;
            let column = &table.columns[index];
            if !matches!(column.ty, ColumnType::Integer | ColumnType::Uuid) {
                issues.add(
                    &key_name.1,
                    path,
                    format!("the key {:?} is of type {}; keys are integer or uuid", key_name.0, column.ty.as_str()),
                );
            }
            if column.references.is_some()
                || column.default.is_some()
                || pending.iter().any(|p| p.table == number && p.column == index)
            {
                issues.add(
                    &key_name.1,
                    path,
                    format!("the key {:?} can have neither `references` nor `default`", key_name.0),
                );
            }
            if column.min.is_some() || column.max.is_some() {
                issues.add(
                    &key_name.1,
                    path,
                    format!(
                        "the key {:?} can have neither `min` nor `max`: its values move into the station's id block",
                        key_name.0
                    ),
                );
            }
        }
        None => issues.add(
            &key_name.1,
            path,
            format!("the key column {:?} does not exist; name one with `key`", key_name.0),
        ),
    }
    if let Some((time, span)) = time_name {
        match table.column_index(&time) {
            Some(index) if table.columns[index].ty == ColumnType::Timestamp => {
                table.time = Some(index);
                table.chunk.get_or_insert(Chunk::DEFAULT);
            }
            Some(index) => issues.add(
                &span,
                path,
                format!(
                    "the time column {time:?} is of type {}; it must be a timestamp",
                    table.columns[index].ty.as_str()
                ),
            ),
            None => issues.add(&span, path, format!("the time column {time:?} does not exist")),
        }
    } else if let Some(span) = chunk_span {
        issues.add(&span, path, "`chunk` is the width of a hypertable's chunks: it needs `time`");
    }
    Some(table)
}

fn parse_chunk(text: &str) -> Option<Chunk> {
    let (count, unit) = text.trim().split_once(' ')?;
    let count: u64 = count.parse().ok()?;
    let unit_seconds = match unit.trim() {
        "hour" | "hours" => 3600,
        "day" | "days" => 86_400,
        "week" | "weeks" => 7 * 86_400,
        _ => return None,
    };
    let seconds = count.checked_mul(unit_seconds)?;
    (1..=3660 * 86_400).contains(&seconds).then_some(Chunk { seconds })
}

fn parse_columns(
    issues: &mut Collector<'_>,
    columns: &DeTable<'_>,
    path: &str,
    table: usize,
    out: &mut Vec<Column>,
    pending: &mut Vec<PendingReference>,
) {
    let mut seen = HashMap::new();
    for (key, value) in columns {
        let name = key.get_ref().as_ref();
        let here = format!("{path}.{name}");
        issues.name(&key.span(), &here, name, NameOf::Column);
        note_twin(issues, &mut seen, &key.span(), &here, name);
        if let Some(body) = issues.table(value, &here) {
            let reference = parse_column(issues, name, &key.span(), body, &here, out);
            if let Some((parent, span)) = reference {
                pending.push(PendingReference { table, column: out.len() - 1, parent, span, path: here });
            }
        }
    }
    if columns.len() > COLUMNS_MAX {
        issues.add(&(0..0), path, format!("there are {} columns; the limit is {COLUMNS_MAX}", columns.len()));
    }
}

fn parse_column(
    issues: &mut Collector<'_>,
    name: &str,
    name_span: &Range<usize>,
    body: &DeTable<'_>,
    path: &str,
    out: &mut Vec<Column>,
) -> Option<(String, Range<usize>)> {
    let ty = match body.iter().find(|(key, _)| key.get_ref() == "type") {
        None => {
            issues.add(name_span, path, "`type` is missing");
            None
        }
        Some((_, value)) => issues.string(value, path).and_then(|text| {
            let ty = ColumnType::from_text(text);
            if ty.is_none() {
                let known: Vec<&str> = ColumnType::ALL.iter().map(|ty| ty.as_str()).collect();
                issues.add(&value.span(), path, format!("unknown type {text:?}; known: {}", known.join(", ")));
            }
            ty
        }),
    };
    // A stand-in keeps the column's number, so that the other problems of the file are found too.
    let known = ty.is_some();
    let ty = ty.unwrap_or(ColumnType::Integer);
    let mut column = Column {
        name: name.to_owned(),
        ty,
        required: false,
        default: None,
        references: None,
        unit: None,
        min: None,
        max: None,
        max_bytes: None,
        doc: None,
    };
    let mut reference = None;
    for (key, value) in body {
        match key.get_ref().as_ref() {
            "type" => {}
            "required" => column.required = issues.boolean(value, path).unwrap_or(false),
            "references" => reference = issues.string(value, path).map(|parent| (parent.to_owned(), value.span())),
            "unit" => column.unit = issues.string(value, path).map(str::to_owned),
            "doc" => column.doc = issues.string(value, path).map(str::to_owned),
            "default" if known => column.default = parse_default(issues, ty, value, path),
            "min" if known => column.min = parse_bound(issues, ty, "min", value, path),
            "max" if known => column.max = parse_bound(issues, ty, "max", value, path),
            "max_bytes" if known => column.max_bytes = parse_max_bytes(issues, ty, value, path),
            "default" | "min" | "max" | "max_bytes" => {}
            other => issues.unknown_key(
                &key.span(),
                path,
                other,
                "type, required, default, references, unit, min, max, max_bytes, doc",
            ),
        }
    }
    let empty = match (column.min, column.max) {
        (Some(Bound::Integer(min)), Some(Bound::Integer(max))) => min > max,
        (Some(Bound::Real(min)), Some(Bound::Real(max))) => min > max,
        _ => false,
    };
    if empty {
        issues.add(name_span, path, "`min` is above `max`: no value could be stored");
    }
    out.push(column);
    reference
}

fn parse_default(
    issues: &mut Collector<'_>,
    ty: ColumnType,
    value: &Spanned<DeValue<'_>>,
    path: &str,
) -> Option<DefaultValue> {
    match ty {
        ColumnType::Timestamp => {
            let text = issues.string(value, path)?;
            if text != "now" {
                issues.add(&value.span(), path, format!("the default {text:?} of a timestamp; only \"now\" is known"));
            }
            Some(DefaultValue::Now)
        }
        ColumnType::Integer => issues.integer(value, path).map(DefaultValue::Integer),
        ColumnType::Real => issues.number(value, path).map(DefaultValue::Real),
        ColumnType::Boolean => issues.boolean(value, path).map(DefaultValue::Boolean),
        ColumnType::Text => {
            let text = issues.string(value, path)?;
            if text.contains('\0') {
                issues.add(&value.span(), path, "the default has a NUL character, which PostgreSQL cannot store");
            }
            Some(DefaultValue::Text(text.to_owned()))
        }
        ColumnType::Json | ColumnType::Bytes | ColumnType::Uuid => {
            issues.add(&value.span(), path, format!("a column of type {} can have no default", ty.as_str()));
            None
        }
    }
}

fn parse_bound(
    issues: &mut Collector<'_>,
    ty: ColumnType,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    path: &str,
) -> Option<Bound> {
    match ty {
        ColumnType::Integer => issues.integer(value, path).map(Bound::Integer),
        ColumnType::Real => issues.number(value, path).map(Bound::Real),
        _ => {
            issues.add(
                &value.span(),
                path,
                format!("`{key}` is for integer and real columns, this one is {}", ty.as_str()),
            );
            None
        }
    }
}

fn parse_max_bytes(
    issues: &mut Collector<'_>,
    ty: ColumnType,
    value: &Spanned<DeValue<'_>>,
    path: &str,
) -> Option<u32> {
    if !matches!(ty, ColumnType::Text | ColumnType::Json | ColumnType::Bytes) {
        issues.add(
            &value.span(),
            path,
            format!("`max_bytes` is for text, json and bytes columns, this one is {}", ty.as_str()),
        );
        return None;
    }
    let bytes = issues.integer(value, path)?;
    match u32::try_from(bytes) {
        Ok(bytes) if bytes > 0 && bytes as usize <= crate::limits::VALUE_BYTES_MAX => Some(bytes),
        _ => {
            issues.add(
                &value.span(),
                path,
                format!("`max_bytes` is {bytes}; it lies between 1 and {}", crate::limits::VALUE_BYTES_MAX),
            );
            None
        }
    }
}

fn resolve(issues: &mut Collector<'_>, tables: &mut [Table], pending: Vec<PendingReference>) {
    for reference in pending {
        let Some(parent) = tables.iter().position(|table| table.name == reference.parent) else {
            issues.add(
                &reference.span,
                &reference.path,
                format!("references {:?}, which is no table of this schema", reference.parent),
            );
            continue;
        };
        let key_type = tables[parent].key_column().ty;
        // A table that failed to parse shifts the numbers; its own issue is reported already.
        let Some(column) = tables.get_mut(reference.table).and_then(|table| table.columns.get_mut(reference.column))
        else {
            continue;
        };
        if column.ty != key_type {
            issues.add(
                &reference.span,
                &reference.path,
                format!(
                    "is of type {}, but the key of {:?} is {}",
                    column.ty.as_str(),
                    reference.parent,
                    key_type.as_str()
                ),
            );
        }
        column.references = Some(parent);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Schema;

    fn complaint(text: &str) -> String {
        Schema::parse(text).expect_err("the schema is bad").to_string()
    }

    fn one_column(column: &str) -> String {
        complaint(&format!("name = 'w'\nversion = 1\n[tables.t.columns]\nid = {{ type = 'integer' }}\n{column}\n"))
    }

    #[test]
    fn unknown_type_names_line_table_and_column() {
        assert_eq!(
            one_column("temperature = { type = 'float' }"),
            "line 5, tables.t.columns.temperature: unknown type \"float\"; known: integer, real, text, boolean, timestamp, json, bytes, uuid"
        );
    }

    #[test]
    fn hostile_names_are_refused_everywhere() {
        for hostile in ["x\\\"; drop table", "a b", "ä", "1a", "", "a-b", "a.b", "x'--"] {
            assert!(
                complaint(&format!(
                    "name = \"{hostile}\"\nversion = 1\n[tables.t.columns]\nid = {{ type = 'integer' }}"
                ))
                .contains("is not an identifier"),
                "{hostile}"
            );
            assert!(
                complaint(&format!(
                    "name = 'w'\nversion = 1\n[tables.\"{hostile}\".columns]\nid = {{ type = 'integer' }}"
                ))
                .contains("is not an identifier"),
                "{hostile}"
            );
            assert!(one_column(&format!("\"{hostile}\" = {{ type = 'text' }}")).contains("line 5"), "{hostile}");
        }
        assert!(one_column(&format!("{} = {{ type = 'text' }}", "x".repeat(64))).contains("64 bytes"));
    }

    #[test]
    fn reserved_names_are_refused() {
        for name in ["station", "rowid", "XMIN", "tidemark_x"] {
            assert!(one_column(&format!("{name} = {{ type = 'text' }}")).contains("reserved"), "{name}");
        }
        for name in ["tidemark_log", "sqlite_master", "pg_class"] {
            assert!(
                complaint(&format!("name = 'w'\nversion = 1\n[tables.{name}.columns]\nid = {{ type = 'integer' }}"))
                    .contains("reserved"),
                "{name}"
            );
        }
        assert!(
            complaint("name = 'public'\nversion = 1\n[tables.t.columns]\nid = { type = 'integer' }")
                .contains("reserved")
        );
    }

    #[test]
    fn duplicates_are_refused_also_when_only_case_differs() {
        assert!(
            one_column("a = { type = 'text' }\nA = { type = 'text' }")
                .contains("line 6, tables.t.columns.A: the name \"A\" is a duplicate: line 5")
        );
        assert!(one_column("a = { type = 'text' }\na = { type = 'text' }").contains("line 6: not valid TOML"));
        assert!(
            complaint(
                "name='w'\nversion=1\n[tables.t.columns]\nid={type='integer'}\n[tables.T.columns]\nid={type='integer'}"
            )
            .contains("line 5, tables.T: the name \"T\" is a duplicate")
        );
    }

    #[test]
    fn a_dangling_reference_and_a_reference_of_another_type_are_refused() {
        assert!(
            one_column("site_id = { type = 'integer', references = 'sight' }")
                .contains("line 5, tables.t.columns.site_id: references \"sight\", which is no table")
        );
        assert!(
            one_column("up = { type = 'uuid', references = 't' }")
                .contains("is of type uuid, but the key of \"t\" is integer")
        );
    }

    #[test]
    fn a_circle_of_references_is_refused_but_a_self_reference_is_not() {
        let text = "name='w'\nversion=1\n[tables.a.columns]\nid={type='integer'}\nb={type='integer',references='b'}\n[tables.b.columns]\nid={type='integer'}\na={type='integer',references='a'}";
        assert!(complaint(text).contains("go round in a circle among a, b"));
        assert!(
            Schema::parse(
                "name='w'\nversion=1\n[tables.a.columns]\nid={type='integer'}\nup={type='integer',references='a'}"
            )
            .is_ok()
        );
    }

    #[test]
    fn two_keys_are_refused() {
        let text = "name='w'\nversion=1\n[tables.t]\nkey=['a','b']\n[tables.t.columns]\nid={type='integer'}\na={type='integer'}\nb={type='integer'}";
        assert_eq!(
            complaint(text),
            "line 4, tables.t.key: the key has 2 columns; a key is one column, an integer or a uuid"
        );
        let text = "name='w'\nversion=1\n[tables.t]\nkey='a'\nkey='b'\n[tables.t.columns]\na={type='integer'}\nb={type='integer'}";
        assert!(complaint(text).starts_with("line 5: not valid TOML: duplicate key"), "{}", complaint(text));
    }

    #[test]
    fn keys_and_times_have_the_right_type() {
        assert!(
            complaint("name='w'\nversion=1\n[tables.t.columns]\nid={type='text'}").contains("keys are integer or uuid")
        );
        assert!(
            complaint("name='w'\nversion=1\n[tables.t.columns]\nno={type='integer'}")
                .contains("the key column \"id\" does not exist")
        );
        assert!(
            complaint("name='w'\nversion=1\n[tables.t]\ntime='id'\n[tables.t.columns]\nid={type='integer'}")
                .contains("it must be a timestamp")
        );
        assert!(
            complaint("name='w'\nversion=1\n[tables.t]\nchunk='7 days'\n[tables.t.columns]\nid={type='integer'}")
                .contains("it needs `time`")
        );
        assert!(complaint("name='w'\nversion=1\n[tables.t]\ntime='at'\nchunk='7 moons'\n[tables.t.columns]\nid={type='integer'}\nat={type='timestamp'}").contains("no chunk width"));
    }

    #[test]
    fn bounds_and_defaults_fit_their_type() {
        assert!(one_column("a = { type = 'text', min = 1 }").contains("`min` is for integer and real"));
        assert!(one_column("a = { type = 'real', min = 2, max = 1 }").contains("above"));
        assert!(one_column("a = { type = 'real', min = nan }").contains("finite"));
        assert!(one_column("a = { type = 'integer', default = 'x' }").contains("expected a 64-bit integer"));
        assert!(one_column("a = { type = 'timestamp', default = 'later' }").contains("only \"now\""));
        assert!(one_column("a = { type = 'json', default = '{}' }").contains("can have no default"));
        assert!(one_column("a = { type = 'text', max_bytes = 0 }").contains("between 1 and"));
        assert!(one_column("a = { typ = 'text' }").contains("`type` is missing"));
        assert!(one_column("a = { type = 'text', requird = true }").contains("unknown key \"requird\""));
        assert!(one_column("a = 'text'").contains("expected a table"));
    }

    #[test]
    fn every_problem_is_reported_in_one_run() {
        let text = "name = 'pg_x'\nversion = 0\n[tables.t.columns]\nid = { type = 'integer' }\na = { type = 'float' }\nb = { type = 'integer', references = 'x' }";
        let error = Schema::parse(text).unwrap_err();
        let lines: Vec<usize> = error.issues.iter().map(|issue| issue.line).collect();
        assert_eq!(lines, [1, 2, 5, 6]);
    }

    #[test]
    fn missing_parts_are_named() {
        assert!(complaint("").contains("`name` is missing"));
        assert!(complaint("name='w'\nversion=1\n[tables.t]").contains("the table has no columns"));
    }

    #[test]
    fn the_fingerprint_sees_meaning_and_not_documentation() {
        let schema = |column: &str| {
            Schema::parse(&format!("name='w'\nversion=1\n[tables.t.columns]\nid={{type='integer'}}\na={column}"))
                .unwrap()
                .fingerprint()
        };
        let plain = schema("{type='real'}");
        assert_eq!(plain, schema("{type='real', unit='°C', doc='words'}"));
        for other in
            ["{type='integer'}", "{type='real', required=true}", "{type='real', min=0}", "{type='real', default=0}"]
        {
            assert_ne!(plain, schema(other), "{other}");
        }
    }

    #[test]
    fn the_shipped_schema_is_the_18_tables() {
        let schema = super::super::shrinkage();
        let hypertables: Vec<&str> =
            schema.tables().iter().filter(|t| t.time.is_some()).map(|t| t.name.as_str()).collect();
        assert_eq!(
            hypertables,
            ["calculation_data", "coefficients", "forecasts", "preliminary_forecasts", "data_lineage"]
        );
        assert_eq!(schema.tables().len(), 18);
        assert_eq!(schema.table("calculation_data").unwrap().columns.len(), 26);
        assert_eq!(schema.tables().iter().map(|t| t.columns.len()).sum::<usize>(), 180);
    }
}
