//! The ledger in memory: within a transaction, or every call alone.

use tidemark_server::ledger::BatchLedger;
use tidemark_server::upstream::StoreError;

use super::memory::MemoryUpstream;
use super::state::{Moment, Session};

/// A way to the state.
pub(crate) trait Access: Send {
    /// Fails where a question outside of a transaction is to fail.
    fn read(&self) -> Result<(), StoreError>;
    /// Works on the state.
    fn with<R>(&mut self, act: impl FnOnce(&mut Session<'_>) -> R) -> R;
}

impl Access for Session<'_> {
    fn read(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Session<'_>) -> R) -> R {
        act(self)
    }
}

/// The store, for calls that stand alone.
pub(crate) struct Alone<'u>(pub(crate) &'u MemoryUpstream);

impl Access for Alone<'_> {
    fn read(&self) -> Result<(), StoreError> {
        self.0.at(Moment::Read)
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Session<'_>) -> R) -> R {
        let mut state = self.0.state();
        let mut session = self.0.session(&mut state);
        let done = act(&mut session);
        session.commit();
        done
    }
}

/// The ledger over a way to the state.
pub(crate) struct Books<A>(pub(crate) A);

impl<A: Access> BatchLedger for Books<A> {}
