//! Bundles into every store: applied as pushes are, or refused with nothing applied.

use std::io::{self, Cursor as Bytes, Read, Seek, SeekFrom};

use crate::common::station::{Change, Station, day, frame, text};
use crate::common::stores::{Kind, Store};
use crate::common::{NOON_MS, field};
use tidemark_core::batch::Batch;
use tidemark_core::bundle::{BundleHead, BundleWriter};
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;
use tidemark_core::receipt::{ReceiptEnd, ReceiptPart, UnprovedReceipt, Verdicts};
use tidemark_core::schema::Schema;
use tidemark_core::sealed::{PRELUDE_BYTES, RECORD_BYTES};
use tidemark_server::sneakernet::{ImportError, Imported, import};

const KINDS: [Kind; 4] = [Kind::Memory, Kind::Sqlite, Kind::PlainPostgres, Kind::Timescale];

/// The hash that [`Store::join`] gives a station's token.
fn token_hash(name: &str) -> [u8; 32] {
    *blake3::hash(format!("token of {name}").as_bytes()).as_bytes()
}

fn head_of(station: &Station, batches: &[Batch]) -> BundleHead {
    BundleHead {
        station_uuid: station.uuid,
        station: station.number,
        fingerprint: batches[0].fingerprint,
        first_seq: batches[0].first_seq,
        last_seq: batches.last().unwrap().span().last_seq(),
        chain_before: batches[0].chain_before,
        created_at_ms: NOON_MS,
    }
}

fn sealed(head: &BundleHead, token_hash: &[u8; 32], batches: &[Batch]) -> Vec<u8> {
    let mut writer = BundleWriter::begin(Vec::new(), token_hash, head).unwrap();
    batches.iter().for_each(|batch| writer.frame(&frame(batch)).unwrap());
    writer.finish().unwrap()
}

fn bundle(station: &Station, name: &str, batches: &[Batch]) -> Vec<u8> {
    sealed(&head_of(station, batches), &token_hash(name), batches)
}

async fn imported(store: &Store, bundle: &[u8]) -> (Result<Imported, ImportError>, Vec<u8>) {
    let mut receipt = Vec::new();
    (import(&store.ingest, Bytes::new(bundle), &mut receipt).await, receipt)
}

fn read(receipt: &[u8], name: &str) -> (Vec<Verdicts>, ReceiptEnd) {
    let mut reader = UnprovedReceipt::open(receipt).unwrap().prove(&token_hash(name)).unwrap();
    let mut verdicts = Vec::new();
    loop {
        match reader.next_part().unwrap() {
            ReceiptPart::Verdicts(next) => verdicts.push(next),
            ReceiptPart::End(end) => return (verdicts, end),
        }
    }
}

/// Two batches: a site and a reading, then a reading of a site that is nowhere and a good one.
fn season(station: &mut Station) -> Vec<Batch> {
    let good: &[Change] = &[station.site(1), station.reading(1, day(3), &[("site_id", station.id(1))])];
    let mixed = [
        station.reading(2, day(4), &[("site_id", station.id(77))]),
        station.reading(3, day(5), &[("note", text("x"))]),
    ];
    vec![station.cut(good), station.cut(&mixed)]
}

async fn cursor(store: &Store, station: &Station) -> u64 {
    store.upstream.cursor(station.number).await.unwrap().unwrap().seq
}

/// How many rows of a station are upstream, over all tables.
async fn rows(store: &Store, station: &Station) -> u64 {
    let mut rows = 0;
    for table in store.schema.tables() {
        rows += store.digest(station, &table.name).await.rows();
    }
    rows
}

/// Imports what must be refused before anything is applied.
#[track_caller]
fn refused<'a>(
    store: &'a Store,
    station: &'a Station,
    bundle: &'a [u8],
    says: &'a str,
) -> impl Future<Output = ImportError> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let before = (cursor(store, station).await, rows(store, station).await);
        let (outcome, _) = imported(store, bundle).await;
        let error = outcome.expect_err(&caller.to_string());
        let message = error.to_string();
        assert!(message.contains(says) && message.contains("Nothing was applied"), "{caller}: {message}");
        assert_eq!((cursor(store, station).await, rows(store, station).await), before, "{caller}");
        error
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_applied_once_into_every_store_and_answered_with_a_receipt() {
    for kind in KINDS {
        let store = Store::open(kind, &[field()]).await;
        let mut station = store.join("alpha").await;
        let batches = season(&mut station);
        let bundle = bundle(&station, "alpha", &batches);
        let (first, receipt) = imported(&store, &bundle).await;
        let first = first.unwrap();
        assert_eq!((first.applied, first.duplicate, first.rejected, first.frames), (3, 0, 1, 2), "{kind:?}");
        assert_eq!((&first.name[..], first.cursor.seq, rows(&store, &station).await), ("alpha", 4, 3), "{kind:?}");
        let (verdicts, end) = read(&receipt, "alpha");
        let codes: Vec<Vec<(u64, &str)>> = verdicts
            .iter()
            .map(|part| part.rejected.iter().map(|change| (change.seq, change.code.as_str())).collect())
            .collect();
        assert_eq!(codes, [vec![], vec![(3, "reference")]], "{kind:?}");
        assert_eq!((end.cursor.seq, end.cursor.chain), (4, station.chain));
        // Again, and again after online pushes: duplicates, the same verdicts, the cursor of now.
        let (again, same) = imported(&store, &bundle).await;
        assert_eq!((again.unwrap().duplicate, read(&same, "alpha")), (4, (verdicts.clone(), end)), "{kind:?}");
        let online = [station.cut(&[station.site(9)])];
        store.pushed(&online[0]).await;
        let (_, later) = imported(&store, &bundle).await;
        assert_eq!(read(&later, "alpha").0, verdicts);
        assert_eq!(read(&later, "alpha").1.cursor.seq, 5);
        assert_eq!(rows(&store, &station).await, 4, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_overlaps_online_pushes_is_applied_from_the_tidemark_on() {
    let store = Store::open(Kind::Sqlite, &[field()]).await;
    let mut station = store.join("alpha").await;
    let batches = season(&mut station);
    let bundle = bundle(&station, "alpha", &batches);
    store.pushed(&batches[0]).await;
    let (outcome, receipt) = imported(&store, &bundle).await;
    let outcome = outcome.unwrap();
    assert_eq!((outcome.applied, outcome.duplicate), (1, 2));
    assert_eq!(read(&receipt, "alpha").0.len(), 2, "the receipt covers all of the bundle");
    assert_eq!(rows(&store, &station).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_cut_off_at_any_byte_is_refused_with_nothing_applied() {
    let store = Store::open(Kind::Memory, &[field()]).await;
    let mut station = store.join("alpha").await;
    let whole = bundle(&station.clone(), "alpha", &season(&mut station));
    for at in 0..whole.len() {
        refused(&store, &station, &whole[..at], "cut off").await;
    }
    refused(&store, &station, &[&whole[..], b"\0"].concat(), "follow the end").await;
    assert!(imported(&store, &whole).await.0.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_with_any_byte_altered_is_refused_with_nothing_applied() {
    let store = Store::open(Kind::Memory, &[field()]).await;
    let mut station = store.join("alpha").await;
    let whole = bundle(&station.clone(), "alpha", &season(&mut station));
    for at in 0..whole.len() {
        let mut altered = whole.clone();
        altered[at] ^= 1 << (at % 8);
        refused(&store, &station, &altered, "").await;
    }
    // Whole records in another order, or missing.
    let mut starts = vec![PRELUDE_BYTES];
    while let Some(length) = whole.get(starts.last().unwrap() + 1..starts.last().unwrap() + 5) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        starts.push(starts.last().unwrap() + RECORD_BYTES + length);
    }
    let record = |n: usize| &whole[starts[n]..starts[n + 1]];
    let of = |order: &[usize]| {
        [&whole[..PRELUDE_BYTES], &order.iter().map(|&n| record(n)).collect::<Vec<_>>().concat()].concat()
    };
    assert_eq!(of(&[0, 1, 2, 3]), whole);
    for order in [&[0, 2, 1, 3][..], &[0, 1, 3], &[0, 2, 3], &[0, 3], &[0, 1, 1, 2, 3]] {
        refused(&store, &station, &of(order), "does not match").await;
    }
    assert!(imported(&store, &whole).await.0.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_bundle_is_refused_with_nothing_applied() {
    let store = Store::open(Kind::Sqlite, &[field()]).await;
    let mut station = store.join("alpha").await;
    let beta = store.join("beta").await;
    let batches = season(&mut station);
    let head = head_of(&station, &batches);
    let own = token_hash("alpha");
    let with = |head: BundleHead| sealed(&head, &own, &batches);
    // Of a station of another server, of another number, under another station's token, of another station altogether.
    refused(&store, &station, &with(BundleHead { station_uuid: [9; 16], ..head }), "does not know").await;
    refused(&store, &station, &with(BundleHead { station: StationNumber::new(77).unwrap(), ..head }), "does not know")
        .await;
    refused(&store, &station, &sealed(&head, &token_hash("beta"), &batches), "not of this station").await;
    let as_beta = BundleHead { station_uuid: beta.uuid, station: beta.number, ..head };
    refused(&store, &station, &sealed(&as_beta, &own, &batches), "not of this station").await;
    // Sealed by beta for beta, with alpha's frames in it.
    refused(&store, &beta, &sealed(&as_beta, &token_hash("beta"), &batches), "does not follow").await;
    // A schema that this server never had.
    let other = Schema::parse("name = 'x'\nversion = 1\n[tables.t.columns]\nid = { type = 'integer' }").unwrap();
    let mut stranger = Station::new(&std::sync::Arc::new(other), station.number.get(), station.uuid);
    let strange = [stranger.cut(&[stranger.insert("t", 1, &[])])];
    refused(&store, &station, &bundle(&stranger, "alpha", &strange), "does not know schema").await;
    assert!(imported(&store, &with(head)).await.0.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_a_fork_and_a_revoked_station_are_refused_with_nothing_applied() {
    let store = Store::open(Kind::Sqlite, &[field()]).await;
    let mut station = store.join("alpha").await;
    let batches = season(&mut station);
    let error = refused(&store, &station, &bundle(&station, "alpha", &batches[1..]), "missing before").await;
    assert!(matches!(error, ImportError::Gap { first_seq: 3, expected: 1 }), "{error}");
    // Another history from the first change on, which the bundle's own chain does not show.
    let mut copy = Station { seq: 0, chain: Chain::start(station.uuid), ..station.clone() };
    let other = [copy.cut(&[copy.site(5)]), copy.cut(&[copy.site(6), copy.site(7), copy.site(8), copy.site(9)])];
    assert!(imported(&store, &bundle(&station, "alpha", &batches)).await.0.is_ok());
    refused(&store, &station, &bundle(&copy, "alpha", &other), "another history").await;
    let later = [station.cut(&[station.site(2)])];
    assert!(store.upstream.revoke_station("alpha", NOON_MS).await.unwrap());
    refused(&store, &station, &bundle(&station, "alpha", &later), "revoked").await;
}

/// A file that somebody overwrites between the two passes.
struct Swapped {
    first: Bytes<Vec<u8>>,
    second: Bytes<Vec<u8>>,
    rewound: bool,
}

impl Read for Swapped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rewound { self.second.read(buffer) } else { self.first.read(buffer) }
    }
}

impl Seek for Swapped {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.rewound = true;
        self.second.seek(to)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_applies_nothing_that_is_not_proved() {
    let store = Store::open(Kind::Memory, &[field()]).await;
    let mut station = store.join("alpha").await;
    let batches = season(&mut station);
    let first = bundle(&station, "alpha", &batches);
    // In the second pass the last frame's body is another.
    let mut second = first.clone();
    let body = first.len() - RECORD_BYTES - 8 - 40;
    second[body] ^= 1;
    let file = Swapped { first: Bytes::new(first.clone()), second: Bytes::new(second), rewound: false };
    let error = import(&store.ingest, file, &mut Vec::new()).await.unwrap_err();
    assert!(matches!(error, ImportError::Stopped { seq: 2, .. }), "{error}");
    assert_eq!(cursor(&store, &station).await, 2, "what was proved is applied, and no more");
    assert_eq!(imported(&store, &first).await.0.unwrap().applied, 1);
}

/// A disk that is full after some bytes.
struct Full(usize);

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_cannot_be_written_is_made_by_importing_again() {
    let store = Store::open(Kind::Memory, &[field()]).await;
    let mut station = store.join("alpha").await;
    let bundle = bundle(&station.clone(), "alpha", &season(&mut station));
    let error = import(&store.ingest, Bytes::new(&bundle), Full(200)).await.unwrap_err();
    assert!(matches!(error, ImportError::Receipt { .. }) && error.to_string().contains("again"), "{error}");
    let (outcome, receipt) = imported(&store, &bundle).await;
    assert_eq!(outcome.unwrap().cursor.seq, 4);
    assert_eq!(read(&receipt, "alpha").1.cursor.seq, 4);
}
