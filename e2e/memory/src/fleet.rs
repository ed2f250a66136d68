//! What operators see, in memory: the contacts of stations. Nobody operates on memory, so there is nothing else.

use async_trait::async_trait;
use tidemark_core::ids::StationNumber;
use tidemark_server::ledger::fleet::{BackupMade, Contact, FleetLedger, Ingested, Pushed};
use tidemark_server::ledger::operators::{Act, ActFilter, NewAct, Operator, OperatorLedger};
use tidemark_server::upstream::StoreError;

use super::books::{Access, Books};

#[async_trait]
impl<A: Access> FleetLedger for Books<A> {
    async fn note_contacts(&mut self, contacts: &[Contact]) -> Result<(), StoreError> {
        self.0.with(|session| {
            for contact in contacts {
                let kept = session.state.contacts.entry(contact.station.get()).or_insert_with(|| contact.clone());
                kept.merge(contact.clone());
            }
        });
        Ok(())
    }

    async fn contacts(&mut self, station: Option<StationNumber>) -> Result<Vec<Contact>, StoreError> {
        let wanted = |contact: &&Contact| station.is_none_or(|station| contact.station == station);
        Ok(self.0.with(|session| session.state.contacts.values().filter(wanted).cloned().collect()))
    }

    async fn note_pushes(&mut self, _: &[Pushed]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn pushes(&mut self, _: StationNumber, _: u32) -> Result<Vec<Pushed>, StoreError> {
        Ok(Vec::new())
    }

    async fn note_ingested(&mut self, _: &[Ingested]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ingested(&mut self, _: i64, _: u32) -> Result<Vec<Ingested>, StoreError> {
        Ok(Vec::new())
    }

    async fn thin_pushes(&mut self, _: StationNumber, _: u32, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn thin_ingested(&mut self, _: i64) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn note_backup(&mut self, _: &BackupMade) -> Result<(), StoreError> {
        Ok(())
    }

    async fn last_backup(&mut self, _: i64) -> Result<Option<BackupMade>, StoreError> {
        Ok(None)
    }

    async fn last_restored_backup(&mut self) -> Result<Option<BackupMade>, StoreError> {
        Ok(None)
    }
}

#[async_trait]
impl<A: Access> OperatorLedger for Books<A> {
    async fn add_operator(&mut self, _: &str, _: [u8; 32], _: i64) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn revoke_operator(&mut self, _: &str, _: i64) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn operators(&mut self) -> Result<Vec<Operator>, StoreError> {
        Ok(Vec::new())
    }

    async fn has_operators(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn operator_by_token(&mut self, _: [u8; 32]) -> Result<Option<Operator>, StoreError> {
        Ok(None)
    }

    async fn begin_session(&mut self, _: &str, _: [u8; 32], _: i64, _: i64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn operator_by_session(&mut self, _: [u8; 32], _: i64) -> Result<Option<Operator>, StoreError> {
        Ok(None)
    }

    async fn end_session(&mut self, _: [u8; 32]) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn note_act(&mut self, _: &NewAct) -> Result<(), StoreError> {
        Ok(())
    }

    async fn acts(&mut self, _: &ActFilter) -> Result<Vec<Act>, StoreError> {
        Ok(Vec::new())
    }
}
