//! Reading a schema file: TOML with the position of every key, every problem collected.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::check::NameOf;
use super::column::{PendingReference, parse_columns};
use super::issues::{Collector, SchemaError, note_twin};
use super::model::{Chunk, Table};
use crate::limits::{SCHEMA_BYTES_MAX, TABLES_MAX};
use crate::value::ColumnType;

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
    Err(SchemaError { issues: issues.issues })
}

fn parse_tables(
    issues: &mut Collector<'_>,
    tables: &DeTable<'_>,
    draft: &mut Draft,
    pending: &mut Vec<PendingReference>,
) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
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

fn parse_table(
    issues: &mut Collector<'_>,
    name: &str,
    name_span: &Range<usize>,
    body: &DeTable<'_>,
    path: &str,
    number: usize,
    pending: &mut Vec<PendingReference>,
) -> Option<Table> {
    let mut table =
        Table { name: name.to_owned(), doc: None, columns: Vec::new(), key: 0, time: None, chunk: None, append: false };
    let mut key_name = (String::from("id"), name_span.clone());
    let mut time_name: Option<(String, Range<usize>)> = None;
    let mut chunk_span = None;
    let mut append_span = None;
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
            "append" => {
                append_span = Some(value.span());
                table.append = issues.boolean(value, &here).unwrap_or(false);
            }
            "columns" => {
                if let Some(columns) = issues.table(value, &here) {
                    parse_columns(issues, columns, &here, number, &mut table.columns, pending);
                }
            }
            other => issues.unknown_key(&key.span(), path, other, "doc, key, time, chunk, append, columns"),
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
    if let Some(span) = append_span.filter(|_| table.append && table.key_column().ty == ColumnType::Uuid) {
        issues.add(
            &span,
            path,
            "the key of an append table is an integer: only of numbers that ascend does the server know without asking \
             that none comes twice; leave `append` out",
        );
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
        if tables[parent].append {
            issues.add(
                &reference.span,
                &reference.path,
                format!(
                    "references {:?}, which is an append table: upstream it has no unique index to find the row by; \
                     leave out `references` here, or `append` there",
                    reference.parent
                ),
            );
        }
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
