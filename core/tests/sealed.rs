//! Bundles and receipts: round trips, golden bytes, and every way in which a file from a stick can be wrong.

use tidemark_core::batch::{Batch, BatchBuilder, LogRow};
use tidemark_core::bundle::{BundleHead, BundleWriter, UnprovedBundle};
use tidemark_core::decision::Cursor;
use tidemark_core::frame::{Compression, decode, encode};
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::RejectedChange;
use tidemark_core::receipt::{ReceiptEnd, ReceiptHead, ReceiptPart, ReceiptWriter, UnprovedReceipt, Verdicts};
use tidemark_core::reject::RejectCode;
use tidemark_core::sealed::{PRELUDE_BYTES, RECORD_BYTES, SealError};
use tidemark_core::secret::secret_hash;

const LIMITS: FrameLimits = FrameLimits::DEFAULT;
const UUID: [u8; 16] = *b"0123456789abcdef";

fn token_hash() -> [u8; 32] {
    secret_hash(&[7; 32])
}

/// The log of the tests in batches of four changes.
fn batches() -> Vec<Batch> {
    let schema = crate::common::schema();
    let mut batches: Vec<Batch> = Vec::new();
    let mut chain = crate::common::chain_start();
    for (part, rows) in crate::common::log().chunks(4).enumerate() {
        let first_seq = part as u64 * 4 + 1;
        let mut builder = BatchBuilder::new(&schema, crate::common::station(), first_seq, chain);
        for (seq, (table, op, values)) in (first_seq..).zip(rows) {
            builder.push(&LogRow { seq, at_ms: 1_767_323_045_000, table: table.as_bytes(), op: op.as_bytes(), values });
        }
        chain = builder.chain();
        batches.push(builder.finish(1_767_400_000_000));
    }
    batches
}

fn frames() -> Vec<Vec<u8>> {
    batches().iter().map(|batch| encode(batch, Compression::None).unwrap()).collect()
}

fn head() -> BundleHead {
    BundleHead {
        station_uuid: UUID,
        station: crate::common::station(),
        fingerprint: crate::common::schema().fingerprint(),
        first_seq: 1,
        last_seq: 11,
        chain_before: crate::common::chain_start(),
        created_at_ms: 1_767_400_000_123,
    }
}

fn bundle_of(head: &BundleHead, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = BundleWriter::begin(Vec::new(), &token_hash(), head).unwrap();
    frames.iter().for_each(|frame| writer.frame(frame).unwrap());
    writer.finish().unwrap()
}

fn bundle() -> Vec<u8> {
    bundle_of(&head(), &frames())
}

/// Reads a bundle to its end.
fn read_bundle(bytes: &[u8], token_hash: &[u8; 32], limits: FrameLimits) -> Result<Vec<Vec<u8>>, SealError> {
    let mut reader = UnprovedBundle::open(bytes)?.prove(token_hash, limits)?;
    let (mut frames, mut frame) = (Vec::new(), Vec::new());
    while reader.next_frame(&mut frame)?.is_some() {
        frames.push(frame.clone());
    }
    Ok(frames)
}

fn receipt_head() -> ReceiptHead {
    ReceiptHead { station_uuid: UUID, station: crate::common::station(), first_seq: 1, last_seq: 11 }
}

fn verdicts() -> Vec<Verdicts> {
    let rejected = |seq, code, message: &str| RejectedChange { seq, code, message: message.into() };
    vec![
        Verdicts { last_seq: 4, rejected: vec![rejected(2, RejectCode::Reference, "нет такой строки")] },
        Verdicts { last_seq: 8, rejected: vec![] },
        Verdicts {
            last_seq: 11,
            rejected: vec![rejected(9, RejectCode::Clock, "later"), rejected(10, RejectCode::Owner, "")],
        },
    ]
}

fn receipt_end() -> ReceiptEnd {
    let cursor = Cursor { seq: 11, chain: batches().last().unwrap().chain_after };
    ReceiptEnd { cursor, server_time_ms: 1_767_500_000_000 }
}

fn receipt_of(head: &ReceiptHead, verdicts: &[Verdicts], end: &ReceiptEnd) -> Vec<u8> {
    let mut writer = ReceiptWriter::begin(Vec::new(), &token_hash(), head).unwrap();
    verdicts.iter().for_each(|verdicts| writer.verdicts(verdicts).unwrap());
    writer.finish(end).unwrap()
}

fn receipt() -> Vec<u8> {
    receipt_of(&receipt_head(), &verdicts(), &receipt_end())
}

fn read_receipt(bytes: &[u8], token_hash: &[u8; 32]) -> Result<(Vec<Verdicts>, ReceiptEnd), SealError> {
    let mut reader = UnprovedReceipt::open(bytes)?.prove(token_hash)?;
    let mut all = Vec::new();
    loop {
        match reader.next_part()? {
            ReceiptPart::Verdicts(verdicts) => all.push(verdicts),
            ReceiptPart::End(end) => return Ok((all, end)),
        }
    }
}

/// Where each record of a sealed file begins, and where the file ends.
fn record_starts(file: &[u8]) -> Vec<usize> {
    let mut starts = vec![PRELUDE_BYTES];
    while *starts.last().unwrap() < file.len() {
        let at = *starts.last().unwrap();
        let length = u32::from_le_bytes(file[at + 1..at + 5].try_into().unwrap()) as usize;
        starts.push(at + RECORD_BYTES + length);
    }
    starts
}

#[test]
fn a_bundle_and_a_receipt_come_back_whole() {
    let schema = crate::common::schema();
    let decoded: Vec<Batch> = read_bundle(&bundle(), &token_hash(), LIMITS)
        .unwrap()
        .iter()
        .map(|frame| decode(frame, &schema, &LIMITS).unwrap())
        .collect();
    assert_eq!(decoded, batches());
    assert_eq!(*UnprovedBundle::open(&bundle()[..]).unwrap().head(), head());
    assert_eq!(read_receipt(&receipt(), &token_hash()).unwrap(), (verdicts(), receipt_end()));
    assert_eq!(*UnprovedReceipt::open(&receipt()[..]).unwrap().head(), receipt_head());
}

/// The bytes of version 1 are fixed for ever.
#[test]
fn golden_bundles_and_receipts_are_read_and_written_to_the_byte() {
    let golden = |name: &str, made: Vec<u8>| {
        let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("TIDEMARK_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let golden = std::fs::read(&path).expect("the golden file is there");
        assert!(golden == made, "{name}: the format changed: that needs a new version");
        golden
    };
    assert_eq!(read_bundle(&golden("v1.bundle", bundle()), &token_hash(), LIMITS).unwrap(), frames());
    assert_eq!(read_receipt(&golden("v1.receipt", receipt()), &token_hash()).unwrap(), (verdicts(), receipt_end()));
}

#[test]
fn truncation_at_every_byte_is_an_error_and_so_is_a_byte_more() {
    let (bundle, receipt) = (bundle(), receipt());
    for at in 0..bundle.len() {
        let error = read_bundle(&bundle[..at], &token_hash(), LIMITS).unwrap_err();
        assert!(matches!(error, SealError::Truncated { at: said, .. } if said == at as u64), "at {at}: {error}");
    }
    for at in 0..receipt.len() {
        let error = read_receipt(&receipt[..at], &token_hash()).unwrap_err();
        assert!(matches!(error, SealError::Truncated { at: said, .. } if said == at as u64), "at {at}: {error}");
    }
    let longer = [&bundle[..], b"x"].concat();
    assert!(matches!(read_bundle(&longer, &token_hash(), LIMITS), Err(SealError::Trailing { .. })));
    let twice = [&receipt[..], &receipt[..]].concat();
    assert!(matches!(read_receipt(&twice, &token_hash()), Err(SealError::Trailing { .. })));
}

#[test]
fn every_flipped_bit_is_an_error() {
    let (bundle, receipt) = (bundle(), receipt());
    for bit in 0..bundle.len() * 8 {
        let mut flipped = bundle.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read_bundle(&flipped, &token_hash(), LIMITS).is_err(), "bit {bit}");
    }
    for bit in 0..receipt.len() * 8 {
        let mut flipped = receipt.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read_receipt(&flipped, &token_hash()).is_err(), "bit {bit}");
    }
}

/// Every record is whole and was sealed by the right key, only not in this place.
#[test]
fn records_dropped_repeated_or_in_another_order_are_refused() {
    let file = bundle();
    let starts = record_starts(&file);
    let records: Vec<&[u8]> = starts.windows(2).map(|at| &file[at[0]..at[1]]).collect();
    assert_eq!(records.len(), 5, "a head, three frames, an end");
    let of = |order: &[usize]| {
        let picked: Vec<&[u8]> = order.iter().map(|&n| records[n]).collect();
        [&file[..PRELUDE_BYTES], &picked.concat()].concat()
    };
    assert!(read_bundle(&of(&[0, 1, 2, 3, 4]), &token_hash(), LIMITS).is_ok());
    for order in [
        &[0, 2, 3, 4][..],
        &[0, 1, 3, 4],
        &[0, 1, 2, 4],
        &[0, 4],
        &[0, 2, 1, 3, 4],
        &[0, 1, 1, 2, 3, 4],
        &[0, 1, 2, 3, 3, 4],
        &[1, 2, 3, 4],
        &[0, 0, 1, 2, 3, 4],
    ] {
        assert!(read_bundle(&of(order), &token_hash(), LIMITS).is_err(), "{order:?}");
    }
    // A record of another bundle of the same station, made with the same key.
    let other = bundle_of(&BundleHead { created_at_ms: 1, ..head() }, &frames());
    let spliced = [&file[..starts[2]], &other[starts[2]..]].concat();
    assert!(matches!(read_bundle(&spliced, &token_hash(), LIMITS), Err(SealError::Seal { .. })));
}

#[test]
fn another_token_proves_nothing_and_a_receipt_is_no_bundle() {
    let other = secret_hash(&[8; 32]);
    assert!(matches!(read_bundle(&bundle(), &other, LIMITS), Err(SealError::Seal { .. })));
    assert!(matches!(read_receipt(&receipt(), &other), Err(SealError::Seal { .. })));
    assert!(matches!(read_bundle(&receipt(), &token_hash(), LIMITS), Err(SealError::Magic { .. })));
    assert!(matches!(read_receipt(&bundle(), &token_hash()), Err(SealError::Magic { .. })));
    // The magic alone does not turn one into the other: each purpose has a key of its own.
    let mut renamed = receipt();
    renamed[..4].copy_from_slice(b"TDMB");
    assert!(read_bundle(&renamed, &token_hash(), LIMITS).is_err());
}

#[test]
fn a_future_version_says_so() {
    let mut future = bundle();
    future[4] = 2;
    let error = read_bundle(&future, &token_hash(), LIMITS).unwrap_err();
    assert!(matches!(error, SealError::Version { version: 2, .. }) && error.to_string().contains("upgrade"), "{error}");
}

/// Sealed by the station itself, as only a bug of ours would: the reader checks all the same.
#[test]
fn frames_that_do_not_follow_each_other_are_refused_though_sealed() {
    let whole = frames();
    let refused = |head: &BundleHead, frames: &[Vec<u8>]| {
        let error = read_bundle(&bundle_of(head, frames), &token_hash(), LIMITS).unwrap_err();
        assert!(matches!(error, SealError::Content { .. }), "{error}");
    };
    refused(&head(), &whole[1..]);
    refused(&head(), &whole[..2]);
    refused(&head(), &[whole[0].clone(), whole[2].clone()]);
    refused(&head(), &[whole[0].clone(), whole[0].clone()]);
    refused(&head(), &[b"not a frame".to_vec()]);
    refused(&head(), &[]);
    refused(&BundleHead { last_seq: 12, ..head() }, &whole);
    refused(&BundleHead { chain_before: crate::common::chain_start().then(b"x"), ..head() }, &whole);
    refused(&BundleHead { station: 6.try_into().unwrap(), ..head() }, &whole);
    for (first_seq, last_seq) in [(0, 3), (2, 1), (1, u64::MAX), (1, i64::MAX as u64)] {
        refused(&BundleHead { first_seq, last_seq, ..head() }, &whole);
    }
}

#[test]
fn verdicts_that_do_not_follow_each_other_are_refused_though_sealed() {
    let refused = |head: ReceiptHead, verdicts: &[Verdicts], end: ReceiptEnd| {
        let error = read_receipt(&receipt_of(&head, verdicts, &end), &token_hash()).unwrap_err();
        assert!(matches!(error, SealError::Content { .. }), "{error}");
    };
    let (head, whole, end) = (receipt_head(), verdicts(), receipt_end());
    refused(head, &whole[..2], end);
    refused(head, &[&whole[1..], &whole[..1]].concat(), end);
    refused(ReceiptHead { last_seq: 8, ..head }, &whole, end);
    refused(head, &whole, ReceiptEnd { cursor: Cursor { seq: 10, ..end.cursor }, ..end });
    let mut outside = whole.clone();
    outside[0].rejected[0].seq = 5;
    refused(head, &outside, end);
    let mut unordered = whole;
    unordered[2].rejected.reverse();
    refused(head, &unordered, end);
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let mut claims = bundle();
    let at = record_starts(&claims)[1];
    claims[at + 1..at + 5].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read_bundle(&claims, &token_hash(), LIMITS), Err(SealError::Content { .. })));
    // Within the limit, but not there: what is read ends with the file.
    claims[at + 1..at + 5].copy_from_slice(&(30_u32 << 20).to_le_bytes());
    assert!(matches!(read_bundle(&claims, &token_hash(), LIMITS), Err(SealError::Truncated { .. })));
    let small = FrameLimits { frame_bytes_max: 200, ..LIMITS };
    assert!(matches!(read_bundle(&bundle(), &token_hash(), small), Err(SealError::Content { .. })));
}

#[test]
fn keys_are_not_in_debug_output() {
    let bundle = bundle();
    let reader = UnprovedBundle::open(&bundle[..]).unwrap().prove(&token_hash(), LIMITS).unwrap();
    assert!(format!("{reader:?}").contains("Key(…)"));
}
