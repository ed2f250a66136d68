//! The body of a frame: bytes ↔ groups of columns. The layout is docs/FORMAT.md, "Body".
//!
//! Structure is bincode's standard configuration (little-endian, variable-length integers, lengths as such integers);
//! the blocks inside are ours: a null bitmap, and values without the NULLs.

use std::borrow::Cow;

use bincode::de::{BorrowDecoder, Decode as _};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Encode};

use crate::batch::{Batch, Group, NO_TABLE, Op, group_columns};
use crate::columns::{ColumnBlock, Values};
use crate::limits::{COLUMNS_MAX, FrameLimits, TABLES_MAX};
use crate::schema::Schema;
use crate::value::{ColumnType, ValueRef};

/// The most that decoding may claim at once, whatever a length says: over the largest body a receiver can be told to
/// accept.
const CLAIM_BYTES_MAX: usize = 1 << 30;

#[derive(Encode, BorrowDecode)]
struct WireBody<'a> {
    groups: List<WireGroup<'a>, { (TABLES_MAX + 1) * 4 }>,
    order: Cow<'a, [u8]>,
    at: Cow<'a, [u8]>,
}

#[derive(Encode, BorrowDecode)]
struct WireGroup<'a> {
    table: u32,
    op: u8,
    rows: u32,
    columns: List<WireColumn<'a>, COLUMNS_MAX>,
}

#[derive(Encode, BorrowDecode)]
struct WireColumn<'a> {
    nulls: Cow<'a, [u8]>,
    values: Cow<'a, [u8]>,
}

/// A list of at most MAX elements, as bincode writes a `Vec`. bincode itself would take memory for as many as the
/// length claims; here memory grows with what is there.
struct List<T, const MAX: usize>(Vec<T>);

impl<T: Encode, const MAX: usize> Encode for List<T, MAX> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u64).encode(encoder)?;
        self.0.iter().try_for_each(|element| element.encode(encoder))
    }
}

impl<'de, C, T: BorrowDecode<'de, C>, const MAX: usize> BorrowDecode<'de, C> for List<T, MAX> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let length = u64::decode(decoder)?;
        if length > MAX as u64 {
            return Err(DecodeError::OtherString(format!("a list of {length}, at most {MAX} are possible")));
        }
        (0..length).map(|_| T::borrow_decode(decoder)).collect::<Result<Vec<T>, _>>().map(Self)
    }
}

/// The words say what is wrong with a body; a frame with one is refused whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub(crate) String);

fn bad<T>(what: impl Into<String>) -> Result<T, BodyError> {
    Err(BodyError(what.into()))
}

/// Encodes groups, order and times.
#[must_use]
pub fn encode_body(batch: &Batch) -> Vec<u8> {
    let body = WireBody {
        groups: List(
            batch
                .groups
                .iter()
                .map(|group| WireGroup {
                    table: group.table,
                    op: group.op as u8,
                    rows: group.rows as u32,
                    columns: List(group.columns.iter().map(encode_column).collect()),
                })
                .collect(),
        ),
        order: encode_order(&batch.order).into(),
        at: encode_deltas(batch.at_ms.iter().copied()).into(),
    };
    bincode::encode_to_vec(body, bincode::config::standard()).expect("BUG: encoding into memory cannot fail")
}

/// Groups, order and times of a body.
pub(crate) type Body = (Vec<Group>, Vec<u32>, Vec<i64>);

/// Decodes a body of `count` changes.
///
/// # Errors
/// Says what is wrong; takes no more memory than `limits` allow before it knows.
pub(crate) fn decode_body(bytes: &[u8], count: u32, schema: &Schema, limits: &FrameLimits) -> Result<Body, BodyError> {
    let config = bincode::config::standard().with_limit::<CLAIM_BYTES_MAX>();
    let (body, used): (WireBody<'_>, usize) = bincode::borrow_decode_from_slice(bytes, config)?;
    if used != bytes.len() {
        return bad(format!("{} bytes are left over after the body", bytes.len() - used));
    }
    let groups_there = &body.groups.0;
    let groups_max = (schema.tables().len() + 1) * 4;
    if groups_there.len() > groups_max {
        return bad(format!("{} groups, the schema allows {groups_max}", groups_there.len()));
    }
    let total: u64 = groups_there.iter().map(|group| u64::from(group.rows)).sum();
    if total != u64::from(count) {
        return bad(format!("the header counts {count} changes, the groups {total}"));
    }
    let mut cells = 0_u64;
    let mut seen = std::collections::HashSet::new();
    let mut groups = Vec::with_capacity(groups_there.len());
    for group in groups_there {
        let Some(op) = Op::from_code(group.op) else { return bad(format!("unknown operation {}", group.op)) };
        let table = schema.tables().get(group.table as usize);
        if table.is_none() && (op != Op::Void || group.table != NO_TABLE) {
            return bad(format!(
                "unknown table number {}: the schema {} has {}",
                group.table,
                schema.name(),
                schema.tables().len()
            ));
        }
        if group.rows == 0 || !seen.insert((group.table, group.op)) {
            return bad(format!("group of table {} and operation {} is empty or there twice", group.table, group.op));
        }
        let types = group_columns(table, op);
        if types.len() != group.columns.0.len() {
            return bad(format!(
                "{} columns for {} of table {}, the schema has {}",
                group.columns.0.len(),
                op.as_str(),
                group.table,
                types.len()
            ));
        }
        cells += u64::from(group.rows) * types.len() as u64;
        if cells > u64::from(limits.cells_max) {
            return bad(format!("more than {} cells", limits.cells_max));
        }
        let columns =
            types.iter().zip(&group.columns.0).map(|(ty, column)| decode_column(*ty, group.rows as usize, column));
        let columns = columns.enumerate().map(|(n, column)| {
            column.map_err(|BodyError(what)| {
                BodyError(format!("column {n} of {} of table {}: {what}", op.as_str(), group.table))
            })
        });
        groups.push(Group {
            table: group.table,
            op,
            rows: group.rows as usize,
            columns: columns.collect::<Result<_, _>>()?,
        });
    }
    let order = decode_order(&body.order, &groups, count as usize)?;
    let mut at = Reader(&body.at);
    let at_ms = at.deltas(count as usize)?;
    at.end("the times")?;
    Ok((groups, order, at_ms))
}

/// bincode's errors name no place worth showing; what matters is that the bytes are not a body.
impl From<bincode::error::DecodeError> for BodyError {
    fn from(error: bincode::error::DecodeError) -> Self {
        Self(format!("not a body: {error}"))
    }
}

fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

fn put_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Differences from one value to the next (from 0 to the first), wrapping, zigzag, as variable-length integers.
fn encode_deltas(values: impl Iterator<Item = i64>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = 0_i64;
    for value in values {
        put_varint(&mut out, zigzag(value.wrapping_sub(last)));
        last = value;
    }
    out
}

/// Runs of (group, how many changes in a row).
fn encode_order(order: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    for run in order.chunk_by(|a, b| a == b) {
        put_varint(&mut out, run[0].into());
        put_varint(&mut out, run.len() as u64);
    }
    out
}

fn encode_column(column: &ColumnBlock) -> WireColumn<'static> {
    let nulls = if column.has_nulls() { bitmap((0..column.len()).map(|row| column.is_null(row))) } else { Vec::new() };
    let present = || (0..column.len()).filter(|&row| !column.is_null(row));
    let values = match column.values() {
        Values::Integer(v) | Values::Timestamp(v) => encode_deltas(present().map(|row| v[row])),
        Values::Real(v) => present().flat_map(|row| v[row].to_bits().to_le_bytes()).collect(),
        Values::Boolean(v) => bitmap(present().map(|row| v[row])),
        Values::Uuid(v) => present().flat_map(|row| v[row]).collect(),
        Values::Text(v) | Values::Json(v) | Values::Bytes(v) => {
            let mut out = Vec::new();
            present().for_each(|row| put_varint(&mut out, v.get(row).len() as u64));
            present().for_each(|row| out.extend_from_slice(v.get(row)));
            out
        }
    };
    WireColumn { nulls: nulls.into(), values: values.into() }
}

/// Bit n of byte n/8, least significant first; the bits after the last are 0.
fn bitmap(bits: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, bit) in bits.enumerate() {
        if n % 8 == 0 {
            out.push(0);
        }
        if bit {
            out[n / 8] |= 1 << (n % 8);
        }
    }
    out
}

fn unbitmap(bytes: &[u8], count: usize, what: &str) -> Result<Vec<bool>, BodyError> {
    if bytes.len() != count.div_ceil(8) {
        return bad(format!("{what} has {} bytes, {count} bits need {}", bytes.len(), count.div_ceil(8)));
    }
    if !count.is_multiple_of(8) && bytes[count / 8] >> (count % 8) != 0 {
        return bad(format!("{what} has bits after the last"));
    }
    Ok((0..count).map(|n| bytes[n / 8] >> (n % 8) & 1 == 1).collect())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, BodyError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some((&byte, rest)) = self.0.split_first() else { return bad("ends inside a variable-length integer") };
            self.0 = rest;
            if shift == 63 && byte > 1 {
                return bad("a variable-length integer is over 64 bits");
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // One value has one form: no trailing zero byte.
                if byte == 0 && shift > 0 {
                    return bad("a variable-length integer is longer than need be");
                }
                return Ok(value);
            }
        }
        bad("a variable-length integer is over 64 bits")
    }

    fn deltas(&mut self, count: usize) -> Result<Vec<i64>, BodyError> {
        let mut last = 0_i64;
        (0..count)
            .map(|_| {
                last = last.wrapping_add(unzigzag(self.varint()?));
                Ok(last)
            })
            .collect()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], BodyError> {
        let Some((head, tail)) = self.0.split_at_checked(count) else {
            return bad(format!("ends {} bytes early", count - self.0.len()));
        };
        self.0 = tail;
        Ok(head)
    }

    fn end(&self, what: &str) -> Result<(), BodyError> {
        if self.0.is_empty() { Ok(()) } else { bad(format!("{} bytes are left over after {what}", self.0.len())) }
    }
}

fn decode_order(bytes: &[u8], groups: &[Group], count: usize) -> Result<Vec<u32>, BodyError> {
    let mut left: Vec<usize> = groups.iter().map(|group| group.rows).collect();
    let mut order = Vec::with_capacity(count);
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let (group, run) = (reader.varint()?, reader.varint()?);
        let Some(rows) = usize::try_from(group).ok().and_then(|group| left.get_mut(group)) else {
            return bad(format!("the order names group {group} of {}", groups.len()));
        };
        let run = usize::try_from(run).ok().filter(|&run| run > 0 && run <= *rows);
        let Some(run) = run else { return bad(format!("the order takes more rows than group {group} has, or none")) };
        *rows -= run;
        order.extend(std::iter::repeat_n(group as u32, run));
    }
    if order.len() != count {
        return bad(format!("the order has {} changes, the header {count}", order.len()));
    }
    Ok(order)
}

/// Pushes one value per row: NULL where the bitmap says so, else the next one.
fn fill<'a>(
    column: &mut ColumnBlock,
    nulls: &[bool],
    mut next: impl FnMut() -> Result<ValueRef<'a>, BodyError>,
) -> Result<(), BodyError> {
    for &null in nulls {
        column.push(if null { ValueRef::Null } else { next()? });
    }
    Ok(())
}

fn decode_column(ty: ColumnType, rows: usize, wire: &WireColumn<'_>) -> Result<ColumnBlock, BodyError> {
    let nulls = if wire.nulls.is_empty() { vec![false; rows] } else { unbitmap(&wire.nulls, rows, "the null bitmap")? };
    let present = nulls.iter().filter(|&&null| !null).count();
    if !wire.nulls.is_empty() && present == rows {
        return bad("a null bitmap without a NULL");
    }
    let mut column = ColumnBlock::new(ty);
    let mut reader = Reader(&wire.values);
    match ty {
        ColumnType::Integer | ColumnType::Timestamp => {
            let mut values = reader.deltas(present)?.into_iter();
            let wrap = if ty == ColumnType::Integer { ValueRef::Integer } else { ValueRef::Timestamp };
            fill(&mut column, &nulls, || Ok(wrap(values.next().expect("BUG: counted above"))))?;
        }
        ColumnType::Real => fill(&mut column, &nulls, || {
            let bits = u64::from_le_bytes(reader.take(8)?.try_into().expect("BUG: 8 bytes were taken"));
            let real = f64::from_bits(bits);
            if real.is_nan() { bad("a real is NaN, which SQLite cannot hold") } else { Ok(ValueRef::Real(real)) }
        })?,
        ColumnType::Boolean => {
            let mut values = unbitmap(&wire.values, present, "the booleans")?.into_iter();
            reader.0 = &[];
            fill(&mut column, &nulls, || Ok(ValueRef::Boolean(values.next().expect("BUG: counted above"))))?;
        }
        ColumnType::Uuid => fill(&mut column, &nulls, || {
            Ok(ValueRef::Uuid(reader.take(16)?.try_into().expect("BUG: 16 bytes were taken")))
        })?,
        ColumnType::Text | ColumnType::Json | ColumnType::Bytes => {
            let lengths = (0..present).map(|_| reader.varint()).collect::<Result<Vec<u64>, _>>()?;
            let mut lengths = lengths.into_iter();
            fill(&mut column, &nulls, || {
                let length = lengths.next().expect("BUG: counted above");
                let bytes = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?;
                if ty == ColumnType::Bytes {
                    return Ok(ValueRef::Bytes(bytes));
                }
                let Ok(text) = std::str::from_utf8(bytes) else { return bad("a text is not UTF-8") };
                Ok(if ty == ColumnType::Text { ValueRef::Text(text) } else { ValueRef::Json(text) })
            })?;
        }
    }
    reader.end("the values")?;
    Ok(column)
}
