//! Rows in memory, within a transaction.

use std::collections::BTreeSet;

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::digest::RowHash;
use tidemark_core::identity::Key;
use tidemark_core::value::{Value, ValueRef};
use tidemark_server::ingest::resolve::identity_of;
use tidemark_server::ledger::lineage::Lineage;
use tidemark_server::upstream::rows::one_by_one;
use tidemark_server::upstream::writes::Isolated;
use tidemark_server::upstream::{ColumnAt, Facts, Questions, Rows, Step, StoreError, TableWrites};

use super::books::Books;
use super::state::{Moment, Session, StoredRow};

#[async_trait]
impl Rows for Books<Session<'_>> {
    async fn facts(&mut self, lineage: &Lineage, questions: &Questions) -> Result<Facts, StoreError> {
        self.0.at(Moment::Facts)?;
        let mut facts = Facts::default();
        for (&table, keys) in &questions.present {
            for (identity, _) in self.0.with_keys(table, keys) {
                facts.present.entry((table, identity.key)).or_default().insert(identity.time_us);
            }
        }
        for (&table, keys) in &questions.foreign {
            for (identity, row) in self.0.with_keys(table, keys).filter(|(_, row)| !lineage.owns(row.station)) {
                facts.foreign.insert((table, identity.key), row.station);
            }
        }
        for (&at, keys) in &questions.children {
            for row in self.0.state.rows[at.table].values() {
                if let Some(key) = Key::of(row.values[at.column].as_ref()).filter(|key| keys.contains(key)) {
                    *facts.children.entry((at, key)).or_default() += 1;
                }
            }
        }
        for (&table, keys) in &questions.holders {
            for column in questions.holder_columns(table) {
                let at = ColumnAt { table, column };
                for (identity, row) in self.0.with_keys(table, keys) {
                    facts.holders.insert((at, identity.key), Key::of(row.values[column].as_ref()));
                }
            }
        }
        for (&table, keys) in &questions.appended {
            let keys: BTreeSet<Key> = keys.iter().map(|row| row.key).collect();
            let name = &self.0.schema.tables()[table].name;
            for (identity, row) in self.0.with_keys(table, &keys) {
                let hash = RowHash::of(&mut Vec::new(), name, row.values.iter().map(Value::as_ref));
                facts.appended.insert((table, identity.key), hash);
            }
        }
        Ok(facts)
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.0.mark();
        Ok(())
    }

    async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.0.back_to_mark();
        Ok(())
    }

    async fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.0.drop_mark();
        Ok(())
    }

    async fn write(&mut self, lineage: &Lineage, groups: &[Group], writes: &[TableWrites]) -> Result<(), StoreError> {
        self.0.at(Moment::Write)?;
        self.0.use_statement()?;
        for write in writes {
            let table = &self.0.schema.tables()[write.table];
            for at in write.fresh.iter().chain(&write.upserts) {
                let group = &groups[at.group as usize];
                let identity = identity_of(table, group, at.row as usize).expect("BUG: a planned row has an identity");
                let values: Vec<Value> = group.row(at.row as usize).map(ValueRef::to_owned).collect();
                self.0.try_row(write.table, identity, Some(&values))?;
                if let Some(constraint) = self.0.constraint {
                    constraint(table, &values).map_err(StoreError::Violation)?;
                }
                if self.0.state.rows[write.table].get(&identity).is_some_and(|row| !lineage.owns(row.station)) {
                    return Err(StoreError::Violation("the row belongs to another station".to_owned()));
                }
                self.0.set_row(write.table, identity, Some(StoredRow { station: lineage.station.get(), values }));
            }
        }
        for write in writes.iter().rev() {
            for identity in &write.deletes {
                self.0.try_row(write.table, *identity, None)?;
                if self.0.state.rows[write.table].get(identity).is_some_and(|row| lineage.owns(row.station)) {
                    self.0.set_row(write.table, *identity, None);
                }
            }
        }
        Ok(())
    }

    async fn write_each(
        &mut self,
        lineage: &Lineage,
        groups: &[Group],
        steps: &[Step],
    ) -> Result<Isolated, StoreError> {
        let schema = self.0.schema;
        one_by_one(self, schema, lineage, groups, steps).await
    }
}
