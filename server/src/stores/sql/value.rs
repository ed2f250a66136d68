//! Values of the ledger, on their way into a statement and out of a row.

use std::vec::IntoIter;

use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;
use tidemark_core::timestamp;

use crate::upstream::error::StoreError;

/// A value that a statement is given. Its kind is known also where it is NULL.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// A station's number.
    Number(Option<u32>),
    /// A seq, or another whole number.
    Int(Option<i64>),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Text(Option<String>),
    /// JSON, kept to the letter.
    Json(Option<String>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
    /// A moment, milliseconds since 1970 UTC.
    Ms(Option<i64>),
    /// A uuid.
    Uuid([u8; 16]),
    /// A set of numbers of stations.
    Numbers(Vec<u32>),
    /// A set of seqs.
    Ints(Option<Vec<i64>>),
    /// A set of texts.
    Texts(Vec<String>),
}

macro_rules! params_from {
    ($($from:ty: $value:ident => $param:expr),* $(,)?) => {
        $(impl From<$from> for Param {
            fn from($value: $from) -> Self {
                $param
            }
        })*
    };
}

params_from! {
    StationNumber: number => Self::Number(Some(number.get())),
    Option<StationNumber>: number => Self::Number(number.map(StationNumber::get)),
    u64: seq => Self::Int(Some(seq.cast_signed())),
    Option<u64>: seq => Self::Int(seq.map(u64::cast_signed)),
    i64: int => Self::Int(Some(int)),
    bool: yes => Self::Bool(yes),
    &str: text => Self::Text(Some(text.to_owned())),
    &String: text => Self::Text(Some(text.clone())),
    String: text => Self::Text(Some(text)),
    Option<String>: text => Self::Text(text),
    Option<&str>: text => Self::Text(text.map(str::to_owned)),
    [u8; 32]: hash => Self::Bytes(Some(hash.to_vec())),
    &[u8]: bytes => Self::Bytes(Some(bytes.to_vec())),
    Chain: chain => Self::Bytes(Some(chain.0.to_vec())),
    Option<Chain>: chain => Self::Bytes(chain.map(|chain| chain.0.to_vec())),
    [u8; 16]: uuid => Self::Uuid(uuid),
}

impl Param {
    /// A moment, milliseconds since 1970 UTC.
    #[must_use]
    pub const fn ms(ms: i64) -> Self {
        Self::Ms(Some(ms))
    }

    /// A set of seqs.
    #[must_use]
    pub fn seqs(seqs: &[u64]) -> Self {
        Self::Ints(Some(seqs.iter().map(|seq| seq.cast_signed()).collect()))
    }
}

/// Values as parameters, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$(crate::stores::sql::value::Param::from($value)),*] };
}
pub(super) use params;

/// A value of a row, as the database has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// A whole number; in SQLite also yes and no.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// A text; in SQLite also a moment.
    Text(String),
    /// Bytes; in SQLite also a uuid.
    Bytes(Vec<u8>),
    /// A moment, milliseconds since 1970 UTC.
    Ms(i64),
    /// A uuid.
    Uuid([u8; 16]),
}

/// A row of a query, read column by column.
#[derive(Debug)]
pub struct Record(IntoIter<Cell>);

impl Record {
    /// A row of these values.
    #[must_use]
    pub fn new(cells: Vec<Cell>) -> Self {
        Self(cells.into_iter())
    }

    /// The next column's value.
    ///
    /// # Errors
    /// [`StoreError::Fault`] when it is of another kind: the ledger was altered by hand.
    pub fn column<T: FromCell>(&mut self) -> Result<T, StoreError> {
        let cell = self.0.next().expect("BUG: a row is read no further than its query's columns");
        T::from_cell(cell).map_err(|cell| {
            StoreError::Fault(format!("the ledger has {cell:?} where {} belongs", std::any::type_name::<T>()))
        })
    }
}

impl Record {
    /// The next column's number of a station; `None` where it is NULL, or none.
    ///
    /// # Errors
    /// As [`Record::column`].
    pub fn station(&mut self) -> Result<Option<StationNumber>, StoreError> {
        let number = self.column::<Option<i64>>()?.and_then(|number| u32::try_from(number).ok());
        Ok(number.and_then(|number| StationNumber::new(number).ok()))
    }
}

/// A moment, milliseconds since 1970 UTC.
#[derive(Debug, Clone, Copy)]
pub struct Ms(pub i64);

/// A kind of value that a column may have.
pub trait FromCell: Sized {
    /// The value of a cell; the cell, if it is of another kind.
    ///
    /// # Errors
    /// The cell.
    fn from_cell(cell: Cell) -> Result<Self, Cell>;
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        if cell == Cell::Null { Ok(None) } else { T::from_cell(cell).map(Some) }
    }
}

impl FromCell for i64 {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        if let Cell::Int(int) = cell { Ok(int) } else { Err(cell) }
    }
}

impl FromCell for u64 {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        i64::from_cell(cell).map(i64::unsigned_abs)
    }
}

impl FromCell for u32 {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        match cell {
            Cell::Int(int) => Self::try_from(int).map_err(|_| cell),
            _ => Err(cell),
        }
    }
}

impl FromCell for bool {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        match cell {
            Cell::Bool(yes) => Ok(yes),
            Cell::Int(int) => Ok(int != 0),
            _ => Err(cell),
        }
    }
}

impl FromCell for String {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        if let Cell::Text(text) = cell { Ok(text) } else { Err(cell) }
    }
}

impl FromCell for Vec<u8> {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        if let Cell::Bytes(bytes) = cell { Ok(bytes) } else { Err(cell) }
    }
}

impl FromCell for [u8; 32] {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        match &cell {
            Cell::Bytes(bytes) => bytes.as_slice().try_into().map_err(|_| cell),
            _ => Err(cell),
        }
    }
}

impl FromCell for [u8; 16] {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        match &cell {
            Cell::Uuid(uuid) => Ok(*uuid),
            Cell::Bytes(bytes) => bytes.as_slice().try_into().map_err(|_| cell),
            _ => Err(cell),
        }
    }
}

impl FromCell for Chain {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        <[u8; 32]>::from_cell(cell).map(Self)
    }
}

impl FromCell for Ms {
    fn from_cell(cell: Cell) -> Result<Self, Cell> {
        match &cell {
            Cell::Ms(ms) => Ok(Self(*ms)),
            // A time that was altered by hand is the oldest: one odd row keeps no other from being read.
            Cell::Text(text) => Ok(Self(timestamp::parse(text.as_bytes()).map_or(0, |us| us.div_euclid(1000)))),
            _ => Err(cell),
        }
    }
}
