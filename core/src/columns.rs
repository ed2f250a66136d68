//! Values by column: what a frame's body holds, and what a server encodes its COPY from.

use crate::value::{ColumnType, ValueRef};

/// Variable-length values end to end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Strings {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Strings {
    /// Appends a value.
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len() as u32);
    }

    /// The value of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        &self.bytes[start..self.ends[row] as usize]
    }

    fn str(&self, row: usize) -> &str {
        std::str::from_utf8(self.get(row)).expect("BUG: text is checked before it is pushed")
    }
}

/// The values of a column, one per row; a NULL row has a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// See [`ColumnType::Integer`].
    Integer(Vec<i64>),
    /// See [`ColumnType::Real`].
    Real(Vec<f64>),
    /// UTF-8.
    Text(Strings),
    /// See [`ColumnType::Boolean`].
    Boolean(Vec<bool>),
    /// Microseconds since 1970 UTC.
    Timestamp(Vec<i64>),
    /// UTF-8.
    Json(Strings),
    /// See [`ColumnType::Bytes`].
    Bytes(Strings),
    /// See [`ColumnType::Uuid`].
    Uuid(Vec<[u8; 16]>),
}

/// One column of a group of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnBlock {
    nulls: Vec<bool>,
    any_null: bool,
    values: Values,
}

impl ColumnBlock {
    /// An empty column.
    #[must_use]
    pub fn new(ty: ColumnType) -> Self {
        let values = match ty {
            ColumnType::Integer => Values::Integer(Vec::new()),
            ColumnType::Real => Values::Real(Vec::new()),
            ColumnType::Text => Values::Text(Strings::default()),
            ColumnType::Boolean => Values::Boolean(Vec::new()),
            ColumnType::Timestamp => Values::Timestamp(Vec::new()),
            ColumnType::Json => Values::Json(Strings::default()),
            ColumnType::Bytes => Values::Bytes(Strings::default()),
            ColumnType::Uuid => Values::Uuid(Vec::new()),
        };
        Self { nulls: Vec::new(), any_null: false, values }
    }

    /// A column of `rows` NULLs, for a column that an older schema does not have.
    #[must_use]
    pub fn all_null(ty: ColumnType, rows: usize) -> Self {
        let mut block = Self::new(ty);
        for _ in 0..rows {
            block.push(ValueRef::Null);
        }
        block
    }

    /// Appends a value.
    ///
    /// # Panics
    /// BUG: when the value is of another type than the column; conversion and decoding never produce one.
    pub fn push(&mut self, value: ValueRef<'_>) {
        let null = value.is_null();
        match (&mut self.values, value) {
            (Values::Integer(v), ValueRef::Integer(x)) | (Values::Timestamp(v), ValueRef::Timestamp(x)) => v.push(x),
            (Values::Integer(v) | Values::Timestamp(v), ValueRef::Null) => v.push(0),
            (Values::Real(v), ValueRef::Real(x)) => v.push(x),
            (Values::Real(v), ValueRef::Null) => v.push(0.0),
            (Values::Boolean(v), ValueRef::Boolean(x)) => v.push(x),
            (Values::Boolean(v), ValueRef::Null) => v.push(false),
            (Values::Text(v), ValueRef::Text(x)) | (Values::Json(v), ValueRef::Json(x)) => v.push(x.as_bytes()),
            (Values::Bytes(v), ValueRef::Bytes(x)) => v.push(x),
            (Values::Text(v) | Values::Json(v) | Values::Bytes(v), ValueRef::Null) => v.push(&[]),
            (Values::Uuid(v), ValueRef::Uuid(x)) => v.push(x),
            (Values::Uuid(v), ValueRef::Null) => v.push([0; 16]),
            (values, value) => panic!("BUG: {value:?} pushed into {values:?}"),
        }
        self.any_null |= null;
        self.nulls.push(null);
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// The memory that its values take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let values = match &self.values {
            Values::Integer(v) | Values::Timestamp(v) => size_of_val(&v[..]),
            Values::Real(v) => size_of_val(&v[..]),
            Values::Boolean(v) => v.len(),
            Values::Uuid(v) => size_of_val(&v[..]),
            Values::Text(v) | Values::Json(v) | Values::Bytes(v) => size_of_val(&v.ends[..]) + v.bytes.len(),
        };
        values + self.nulls.len()
    }

    /// True without rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nulls.is_empty()
    }

    /// True when any row is NULL.
    #[must_use]
    pub const fn has_nulls(&self) -> bool {
        self.any_null
    }

    /// True when the row is NULL.
    #[must_use]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls[row]
    }

    /// The values as stored, placeholders included.
    #[must_use]
    pub const fn values(&self) -> &Values {
        &self.values
    }

    /// The value of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> ValueRef<'_> {
        if self.nulls[row] {
            return ValueRef::Null;
        }
        match &self.values {
            Values::Integer(v) => ValueRef::Integer(v[row]),
            Values::Real(v) => ValueRef::Real(v[row]),
            Values::Text(v) => ValueRef::Text(v.str(row)),
            Values::Boolean(v) => ValueRef::Boolean(v[row]),
            Values::Timestamp(v) => ValueRef::Timestamp(v[row]),
            Values::Json(v) => ValueRef::Json(v.str(row)),
            Values::Bytes(v) => ValueRef::Bytes(v.get(row)),
            Values::Uuid(v) => ValueRef::Uuid(v[row]),
        }
    }
}
