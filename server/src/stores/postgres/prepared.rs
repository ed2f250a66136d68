//! The statements that a connection has prepared: PostgreSQL parses each once, not once for every batch.
//!
//! PostgreSQL plans a prepared statement anew when a table that it names was altered, and refuses it when its columns
//! have other types now. A connection has it until it ends; [`Use`] tells what an earlier transaction prepared, so that
//! a refusal may be such a statement's fault, from what this one did.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::Statement;
use tokio_postgres::types::Type;

/// More are not kept: then all are forgotten, and those in use are prepared again.
const STATEMENTS_MAX: usize = 200;

/// The prepared statements of a connection.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    kept: Mutex<HashMap<String, Kept>>,
    transactions: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    statement: Statement,
    /// The number of the transaction that prepared it.
    by: u64,
}

/// The statements' use by one transaction.
#[derive(Debug)]
pub(super) struct Use {
    transaction: u64,
    has_used_older: AtomicBool,
}

impl Use {
    /// The number of the transaction, by which it keeps what it prepares.
    pub(super) const fn transaction(&self) -> u64 {
        self.transaction
    }

    /// Whether it has used a statement that an earlier transaction prepared.
    pub(super) fn has_used_older(&self) -> bool {
        self.has_used_older.load(Ordering::Relaxed)
    }
}

impl Prepared {
    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction begins.
    pub(super) fn begin(&self) -> Use {
        let transaction = self.transactions.fetch_add(1, Ordering::Relaxed);
        Use { transaction, has_used_older: AtomicBool::new(false) }
    }

    /// The statement that is known by `key` and takes parameters of these types.
    pub(super) fn find(&self, using: &Use, key: &str, types: &[Type]) -> Option<Statement> {
        let kept = self.kept();
        let found = kept.get(key).filter(|kept| kept.statement.params() == types)?;
        if found.by != using.transaction {
            using.has_used_older.store(true, Ordering::Relaxed);
        }
        Some(found.statement.clone())
    }

    /// Keeps a statement that the transaction with this number prepared.
    pub(super) fn keep(&self, by: u64, key: &str, statement: &Statement) {
        let mut kept = self.kept();
        if kept.len() >= STATEMENTS_MAX {
            kept.clear();
        }
        kept.insert(key.to_owned(), Kept { statement: statement.clone(), by });
    }
}
