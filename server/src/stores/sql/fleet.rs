//! What the ledger keeps for those who look at the stations, in SQL.

use async_trait::async_trait;
use tidemark_core::ids::StationNumber;

use super::value::{Ms, params};
use super::{Each, Param, Record, Sql, first};
use crate::ledger::fleet::{BackupMade, Contact, FleetLedger, Ingested, Pushed, Reported};
use crate::upstream::error::StoreError;

/// Backups that are remembered.
const BACKUPS_KEPT: i64 = 100;

macro_rules! newer {
    ($($column:literal),*) => {
        concat!($(
            ", ", $column, " = CASE WHEN EXCLUDED.reported_at IS NOT NULL AND (c.reported_at IS NULL OR EXCLUDED.reported_at >= \
             c.reported_at) THEN EXCLUDED.", $column, " ELSE c.", $column, " END"
        ),*)
    };
}

const NOTE_CONTACTS: Each = Each {
    sql: concat!(
        "INSERT INTO tidemark.contact AS c (station, contact_at, reported_at, pending, oldest_ms, free_disk_bytes,
             client_version, schema_version, clock_offset_ms)
         SELECT * FROM {rows} WHERE true
         ON CONFLICT (station) DO UPDATE SET
             contact_at = CASE WHEN EXCLUDED.contact_at > c.contact_at THEN EXCLUDED.contact_at ELSE c.contact_at END",
        newer!(
            "reported_at",
            "pending",
            "oldest_ms",
            "free_disk_bytes",
            "client_version",
            "schema_version",
            "clock_offset_ms"
        )
    ),
    alias: "n",
    columns: &[
        ("station", "integer"),
        ("contact_at", "timestamptz"),
        ("reported_at", "timestamptz"),
        ("pending", "bigint"),
        ("oldest_ms", "bigint"),
        ("free_disk_bytes", "bigint"),
        ("client_version", "text"),
        ("schema_version", "bigint"),
        ("clock_offset_ms", "bigint"),
    ],
};

const NOTE_PUSHES: Each = Each {
    sql: "INSERT INTO tidemark.pushes (station, at, first_seq, last_seq, applied, rejected, bytes, ms)
          SELECT * FROM {rows}",
    alias: "n",
    columns: &[
        ("station", "integer"),
        ("at", "timestamptz"),
        ("first_seq", "bigint"),
        ("last_seq", "bigint"),
        ("applied", "bigint"),
        ("rejected", "bigint"),
        ("bytes", "bigint"),
        ("ms", "bigint"),
    ],
};

const NOTE_INGESTED: Each = Each {
    sql: "INSERT INTO tidemark.ingest AS i (minute, batches, changes, rejected, bytes) SELECT * FROM {rows} WHERE true
          ON CONFLICT (minute) DO UPDATE SET batches = i.batches + EXCLUDED.batches,
              changes = i.changes + EXCLUDED.changes, rejected = i.rejected + EXCLUDED.rejected,
              bytes = i.bytes + EXCLUDED.bytes",
    alias: "n",
    columns: &[
        ("minute", "timestamptz"),
        ("batches", "bigint"),
        ("changes", "bigint"),
        ("rejected", "bigint"),
        ("bytes", "bigint"),
    ],
};

const CONTACTS: &str = "SELECT station, contact_at, reported_at, pending, oldest_ms, free_disk_bytes, client_version,
        schema_version, clock_offset_ms FROM tidemark.contact WHERE ?1 IS NULL OR station = ?1";

/// A contact; `None` of a row whose number is none.
fn contact_of(mut row: Record) -> Result<Option<Contact>, StoreError> {
    let (station, contact_at_ms) = (row.station()?, row.column::<Ms>()?.0);
    let reported_at_ms = row.column::<Option<Ms>>()?.map(|at| at.0);
    let reported = Reported {
        pending: row.column()?,
        oldest_ms: row.column()?,
        free_disk_bytes: row.column()?,
        client_version: row.column()?,
        schema_version: row.column::<Option<i64>>()?.and_then(|version| u32::try_from(version).ok()),
        clock_offset_ms: row.column()?,
    };
    Ok(station.map(|station| Contact { station, contact_at_ms, report: reported_at_ms.map(|at_ms| (at_ms, reported)) }))
}

fn contact_row(contact: &Contact) -> Vec<Param> {
    let reported_at = Param::Ms(contact.report.as_ref().map(|(at_ms, _)| *at_ms));
    let reported = contact.report.clone().map(|(_, reported)| reported).unwrap_or_default();
    params![
        contact.station,
        Param::ms(contact.contact_at_ms),
        reported_at,
        reported.pending,
        Param::Int(reported.oldest_ms),
        reported.free_disk_bytes,
        reported.client_version,
        Param::Int(reported.schema_version.map(i64::from)),
        Param::Int(reported.clock_offset_ms),
    ]
}

fn pushed_of(mut row: Record) -> Result<Option<Pushed>, StoreError> {
    let station = row.station()?;
    let pushed = |station| {
        Ok(Pushed {
            station,
            at_ms: row.column::<Ms>()?.0,
            first_seq: row.column()?,
            last_seq: row.column()?,
            applied: row.column()?,
            rejected: row.column()?,
            bytes: row.column()?,
            ms: row.column()?,
        })
    };
    station.map(pushed).transpose()
}

fn backup_of(mut row: Record) -> Result<BackupMade, StoreError> {
    Ok(BackupMade {
        at_ms: row.column::<Ms>()?.0,
        file: row.column()?,
        size_bytes: row.column()?,
        checked_at_ms: row.column::<Ms>()?.0,
        restored: row.column()?,
    })
}

const BACKUPS: &str = "SELECT at, file, size_bytes, checked_at, restored FROM tidemark.backup";

#[async_trait]
impl<T: Sql> FleetLedger for T {
    async fn note_contacts(&mut self, contacts: &[Contact]) -> Result<(), StoreError> {
        if contacts.is_empty() {
            return Ok(());
        }
        self.execute_each(&NOTE_CONTACTS, Vec::new(), contacts.iter().map(contact_row).collect()).await
    }

    async fn contacts(&mut self, station: Option<StationNumber>) -> Result<Vec<Contact>, StoreError> {
        let rows = self.query(CONTACTS, params![station]).await?;
        rows.into_iter().filter_map(|row| contact_of(row).transpose()).collect()
    }

    async fn note_pushes(&mut self, pushes: &[Pushed]) -> Result<(), StoreError> {
        if pushes.is_empty() {
            return Ok(());
        }
        let row = |push: &Pushed| {
            let at = Param::ms(push.at_ms);
            params![push.station, at, push.first_seq, push.last_seq, push.applied, push.rejected, push.bytes, push.ms]
        };
        self.execute_each(&NOTE_PUSHES, Vec::new(), pushes.iter().map(row).collect()).await
    }

    async fn pushes(&mut self, station: StationNumber, limit: u32) -> Result<Vec<Pushed>, StoreError> {
        let sql = "SELECT station, at, first_seq, last_seq, applied, rejected, bytes, ms FROM tidemark.pushes
                   WHERE station = ?1 ORDER BY id DESC LIMIT ?2";
        let rows = self.query(sql, params![station, i64::from(limit)]).await?;
        rows.into_iter().filter_map(|row| pushed_of(row).transpose()).collect()
    }

    async fn note_ingested(&mut self, minutes: &[Ingested]) -> Result<(), StoreError> {
        if minutes.is_empty() {
            return Ok(());
        }
        let row = |minute: &Ingested| {
            let Ingested { at_ms, batches, changes, rejected, bytes } = *minute;
            params![Param::ms(at_ms), batches, changes, rejected, bytes]
        };
        self.execute_each(&NOTE_INGESTED, Vec::new(), minutes.iter().map(row).collect()).await
    }

    async fn ingested(&mut self, from_ms: i64, limit: u32) -> Result<Vec<Ingested>, StoreError> {
        let sql = "SELECT minute, batches, changes, rejected, bytes FROM tidemark.ingest WHERE minute >= ?1
                   ORDER BY minute LIMIT ?2";
        let ingested = |mut row: Record| {
            Ok(Ingested {
                at_ms: row.column::<Ms>()?.0,
                batches: row.column()?,
                changes: row.column()?,
                rejected: row.column()?,
                bytes: row.column()?,
            })
        };
        self.query(sql, params![Param::ms(from_ms), i64::from(limit)]).await?.into_iter().map(ingested).collect()
    }

    async fn thin_pushes(&mut self, station: StationNumber, kept: u32, rows_max: u32) -> Result<u64, StoreError> {
        let sql = "DELETE FROM tidemark.pushes WHERE station = ?1 AND id IN (
                       SELECT id FROM tidemark.pushes WHERE station = ?1 AND id <= (
                           SELECT id FROM tidemark.pushes WHERE station = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)
                       ORDER BY id LIMIT ?3)";
        self.execute(sql, params![station, i64::from(kept), i64::from(rows_max)]).await
    }

    async fn thin_ingested(&mut self, before_ms: i64) -> Result<u64, StoreError> {
        self.execute("DELETE FROM tidemark.ingest WHERE minute < ?1", params![Param::ms(before_ms)]).await
    }

    async fn note_backup(&mut self, backup: &BackupMade) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark.backup (at, file, size_bytes, checked_at, restored) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (at) DO NOTHING";
        let (at, checked_at) = (Param::ms(backup.at_ms), Param::ms(backup.checked_at_ms));
        self.execute(sql, params![at, &backup.file, backup.size_bytes, checked_at, backup.restored]).await?;
        let sql = "DELETE FROM tidemark.backup WHERE at <= (
                       SELECT at FROM tidemark.backup ORDER BY at DESC LIMIT 1 OFFSET ?1)";
        self.execute(sql, params![BACKUPS_KEPT]).await?;
        Ok(())
    }

    async fn last_backup(&mut self, now_ms: i64) -> Result<Option<BackupMade>, StoreError> {
        let sql = format!("{BACKUPS} WHERE at <= ?1 ORDER BY at DESC LIMIT 1");
        first(self, &sql, params![Param::ms(now_ms)], backup_of).await
    }

    async fn last_restored_backup(&mut self) -> Result<Option<BackupMade>, StoreError> {
        first(self, &format!("{BACKUPS} WHERE restored ORDER BY at DESC LIMIT 1"), Vec::new(), backup_of).await
    }
}
