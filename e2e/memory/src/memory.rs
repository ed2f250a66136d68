//! The store, as tests make one and look into it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemark_core::identity::Identity;
use tidemark_core::schema::Schema;
use tidemark_server::ledger::rejects::Reject;
use tidemark_server::ledger::schemas::KnownSchema;
use tidemark_server::upstream::{StoreError, Upstream};

use super::state::{Constraint, Faults, Moment, Prepared, Session, State, StoredRow, Trial};

/// The contents of the store.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// The rows of every table, by the table's number.
    pub rows: &'a [BTreeMap<Identity, StoredRow>],
    /// The rejected changes, by station and seq.
    pub rejects: &'a BTreeMap<(u32, u64), Reject>,
}

/// The store.
#[derive(Clone)]
pub struct MemoryUpstream {
    pub(crate) schema: Arc<Schema>,
    state: Arc<Mutex<State>>,
    prepared: Arc<Mutex<Prepared>>,
    constraint: Option<Constraint>,
    faults: Option<Faults>,
    trial: Option<Trial>,
}

impl MemoryUpstream {
    /// An empty one.
    #[must_use]
    pub fn new(schema: Arc<Schema>) -> Self {
        let known = vec![KnownSchema { fingerprint: schema.fingerprint().to_hex(), toml: schema.source().to_owned() }];
        let rows = schema.tables().iter().map(|_| BTreeMap::new()).collect();
        let state = State { rows, known, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        Self { schema, state, prepared: Arc::default(), constraint: None, faults: None, trial: None }
    }

    /// Adds an older schema whose batches it takes.
    #[must_use]
    pub fn knowing(self, older: &Schema) -> Self {
        self.state()
            .known
            .push(KnownSchema { fingerprint: older.fingerprint().to_hex(), toml: older.source().to_owned() });
        self
    }

    /// Adds a constraint beyond the schema.
    #[must_use]
    pub fn with_constraint(mut self, constraint: Constraint) -> Self {
        self.constraint = Some(constraint);
        self
    }

    /// Adds limits and triggers.
    #[must_use]
    pub fn with_trial(mut self, trial: Trial) -> Self {
        self.trial = Some(trial);
        self
    }

    /// Adds failures.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// The same store over a connection of its own, as another server has it.
    #[must_use]
    pub fn over_another_connection(&self) -> Self {
        Self { prepared: Arc::default(), ..self.clone() }
    }

    /// Somebody alters tables, so that statements which were prepared before are refused.
    pub fn alter_tables(&self) {
        self.state().alterations += 1;
    }

    /// Looks at everything there is. `look` must not call the store.
    pub fn inspect<R>(&self, look: impl FnOnce(Contents<'_>) -> R) -> R {
        let state = self.state();
        look(Contents { rows: &state.rows, rejects: &state.rejects })
    }

    /// Every row of a table.
    #[must_use]
    pub fn rows(&self, table: usize) -> Vec<StoredRow> {
        self.state().rows.get(table).map(|rows| rows.values().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn prepared(&self) -> MutexGuard<'_, Prepared> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn at(&self, moment: Moment) -> Result<(), StoreError> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults(moment))
    }

    pub(crate) fn session<'s>(&'s self, state: &'s mut State) -> Session<'s> {
        let (constraint, faults) = (self.constraint.as_deref(), self.faults.as_deref());
        Session::new(&self.schema, state, constraint, faults, self.trial.as_deref())
    }

    /// The store as the server sees it.
    #[must_use]
    pub fn upstream(&self) -> &dyn Upstream {
        self
    }
}
