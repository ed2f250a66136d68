//! The one task that writes what was heard, every two seconds, a bounded number of rows at a time. No batch waits for
//! it and none fails by it: while the database is away, what was heard waits in memory, within bounds.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::Fleet;
use crate::upstream::Upstream;
use crate::upstream::error::StoreError;

/// Between two writes.
const EVERY: Duration = Duration::from_secs(2);
/// Most contacts of one write.
const CONTACTS_MAX: usize = 1_000;

impl Fleet {
    /// Writes what was heard and is not written yet.
    ///
    /// # Errors
    /// When the store fails; it is still to be written then.
    pub async fn write(&self, upstream: &dyn Upstream) -> Result<(), StoreError> {
        loop {
            let contacts = self.contacts.take(CONTACTS_MAX);
            if contacts.is_empty() {
                break;
            }
            if let Err(error) = upstream.ledger().note_contacts(&contacts).await {
                self.contacts.put_back(contacts);
                return Err(error);
            }
        }
        let rows = self.pushes.take_rows();
        if let Err(error) = upstream.ledger().note_pushes(&rows).await {
            self.pushes.put_back_rows(rows);
            return Err(error);
        }
        let minutes = self.pushes.take_minutes();
        if let Err(error) = upstream.ledger().note_ingested(&minutes).await {
            self.pushes.put_back_minutes(minutes);
            return Err(error);
        }
        Ok(())
    }
}

/// Writes every two seconds what was heard.
pub(crate) fn start(fleet: &Arc<Fleet>, upstream: &Arc<dyn Upstream>) -> JoinHandle<()> {
    let (fleet, upstream) = (Arc::clone(fleet), Arc::clone(upstream));
    tokio::spawn(async move {
        let mut failing = false;
        loop {
            tokio::time::sleep(EVERY).await;
            match fleet.write(upstream.as_ref()).await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!("what operators see of the stations cannot be written now: {error}");
                }
                Err(_) => {}
            }
        }
    })
}
