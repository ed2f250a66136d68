//! The reference: an upstream that takes one change after the other, each rule written out, with none of the product's
//! code for converting, deciding or planning.

use std::collections::BTreeMap;

use tidemark_core::identity::{Identity, Key};
use tidemark_core::schema::{Bound, Column, Schema, Table};
use tidemark_core::value::{ColumnType, Value};
use tidemark_memory::StoredRow;

use super::history::{Change, Raw};

/// Largest local id.
const ID_MAX: i64 = 4_294_967_295;
/// The earliest time that is taken: 2000-01-01.
const FLOOR_US: i64 = 946_684_800_000_000;
/// How far ahead of the server a time may be: 7 days.
const AHEAD_US: i64 = 7 * 86_400_000_000;

/// A change that is not applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Why, in one word.
    pub code: &'static str,
    /// `station` or `server`.
    pub origin: &'static str,
    /// The row's values by column, as JSON, when the server refused it. Compared to the letter: a parser may round.
    pub image: Option<String>,
}

/// The database as it must be.
pub struct Model {
    /// Rows of each table.
    pub rows: Vec<BTreeMap<Identity, StoredRow>>,
    /// Refused changes by station and seq.
    pub refused: BTreeMap<(u32, u64), Refused>,
    /// The notes of readings that cannot be written.
    unwritable: Vec<&'static str>,
}

enum Verdict {
    Applied,
    Nothing,
    Here(&'static str),
    There(&'static str, Vec<(String, Value)>),
}

impl Model {
    /// An empty one that takes no readings with these notes.
    #[must_use]
    pub fn new(schema: &Schema, unwritable: Vec<&'static str>) -> Self {
        Self { rows: schema.tables().iter().map(|_| BTreeMap::new()).collect(), refused: BTreeMap::new(), unwritable }
    }

    /// Takes one change of a station; `now_ms` is the server's clock. Returns what became of it, in one word.
    pub fn take(&mut self, schema: &Schema, station: u32, change: &Change, now_ms: i64) -> &'static str {
        let (code, refused) = match self.judge(schema, station, change, now_ms) {
            Verdict::Applied => return "applied",
            Verdict::Nothing => return "void",
            Verdict::Here(code) => (code, Refused { code, origin: "station", image: None }),
            Verdict::There(code, values) => {
                let image = values.into_iter().map(|(name, value)| (name, value.as_ref().to_json())).collect();
                let image = serde_json::Value::Object(image).to_string();
                (code, Refused { code, origin: "server", image: Some(image) })
            }
        };
        self.refused.insert((station, change.seq), refused);
        code
    }

    fn judge(&mut self, schema: &Schema, station: u32, change: &Change, now_ms: i64) -> Verdict {
        let Some(index) = schema.tables().iter().position(|table| table.name == change.table) else {
            return Verdict::Here("unknown-table");
        };
        let table = &schema.tables()[index];
        let gone = change.op == "D";
        if table.append && change.op == "U" {
            return Verdict::Here("append-only");
        }
        let travels = |at: usize| !gone || at == table.key || Some(at) == table.time;
        let mut values = Vec::new();
        for (at, column) in table.columns.iter().enumerate() {
            let value =
                if travels(at) { convert(table, at, column, station, &change.values[at]) } else { Ok(Value::Null) };
            match value {
                Ok(value) => values.push(value),
                Err(_) if gone => return Verdict::Nothing,
                Err(code) => return Verdict::Here(code),
            }
        }
        let named = |values: &[Value]| {
            let columns = table.columns.iter().enumerate().filter(|(at, _)| travels(*at));
            columns.map(|(at, column)| (column.name.clone(), values[at].clone())).collect::<Vec<_>>()
        };
        let time_us = match table.time.map(|at| &values[at]) {
            Some(Value::Timestamp(us)) => *us,
            _ => 0,
        };
        if gone && table.append {
            return Verdict::Here("append-only");
        }
        if !gone && table.time.is_some() && (time_us < FLOOR_US || time_us > now_ms * 1000 + AHEAD_US) {
            return Verdict::There("clock", named(&values));
        }
        let Some(key) = key_of(&values[table.key]) else { return Verdict::Here("required") };
        let owner = self.rows[index].iter().find(|(identity, _)| identity.key == key).map(|(_, row)| row.station);
        if owner.is_some_and(|owner| owner != station) {
            return Verdict::There("owner", named(&values));
        }
        let identity = Identity { time_us, key };
        if gone {
            if self.is_referenced(schema, index, key) {
                return Verdict::There("referenced", named(&values));
            }
            self.rows[index].remove(&identity);
            return Verdict::Applied;
        }
        for (at, column) in table.columns.iter().enumerate() {
            let (Some(parent), Some(wanted)) = (column.references, key_of(&values[at])) else { continue };
            let itself = parent == index && wanted == key;
            if !itself && !self.rows[parent].keys().any(|identity| identity.key == wanted) {
                return Verdict::There("reference", named(&values));
            }
        }
        let has = |note: &&str| values.iter().any(|value| matches!(value, Value::Text(text) if text == note));
        if table.name == "reading" && self.unwritable.iter().any(has) {
            return Verdict::There("constraint", named(&values));
        }
        let there = self.rows[index].iter().find(|(there, _)| table.append && there.key == key);
        match there {
            Some((_, row)) if row.values != values => Verdict::There("append-only", named(&values)),
            Some(_) => Verdict::Applied,
            None => {
                self.rows[index].insert(identity, StoredRow { station, values });
                Verdict::Applied
            }
        }
    }

    /// Whether a row of an ordinary table is held by another row of an ordinary table.
    fn is_referenced(&self, schema: &Schema, index: usize, key: Key) -> bool {
        let tables = schema.tables();
        tables[index].time.is_none()
            && tables.iter().enumerate().filter(|(_, table)| table.time.is_none()).any(|(child, table)| {
                let referencing =
                    table.columns.iter().enumerate().filter(|(_, column)| column.references == Some(index));
                referencing.map(|(at, _)| at).any(|at| {
                    let holds = |(identity, row): (&Identity, &StoredRow)| {
                        key_of(&row.values[at]) == Some(key) && !(child == index && identity.key == key)
                    };
                    self.rows[child].iter().any(holds)
                })
            })
    }
}

fn key_of(value: &Value) -> Option<Key> {
    match value {
        Value::Integer(id) => Some(Key::Integer(*id)),
        Value::Uuid(uuid) => Some(Key::Uuid(*uuid)),
        _ => None,
    }
}

/// A value as it must travel, or why it cannot.
fn convert(table: &Table, at: usize, column: &Column, station: u32, raw: &Raw) -> Result<Value, &'static str> {
    let is_key = at == table.key;
    match (column.ty, raw) {
        (_, Raw::Null) if is_key || column.required || Some(at) == table.time => Err("required"),
        (_, Raw::Null) => Ok(Value::Null),
        (ColumnType::Integer, Raw::Integer(id)) if is_key || column.references.is_some() => {
            if (1..=ID_MAX).contains(id) {
                Ok(Value::Integer(i64::from(station) * (ID_MAX + 1) + id))
            } else if !is_key && (-ID_MAX..=-1).contains(id) {
                Ok(Value::Integer(-id))
            } else {
                Err("id-range")
            }
        }
        (ColumnType::Integer, Raw::Integer(v)) => {
            let below = matches!(column.min, Some(Bound::Integer(min)) if *v < min);
            let above = matches!(column.max, Some(Bound::Integer(max)) if *v > max);
            if below || above { Err("range") } else { Ok(Value::Integer(*v)) }
        }
        (ColumnType::Real, Raw::Real(bits)) => real(column, f64::from_bits(*bits)),
        // 2⁵³ and less: such a number is a real one exactly.
        (ColumnType::Real, Raw::Integer(v)) if v.unsigned_abs() <= 1 << 53 => real(column, *v as f64),
        (ColumnType::Text, Raw::Text(bytes)) => {
            let text = String::from_utf8(bytes.clone()).map_err(|_| "utf8")?;
            if column.max_bytes.is_some_and(|max| bytes.len() as u64 > u64::from(max)) {
                return Err("length");
            }
            if bytes.contains(&0) { Err("nul") } else { Ok(Value::Text(text)) }
        }
        (ColumnType::Bytes, Raw::Blob(bytes)) => Ok(Value::Bytes(bytes.clone())),
        (ColumnType::Timestamp, Raw::Text(text)) => timestamp(text).map(Value::Timestamp).ok_or("timestamp"),
        (ColumnType::Uuid, Raw::Text(text)) => uuid(text).map(Value::Uuid).ok_or("uuid"),
        _ => Err("type"),
    }
}

fn real(column: &Column, v: f64) -> Result<Value, &'static str> {
    let below = matches!(column.min, Some(Bound::Real(min)) if v < min);
    let above = matches!(column.max, Some(Bound::Real(max)) if v > max);
    if below || above { Err("range") } else { Ok(Value::Real(v)) }
}

/// The one form the simulation's programs write: `YYYY-MM-DD HH:MM:SS` and perhaps six digits more.
fn timestamp(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<i64>().ok());
    if !matches!(text.len(), 19 | 26) || text.get(10..11) != Some(" ") {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if year < 1 || !(1..=12).contains(&month) || !(1..=lengths[month as usize - 1]).contains(&day) {
        return None;
    }
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let days = years + lengths[..month as usize - 1].iter().sum::<i64>() + day - 1;
    let seconds = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    let fraction = if text.len() == 26 { number(20, 26)? } else { 0 };
    Some((days * 86_400 + seconds) * 1_000_000 + fraction)
}

fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(text).ok()?;
    let digits: String = text.split('-').collect();
    let shape: Vec<usize> = text.split('-').map(str::len).collect();
    if shape != [8, 4, 4, 4, 12] || digits != digits.to_ascii_lowercase() {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_own_parsers_agree_with_known_values() {
        assert_eq!(timestamp(b"1970-01-01 00:00:00"), Some(0));
        assert_eq!(timestamp(b"2000-03-01 00:00:00.000001"), Some(951_868_800_000_001));
        assert_eq!(timestamp(b"1969-12-31 23:59:59"), Some(-1_000_000));
        assert_eq!(timestamp(b"2025-02-29 00:00:00"), None);
        assert_eq!(uuid(b"00000000-0000-4000-8000-00000000ff01").map(|uuid| uuid[15]), Some(1));
        assert_eq!(uuid(b"00000000-0000-4000-8000-00000000FF01"), None);
    }
}
