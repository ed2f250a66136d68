//! Reading the columns of a table: types, defaults, bounds.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::NameOf;
use super::issues::{Collector, note_twin};
use super::model::{Bound, Column, DefaultValue};
use crate::limits::COLUMNS_MAX;
use crate::value::ColumnType;

/// A reference by name, resolved once all tables are known.
pub(super) struct PendingReference {
    pub(super) table: usize,
    pub(super) column: usize,
    pub(super) parent: String,
    pub(super) span: Range<usize>,
    pub(super) path: String,
}

pub(super) fn parse_columns(
    issues: &mut Collector<'_>,
    columns: &DeTable<'_>,
    path: &str,
    table: usize,
    out: &mut Vec<Column>,
    pending: &mut Vec<PendingReference>,
) {
    let mut seen = BTreeMap::new();
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
