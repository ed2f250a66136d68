//! The ledger in memory: within a transaction, or every call alone.

use async_trait::async_trait;
use tidemark_core::ids::StationNumber;
use tidemark_server::ledger::batches::Opened;
use tidemark_server::ledger::{BatchLedger, CursorLedger as _, LineageLedger as _};
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

#[async_trait]
impl<A: Access> BatchLedger for Books<A> {
    async fn open_batch(&mut self, station: StationNumber) -> Result<Option<Opened>, StoreError> {
        let Some(cursor) = self.lock_cursor(station).await? else { return Ok(None) };
        let lineage = self.lineage(station).await?;
        let has_open = |session: &mut Session<'_>| {
            lineage.owned().any(|number| session.state.open_rejects(number).next().is_some())
        };
        let has_open_rejects = self.0.with(has_open);
        Ok(Some(Opened { cursor, lineage, has_open_rejects }))
    }
}
