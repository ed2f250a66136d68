//! The ledger in SQL, once for every store that speaks it.
//!
//! Each statement is written for both databases; [`dialect`] turns it into the words of one of them. A store brings
//! [`Sql`]: it runs a statement on whatever connection it has, within a transaction or without.

mod batches;
mod cursors;
pub mod dialect;
mod fleet;
mod lineage;
mod operators;
mod readers;
mod rejects;
mod schemas;
mod stations;
pub mod value;

use async_trait::async_trait;

pub use self::dialect::{Dialect, Each};
use self::value::FromCell;
pub use self::value::{Cell, Param, Record};
use crate::upstream::error::StoreError;

/// Runs statements of the ledger.
#[async_trait]
pub trait Sql: Send {
    /// Runs a query.
    async fn query(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Record>, StoreError>;
    /// Runs a statement; returns how many rows it wrote.
    async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, StoreError>;
    /// Runs queries one after the other, each with a snapshot of its own. A store may send them together.
    ///
    /// # Errors
    /// That of the first one that fails, and its place.
    async fn query_all(
        &mut self,
        asked: Vec<(&'static str, Vec<Param>)>,
    ) -> Result<Vec<Vec<Record>>, (usize, StoreError)> {
        let mut all = Vec::with_capacity(asked.len());
        for (at, (sql, params)) in asked.into_iter().enumerate() {
            all.push(self.query(sql, params).await.map_err(|error| (at, error))?);
        }
        Ok(all)
    }
    /// Runs a statement on whose outcome nothing depends before the transaction's end. A store may say only then that
    /// it failed; nothing of the transaction remains all the same.
    async fn send(&mut self, sql: &str, params: Vec<Param>) -> Result<(), StoreError> {
        self.execute(sql, params).await?;
        Ok(())
    }
    /// Runs a statement over rows of values, after `params` that all of them share.
    async fn execute_each(&mut self, each: &Each, params: Vec<Param>, rows: Vec<Vec<Param>>) -> Result<(), StoreError>;
    /// Locks a table of the ledger against other writers until the transaction ends.
    async fn lock_table(&mut self, table: &str) -> Result<(), StoreError>;
}

/// The first row of a query, read.
async fn first<T>(
    sql: &mut (impl Sql + ?Sized),
    text: &str,
    params: Vec<Param>,
    read: impl FnOnce(Record) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    sql.query(text, params).await?.into_iter().next().map(read).transpose()
}

/// The one value of the first row of a query.
async fn value<T: FromCell>(
    sql: &mut (impl Sql + ?Sized),
    text: &str,
    params: Vec<Param>,
) -> Result<Option<T>, StoreError> {
    first(sql, text, params, |mut record| record.column()).await
}
