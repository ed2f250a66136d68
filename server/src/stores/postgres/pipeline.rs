//! Requests of a transaction on their way to the database and back.
//!
//! The driver sends a request when its future is first polled, and the database answers one after the other. So what
//! nothing here depends on is sent and not waited for ([`Pipeline::send`]): a savepoint, the note of a day, the move of
//! a cursor. Its outcome is *unseen* until the next answer that is waited for, and is looked at before that one
//! ([`Pipeline::told`]). A request that fails makes PostgreSQL refuse all that follow it in the transaction, so of
//! several errors the first one is the one that matters.

use std::collections::VecDeque;
use std::future::{Future, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use futures_util::future::BoxFuture;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, RowStream, Statement};

use super::prepared::{Prepared, Use};

/// A request that was sent, until it is answered.
pub(super) type Sent<'c, T> = BoxFuture<'c, Result<T, Error>>;

const BEGIN: &str = "BEGIN";
/// Ends a transaction, and makes it durable.
pub(super) const COMMIT: &str = "COMMIT";

/// A parameter with its type.
pub(super) type Typed<'p> = (&'p (dyn ToSql + Sync), Type);

/// Sends a request, and does not wait for its answer.
pub(super) async fn sent<'c, T: Send + 'c>(mut asked: Sent<'c, T>) -> Sent<'c, T> {
    match begun(asked.as_mut()).await {
        Poll::Ready(answer) => Box::pin(ready(answer)),
        Poll::Pending => asked,
    }
}

/// Polls a request for the first time, which sends it.
async fn begun<F: Future + ?Sized>(mut asked: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(asked.as_mut().poll(context))).await
}

/// The requests of a transaction.
pub(super) struct Pipeline<'c> {
    pub(super) client: &'c Client,
    prepared: &'c Prepared,
    /// How the connection's statements are used by this transaction.
    using: Use,
    /// Sent and not looked at, in order, each with the table that it writes, if it is one of the schema's.
    unseen: Mutex<VecDeque<(Option<usize>, Sent<'c, ()>)>>,
    /// The table whose rows were sent and not looked at, and failed.
    failed_table: Mutex<Option<usize>>,
    /// A request failed, and the transaction did not go back to before it: nothing of it can be committed.
    has_failed: AtomicBool,
    /// PostgreSQL refused what it says of a statement that is of an old schema or not there any more.
    met_older: AtomicBool,
}

impl<'c> Pipeline<'c> {
    pub(super) fn new(client: &'c Client, prepared: &'c Prepared) -> Self {
        let [has_failed, met_older] = [false; 2].map(AtomicBool::new);
        let (unseen, failed_table) = (Mutex::default(), Mutex::default());
        Self { client, prepared, using: prepared.begin(), unseen, failed_table, has_failed, met_older }
    }

    /// Begins the transaction, and does not wait for it: a BEGIN and a SELECT that makes the settings. The first on a
    /// connection is one text; then both are prepared.
    pub(super) async fn begin(&self, settings: &str) -> Sent<'c, ()> {
        let (client, prepared, by) = (self.client, self.prepared, self.using.transaction());
        let known = prepared.find(&self.using, BEGIN, &[]).zip(prepared.find(&self.using, settings, &[]));
        if let Some((begin, set)) = known {
            let begun = sent(Box::pin(async move { client.execute(&begin, &[]).await })).await;
            let set = sent(Box::pin(async move { client.execute(&set, &[]).await })).await;
            return Box::pin(async move {
                begun.await?;
                set.await.map(|_| ())
            });
        }
        let settings = settings.to_owned();
        sent(Box::pin(async move {
            client.batch_execute(&format!("{BEGIN}; {settings}")).await?;
            for sql in [BEGIN, COMMIT, &settings] {
                prepared.keep(by, sql, &client.prepare_typed(sql, &[]).await?);
            }
            Ok(())
        }))
        .await
    }

    fn next_unseen(&self) -> Option<(Option<usize>, Sent<'c, ()>)> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Notes a failure.
    pub(super) fn noted<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &answer {
            self.has_failed.store(true, Ordering::Relaxed);
            let is_older = self.using.has_used_older() && is_of_older_statement(error);
            self.met_older.fetch_or(is_older, Ordering::Relaxed);
            // Refused because of this one.
            self.forget_unseen();
        }
        answer
    }

    /// Whether a request failed, and the transaction did not go back to before it.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// The transaction goes back to before what failed. What was not looked at yet may have failed as well.
    pub(super) fn goes_back(&self) {
        *self.failed_table.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if self.unseen.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.has_failed.store(false, Ordering::Relaxed);
        }
    }

    /// The table whose rows were sent and not looked at, and failed.
    pub(super) fn failed_table(&self) -> Option<usize> {
        *self.failed_table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a statement may have failed because an earlier transaction prepared it, before a table was altered.
    pub(super) fn met_older_statement(&self) -> bool {
        self.met_older.load(Ordering::Relaxed)
    }

    /// Lets all that was not looked at be answered unheard.
    pub(super) fn forget_unseen(&self) {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Sends a request and waits for nothing. Only for what cannot fail by the rows that are written, or may fail as
    /// well a little later.
    pub(super) async fn send(&self, asked: impl Future<Output = Result<(), Error>> + Send + 'c) {
        self.send_to(None, asked).await;
    }

    /// The same of a request that writes rows of a table of the schema.
    pub(super) async fn send_to(
        &self,
        table: Option<usize>,
        asked: impl Future<Output = Result<(), Error>> + Send + 'c,
    ) {
        let mut asked: Sent<'c, ()> = Box::pin(asked);
        if let Poll::Ready(answer) = begun(asked.as_mut()).await {
            // It was not sent, so the database knows of no failure: it would take a COMMIT.
            self.has_failed.fetch_or(answer.is_err(), Ordering::Relaxed);
            asked = Box::pin(ready(answer));
        }
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).push_back((table, asked));
    }

    /// One statement that is always the same, sent and not waited for. From the second time on it is prepared, which is
    /// not waited for either.
    pub(super) async fn send_fixed(&self, sql: &'static str) {
        let (client, prepared) = (self.client, self.prepared);
        if let Some(statement) = self.known(sql, &[]) {
            self.send(async move { client.execute(&statement, &[]).await.map(|_| ()) }).await;
            return;
        }
        let by = self.using.transaction();
        let prepare = async move {
            let statement = client.prepare_typed(sql, &[]).await?;
            prepared.keep(by, sql, &statement);
            Ok(())
        };
        self.send(prepare).await;
        self.send(client.batch_execute(sql)).await;
    }

    /// Statements that are sent and not waited for.
    pub(super) async fn send_sql(&self, sql: String) {
        let client = self.client;
        self.send(async move { client.batch_execute(&sql).await }).await;
    }

    /// Waits until all that was sent is answered, and has succeeded.
    pub(super) async fn done(&self) -> Result<(), Error> {
        while let Some((table, asked)) = self.next_unseen() {
            let answer = asked.await;
            if answer.is_err() {
                *self.failed_table.lock().unwrap_or_else(PoisonError::into_inner) = table;
            }
            self.noted(answer)?;
        }
        Ok(())
    }

    /// Sends a request and waits for its answer, behind those of all that was sent before.
    ///
    /// # Errors
    /// The first of those that failed.
    pub(super) async fn told<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut asked = pin!(asked);
        let at_once = begun(asked.as_mut()).await;
        self.done().await?;
        self.noted(match at_once {
            Poll::Ready(answer) => answer,
            Poll::Pending => asked.await,
        })
    }

    /// A statement by which the connection knows `key`, prepared once: by the first transaction that asks for it.
    /// `text` writes it for PostgreSQL.
    pub(super) async fn statement(
        &self,
        key: &str,
        text: impl FnOnce() -> String,
        types: &[Type],
    ) -> Result<Statement, Error> {
        if let Some(statement) = self.known(key, types) {
            return Ok(statement);
        }
        let statement = self.told(self.client.prepare_typed(&text(), types)).await?;
        self.prepared.keep(self.using.transaction(), key, &statement);
        Ok(statement)
    }

    /// A statement that the connection has prepared already.
    pub(super) fn known(&self, key: &str, types: &[Type]) -> Option<Statement> {
        self.prepared.find(&self.using, key, types)
    }

    /// A prepared statement; how many rows it wrote.
    pub(super) async fn execute(&self, sql: &str, parameters: &[Typed<'_>]) -> Result<u64, Error> {
        let (values, types) = apart(parameters);
        let statement = self.statement(sql, || sql.to_owned(), &types).await?;
        self.told(self.client.execute(&statement, &values)).await
    }

    /// A query that is not worth preparing.
    pub(super) async fn query_once(&self, sql: &str, parameters: &[Typed<'_>]) -> Result<Vec<Row>, Error> {
        self.told(self.client.query_typed(sql, parameters)).await
    }

    /// A query that is not worth preparing, whose rows are taken one by one. All before it is waited for.
    pub(super) async fn rows_once<'p>(
        &self,
        sql: &str,
        parameters: impl ExactSizeIterator<Item = Typed<'p>>,
    ) -> Result<RowStream, Error> {
        self.done().await?;
        self.noted(self.client.query_typed_raw(sql, parameters).await)
    }

    /// A statement that is not worth preparing; how many rows it wrote.
    pub(super) async fn execute_once(&self, sql: &str, parameters: &[Typed<'_>]) -> Result<u64, Error> {
        self.told(self.client.execute_typed(sql, parameters)).await
    }
}

/// Whether PostgreSQL refused a statement because it was prepared before a table was altered, or is not there any more.
/// Much else is a feature that is not supported, a trigger's exception for one: where it was raised tells them apart.
fn is_of_older_statement(error: &Error) -> bool {
    match error.as_db_error() {
        Some(refused) if *refused.code() == SqlState::FEATURE_NOT_SUPPORTED => {
            refused.routine() == Some("RevalidateCachedQuery")
        }
        Some(refused) => *refused.code() == SqlState::INVALID_SQL_STATEMENT_NAME,
        None => false,
    }
}

/// Parameters, and their types.
fn apart<'p>(parameters: &[Typed<'p>]) -> (Vec<&'p (dyn ToSql + Sync)>, Vec<Type>) {
    parameters.iter().map(|(value, ty)| (*value, ty.clone())).unzip()
}
