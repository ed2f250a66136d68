//! Bundles and receipts between a real store and a server in a few lines, in every mix with online pushes.

use std::io::Cursor as Bytes;

use crate::common::{FakeServer, World, changes};
use tidemark_client::bundle::{BundleError, Exported, Receipted, export, import_receipt};
use tidemark_client::sync::{Method, Request, Transport as _};
use tidemark_client::{Error, State};
use tidemark_core::bundle::UnprovedBundle;
use tidemark_core::frame::FrameHeader;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::PushReply;
use tidemark_core::receipt::{ReceiptEnd, ReceiptHead, ReceiptWriter, Verdicts};
use tidemark_core::secret::secret_hash;

/// The token that [`World::joined`] uses.
fn token_hash() -> [u8; 32] {
    secret_hash(&[5; 32])
}

fn exported(world: &mut World) -> (Vec<u8>, Option<Exported>) {
    let mut bundle = Vec::new();
    let exported = export(&mut world.store, world.clock.0, &mut bundle, |_| ()).unwrap();
    (bundle, exported)
}

/// What `tidemark-server import` does, on the server in a few lines.
fn imported(server: &mut FakeServer, bundle: &[u8]) -> Vec<u8> {
    let unproved = UnprovedBundle::open(bundle).unwrap();
    let head = *unproved.head();
    let mut reader = unproved.prove(&token_hash(), FrameLimits::DEFAULT).unwrap();
    let head = ReceiptHead {
        station_uuid: head.station_uuid,
        station: head.station,
        first_seq: head.first_seq,
        last_seq: head.last_seq,
    };
    let mut receipt = ReceiptWriter::begin(Vec::new(), &token_hash(), &head).unwrap();
    let mut frame = Vec::new();
    // A bundle is taken within the default limits, whatever the endpoint tells stations.
    let told = std::mem::replace(&mut server.limits, FrameLimits::DEFAULT);
    while let Some(header) = reader.next_frame(&mut frame).unwrap() {
        let request = Request {
            id: 0,
            method: Method::Post,
            url: "/v1/push".into(),
            token: None,
            content_type: None,
            schema: None,
            after: None,
            body: frame.clone(),
            timeout_ms: 0,
        };
        let reply = server.send(&request).unwrap();
        assert_eq!(reply.status, 200);
        let reply: PushReply = serde_json::from_slice(&reply.body).unwrap();
        let last_seq = header.first_seq + u64::from(header.count) - 1;
        receipt.verdicts(&Verdicts { last_seq, rejected: reply.rejected }).unwrap();
    }
    server.limits = told;
    receipt.finish(&ReceiptEnd { cursor: server.cursor, server_time_ms: 1 }).unwrap()
}

fn take(world: &mut World, receipt: &[u8]) -> Result<Receipted, BundleError> {
    import_receipt(&mut world.store, world.clock.0, Bytes::new(receipt))
}

/// Everything that must not change when a receipt is refused.
fn snapshot(world: &mut World) -> (u64, u64, usize) {
    let status = world.store.status().unwrap();
    (status.tidemark, status.rejects, world.store.log(10_000).unwrap().len())
}

#[test]
fn a_bundle_carries_the_log_and_its_receipt_trims_it() {
    let mut world = World::joined();
    world.write(12_000);
    let before = snapshot(&mut world);
    let (bundle, summary) = exported(&mut world);
    assert_eq!(summary, Some(Exported { first_seq: 1, last_seq: 12_000, frames: 2, rejected_here: 0 }));
    assert_eq!(snapshot(&mut world), before, "export trims nothing");
    assert_eq!(world.store.meta().unwrap().sent_seq, 12_000, "what left the machine is on record");
    let receipt = imported(&mut world.server, &bundle);
    let taken = take(&mut world, &receipt).unwrap();
    assert_eq!(taken, Receipted::Acked { tidemark: 12_000, changes: 12_000, rejected_here: 0, rejected_by_server: 0 });
    world.assert_in_sync();
    // Once more: harmless, and it says so.
    assert_eq!(take(&mut world, &receipt).unwrap(), Receipted::Stale { last_seq: 12_000, tidemark: 12_000 });
    assert_eq!(exported(&mut world), (Vec::new(), None), "nothing pending, nothing written");
}

#[test]
fn frames_of_a_bundle_keep_to_the_limits_the_server_told() {
    let mut world = World::joined();
    let limits = FrameLimits { rows_max: 70, ..FrameLimits::DEFAULT };
    world.server.limits = limits;
    world.write(1);
    world.push();
    world.write(500);
    let (bundle, summary) = exported(&mut world);
    assert_eq!(summary.unwrap().frames, 8);
    let mut reader = UnprovedBundle::open(&bundle[..]).unwrap().prove(&token_hash(), limits).unwrap();
    let mut frame = Vec::new();
    while reader.next_frame(&mut frame).unwrap().is_some() {
        assert!(FrameHeader::parse(&frame, &limits).is_ok());
    }
}

#[test]
fn rejects_of_both_sides_are_kept_in_order_with_their_images() {
    let mut world = World::joined();
    world.write(3);
    world.store.execute("INSERT INTO reading (x, note) VALUES ('warm', 'here')", ()).unwrap();
    world.write(3);
    world.server.reject = vec![2, 7];
    let (bundle, summary) = exported(&mut world);
    assert_eq!(summary.unwrap().rejected_here, 1);
    let receipt = imported(&mut world.server, &bundle);
    let taken = take(&mut world, &receipt).unwrap();
    assert_eq!(taken, Receipted::Acked { tidemark: 7, changes: 7, rejected_here: 1, rejected_by_server: 2 });
    let mut kept = Vec::new();
    world
        .store
        .rejects::<Error>(0, 10, |reject| {
            kept.push((reject.change.seq, reject.code, reject.origin, reject.change.table));
            Ok(())
        })
        .unwrap();
    let kept: Vec<_> =
        kept.iter().map(|(seq, code, origin, table)| (*seq, &code[..], &origin[..], &table[..])).collect();
    let expected = [
        (2, "reference", "server", "reading"),
        (4, "type", "station", "reading"),
        (7, "reference", "server", "reading"),
    ];
    assert_eq!(kept, expected);
}

#[test]
fn a_receipt_that_is_altered_truncated_or_forged_trims_nothing() {
    let mut world = World::joined();
    world.write(40);
    let (bundle, _) = exported(&mut world);
    let receipt = imported(&mut world.server, &bundle);
    let before = snapshot(&mut world);
    for at in 0..receipt.len() {
        let mut altered = receipt.clone();
        altered[at] ^= 0x10;
        assert!(take(&mut world, &altered).is_err(), "byte {at}");
        assert!(take(&mut world, &receipt[..at]).is_err(), "cut at {at}");
    }
    let longer = [&receipt[..], &receipt[..]].concat();
    assert!(take(&mut world, &longer).is_err());
    assert!(take(&mut world, &bundle).is_err(), "a bundle is no receipt");
    // All its words are right, but whoever sealed it does not know the token.
    let head =
        ReceiptHead { station_uuid: world.store.uuid(), station: 3.try_into().unwrap(), first_seq: 1, last_seq: 40 };
    let forged = |head: ReceiptHead, key: [u8; 32]| {
        let mut writer = ReceiptWriter::begin(Vec::new(), &key, &head).unwrap();
        writer.verdicts(&Verdicts { last_seq: 40, rejected: vec![] }).unwrap();
        writer.finish(&ReceiptEnd { cursor: world.server.cursor, server_time_ms: 1 }).unwrap()
    };
    let (wrong_key, right_key) = (forged(head, [1; 32]), forged(head, token_hash()));
    let other_file = forged(ReceiptHead { station_uuid: [8; 16], ..head }, token_hash());
    let other_number = forged(ReceiptHead { station: 4.try_into().unwrap(), ..head }, token_hash());
    assert!(matches!(take(&mut world, &wrong_key), Err(BundleError::Receipt(_))));
    assert!(matches!(take(&mut world, &other_file), Err(BundleError::Foreign { .. })));
    assert!(matches!(take(&mut world, &other_number), Err(BundleError::Foreign { station: 4, .. })));
    assert_eq!(snapshot(&mut world), before);
    assert!(take(&mut world, &right_key).is_ok(), "the same words under the right key");
}

#[test]
fn a_receipt_of_another_history_is_a_fork_and_trims_nothing() {
    let mut world = World::joined();
    world.write(20);
    let (bundle, _) = exported(&mut world);
    let receipt = imported(&mut world.server, &bundle);
    // Meanwhile the log was altered: the same number of changes, another content.
    world.store.execute("UPDATE tidemark_log SET c3 = 99 WHERE seq = 7", ()).unwrap();
    let before = snapshot(&mut world);
    let error = take(&mut world, &receipt).unwrap_err();
    assert!(
        matches!(&error, BundleError::Forked(message) if message.to_string().contains("another history")),
        "{error}"
    );
    assert_eq!(snapshot(&mut world), before);
    assert_eq!(world.store.status().unwrap().state, State::Forked);
    let mut out = Vec::new();
    assert!(matches!(export(&mut world.store, 0, &mut out, |_| ()), Err(BundleError::Forked(_))));
    assert!(out.is_empty());
}

#[test]
fn a_receipt_beyond_the_log_is_a_file_put_back() {
    let mut world = World::joined();
    world.write(5);
    let (bundle, _) = exported(&mut world);
    imported(&mut world.server, &bundle);
    world.write(5);
    let (bundle, _) = exported(&mut world);
    let receipt = imported(&mut world.server, &bundle);
    world.store.execute("DELETE FROM tidemark_log WHERE seq > 5", ()).unwrap();
    world.store.execute("UPDATE sqlite_sequence SET seq = 5 WHERE name = 'tidemark_log'", ()).unwrap();
    world.store.execute("UPDATE tidemark_station SET sent_seq = 5", ()).unwrap();
    let error = take(&mut world, &receipt).unwrap_err();
    assert!(matches!(&error, BundleError::Forked(message) if message.to_string().contains("older copy")), "{error}");
    assert_eq!(world.store.log(100).unwrap().len(), 5);
}

#[test]
fn a_receipt_whose_predecessor_is_missing_is_refused() {
    let mut world = World::joined();
    world.write(5);
    let old = world.folder.path().join("old.db");
    world.store.execute("VACUUM INTO ?1", [old.to_str().unwrap()]).unwrap();
    world.push();
    world.write(5);
    let (bundle, _) = exported(&mut world);
    let receipt = imported(&mut world.server, &bundle);
    // Back to the copy that knows nothing of the first five being upstream, and the same five written again.
    world.store = tidemark_client::Store::open(&old).unwrap();
    let error = take(&mut world, &receipt).unwrap_err();
    assert!(matches!(error, BundleError::Gap { first_seq: 6, tidemark: 0 }), "{error}");
    assert_eq!(world.store.log(100).unwrap().len(), 5);
}

#[test]
fn a_station_that_has_not_joined_exports_nothing() {
    let mut world = World::new();
    world.write(3);
    let mut out = Vec::new();
    let error = export(&mut world.store, 0, &mut out, |_| ()).unwrap_err();
    assert!(matches!(error, BundleError::Store(Error::NotJoined { .. })), "{error}");
    assert!(out.is_empty());
    assert!(take(&mut world, b"TDMR").is_err());
}

/// Whatever the order of writing, exporting, pushing, importing and taking receipts, old ones and new ones, some lost,
/// each change is upstream once, nothing is trimmed before that, and the station drains.
#[test]
fn any_mix_of_bundles_and_pushes_leaves_each_change_once() {
    for seed in 0..25_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        let mut world = World::joined();
        world.server.limits = FrameLimits { rows_max: 7, ..FrameLimits::DEFAULT };
        world.server.reject = (0..40).map(|n| n * 9 + seed % 9).collect();
        let (mut bundles, mut receipts) = (Vec::new(), Vec::new());
        for _ in 0..30 {
            match below(6) {
                0 | 1 => world.write(1 + below(20) as u64),
                2 => bundles.extend(exported(&mut world).1.map(|_| exported(&mut world).0)),
                3 if !bundles.is_empty() => {
                    // Any of them, the newest or one long forgotten.
                    let bundle: &Vec<u8> = &bundles[below(bundles.len())];
                    receipts.push(imported(&mut world.server, bundle));
                }
                4 if !receipts.is_empty() => {
                    let receipt: &Vec<u8> = &receipts[below(receipts.len())];
                    take(&mut world, receipt).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                }
                5 => drop(world.push()),
                _ => {}
            }
            let tidemark = world.store.meta().unwrap().tidemark;
            assert!(tidemark.seq <= world.server.cursor.seq, "seed {seed}: trimmed what is not upstream");
        }
        world.write(3);
        let (bundle, _) = exported(&mut world);
        let receipt = imported(&mut world.server, &bundle);
        take(&mut world, &receipt).unwrap();
        world.assert_in_sync();
        assert_eq!(changes(&world.push()), 0, "seed {seed}");
        let rejected = world.server.reject.iter().filter(|&&seq| world.server.applied.contains_key(&seq)).count();
        assert_eq!(world.store.rejects_count().unwrap(), rejected as u64, "seed {seed}: a reject is missing here");
    }
}
