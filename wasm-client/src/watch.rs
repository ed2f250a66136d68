//! Observation of statements through SQLite: which tables a commit changed, which a statement reads; and what a page's
//! statements may not do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Tidemark's own tables.
const OWN_PREFIX: &str = "tidemark_";
/// Settings on which rests that what is committed is on the disk, and that one connection has the file.
const FIXED_PRAGMAS: [&str; 4] = ["journal_mode", "locking_mode", "synchronous", "writable_schema"];

#[derive(Debug, Default)]
struct State {
    /// Tables changed in the transaction that is open.
    changing: Vec<String>,
    /// Tables changed by commits.
    changed: Vec<String>,
    /// Tables read by the statement that is being prepared, while somebody asks.
    read: Option<Vec<String>>,
    /// The statement that is being prepared is a page's.
    guarded: bool,
    /// Why it was refused.
    refused: Option<&'static str>,
}

/// Watches one connection.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<State>>);

fn note(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// SQLite's.
    pub fn install(db: &mut Connection) -> rusqlite::Result<Self> {
        let watch = Self::default();
        let of = watch.clone();
        db.update_hook(Some(move |_, _: &str, table: &str, _| {
            if !table.starts_with(OWN_PREFIX) {
                note(&mut of.state().changing, table);
            }
        }))?;
        let of = watch.clone();
        db.commit_hook(Some(move || {
            let mut state = of.state();
            let State { changing, changed, .. } = &mut *state;
            changing.drain(..).for_each(|table| note(changed, &table));
            false
        }))?;
        let of = watch.clone();
        db.authorizer(Some(move |context: AuthContext<'_>| of.authorize(&context)))?;
        Ok(watch)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        let mut state = self.state();
        if let (Some(read), AuthAction::Read { table_name, .. }) = (&mut state.read, context.action) {
            note(read, table_name);
        }
        if !state.guarded {
            return Authorization::Allow;
        }
        match refusal(context) {
            None => Authorization::Allow,
            Some(why) => {
                state.refused = Some(why);
                Authorization::Deny
            }
        }
    }

    /// Runs `prepare`, in which a statement of the page is prepared; tells why it was refused, if it was.
    pub fn guarding<T>(&self, prepare: impl FnOnce() -> T) -> (T, Option<&'static str>) {
        self.state().guarded = true;
        let done = prepare();
        let mut state = self.state();
        state.guarded = false;
        (done, state.refused.take())
    }

    /// Runs `prepare`, and tells which tables the statements it prepares read.
    pub fn reading<T>(&self, prepare: impl FnOnce() -> T) -> (T, Vec<String>) {
        self.state().read = Some(Vec::new());
        let done = prepare();
        (done, self.state().read.take().unwrap_or_default())
    }

    /// No transaction is open: what was changed and not committed was rolled back. (SQLite would tell, but also while
    /// it closes, when nobody can be told any more.)
    pub fn forget_uncommitted(&self) {
        self.state().changing.clear();
    }

    /// Takes the tables changed by commits since the last call.
    #[must_use]
    pub fn take_changed(&self) -> Vec<String> {
        std::mem::take(&mut self.state().changed)
    }
}

/// Why a page's statement may not do this.
fn refusal(context: &AuthContext<'_>) -> Option<&'static str> {
    // What a trigger does was authorised when it was made.
    let own = |table: &str| context.accessor.is_none() && table.starts_with(OWN_PREFIX);
    match context.action {
        AuthAction::Transaction { .. } => Some("transactions are begun and ended by transaction(fn)"),
        AuthAction::Savepoint { .. } => Some("savepoints are not for statements of a page; use transaction(fn)"),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            Some("other databases cannot be attached in a browser")
        }
        AuthAction::Pragma { pragma_name, pragma_value: Some(_) }
            if FIXED_PRAGMAS.iter().any(|fixed| pragma_name.eq_ignore_ascii_case(fixed)) =>
        {
            Some("this setting is what makes commits durable, and is fixed")
        }
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::AlterTable { table_name, .. }
            if own(table_name) =>
        {
            Some("the tables whose names begin with tidemark_ are Tidemark's own: read them, but do not change them")
        }
        _ => None,
    }
}
