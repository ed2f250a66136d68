//! Frames: round trips, golden bytes, and every way in which bytes from outside can be wrong.

use proptest::prelude::*;
use tidemark_core::batch::{BatchBuilder, LogRow, Op};
use tidemark_core::frame::{Compression, FrameError, FrameHeader, HEADER_BYTES, decode, encode};
use tidemark_core::limits::FrameLimits;
use tidemark_core::reject::RejectCode;
use tidemark_core::schema::Schema;
use tidemark_core::value::{SqliteValue, ValueRef};

const LIMITS: FrameLimits = FrameLimits::DEFAULT;
const ALL: [Compression; 3] = [Compression::None, Compression::Zstd, Compression::Deflate];

fn frame(compression: Compression) -> Vec<u8> {
    encode(&crate::common::batch(&crate::common::schema()), compression).expect("the batch encodes")
}

/// Makes the check fit altered bytes, as a forger would: what is tested then is the decoder behind it.
fn resealed(mut frame: Vec<u8>) -> Vec<u8> {
    let body_bytes = (frame.len() - HEADER_BYTES) as u32;
    frame[8..12].copy_from_slice(&body_bytes.to_le_bytes());
    let mut sealed = frame[..136].to_vec();
    sealed.extend_from_slice(&frame[HEADER_BYTES..]);
    let check = blake3::hash(&sealed);
    frame[136..152].copy_from_slice(&check.as_bytes()[..16]);
    frame
}

#[test]
fn a_batch_comes_back_whole_from_every_compression() {
    let schema = crate::common::schema();
    let batch = crate::common::batch(&schema);
    for compression in ALL {
        let decoded = decode(&frame(compression), &schema, &LIMITS).unwrap();
        assert_eq!(decoded, batch, "{compression:?}");
        let reals = decoded.groups.iter().find(|g| g.table == 1 && g.op == Op::Insert).unwrap();
        let ValueRef::Real(zero) = reals.columns[3].get(0) else { panic!("a real") };
        assert!(zero == 0.0 && zero.is_sign_negative(), "the sign of zero is kept");
    }
}

#[test]
fn what_cannot_travel_becomes_a_marker_and_keeps_its_number() {
    let schema = crate::common::schema();
    let batch = crate::common::batch(&schema);
    let voids: Vec<(u64, String)> = batch
        .changes()
        .filter(|change| batch.groups[change.group].op == Op::Void)
        .map(|change| (change.seq, format!("{:?}", batch.groups[change.group].columns[0].get(change.row))))
        .collect();
    let text = |code: &str| format!("Text({code:?})");
    assert_eq!(voids, [(6, text("type")), (9, text("void")), (11, text("unknown-table"))]);
    assert_eq!(batch.changes().map(|change| change.seq).collect::<Vec<_>>(), (1..=11).collect::<Vec<_>>());
}

/// The bytes of format version 1 are fixed for ever. zstd's output may change with its version, so its golden frame is
/// decoded only.
#[test]
fn golden_frames_are_read_and_written_to_the_byte() {
    let schema = crate::common::schema();
    for (name, compression) in
        [("none", Compression::None), ("zstd", Compression::Zstd), ("deflate", Compression::Deflate)]
    {
        let path = format!("{}/tests/golden/v1-{name}.frame", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("TIDEMARK_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, frame(compression)).unwrap();
        }
        let golden = std::fs::read(&path).expect("the golden frame is there");
        assert_eq!(decode(&golden, &schema, &LIMITS).unwrap(), crate::common::batch(&schema), "{name}");
        if compression == Compression::None {
            assert_eq!(golden, frame(compression), "the format changed: that needs a new version");
        }
    }
    assert_eq!(schema.fingerprint().to_hex(), "db9b3d98c8958d77e08134db63f27e69edd5727d89915129953a35b96b1d7403");
}

#[test]
fn truncation_at_every_byte_is_an_error() {
    let schema = crate::common::schema();
    for compression in ALL {
        let whole = frame(compression);
        for at in 0..whole.len() {
            assert!(
                matches!(decode(&whole[..at], &schema, &LIMITS), Err(FrameError::Truncated { have, .. }) if have == at),
                "at {at}"
            );
        }
        let longer = [whole.as_slice(), b"x"].concat();
        assert_eq!(decode(&longer, &schema, &LIMITS), Err(FrameError::Trailing(1)));
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let schema = crate::common::schema();
    for compression in ALL {
        let whole = frame(compression);
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, &schema, &LIMITS).is_err(), "bit {bit}");
        }
    }
}

/// Behind a forged check the decoder itself must hold: no panic, and no frame that means something else with the same
/// chain.
#[test]
fn every_flipped_bit_of_a_resealed_body_is_an_error_or_the_same_batch() {
    let schema = crate::common::schema();
    let batch = crate::common::batch(&schema);
    let whole = frame(Compression::None);
    for bit in HEADER_BYTES * 8..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(decoded) = decode(&resealed(flipped), &schema, &LIMITS) {
            assert_eq!(decoded.chain_after, batch.chain_after);
            assert_eq!(decoded.order.len(), batch.order.len());
        }
    }
}

#[test]
fn other_magic_and_a_future_version_say_so() {
    let schema = crate::common::schema();
    let mut other = frame(Compression::None);
    other[0] = b'X';
    assert!(matches!(decode(&other, &schema, &LIMITS), Err(FrameError::Magic(_))));
    let mut future = frame(Compression::None);
    future[4] = 2;
    let error = decode(&future, &schema, &LIMITS).unwrap_err();
    assert_eq!(error, FrameError::Version(2));
    assert!(error.to_string().contains("upgrade"));
    let mut unknown = frame(Compression::None);
    unknown[6] = 9;
    assert_eq!(decode(&resealed(unknown), &schema, &LIMITS), Err(FrameError::Compression(9)));
    let mut flagged = frame(Compression::None);
    flagged[7] = 1;
    assert!(matches!(decode(&resealed(flagged), &schema, &LIMITS), Err(FrameError::Header(_))));
}

#[test]
fn another_schema_is_named() {
    let schema = tidemark_core::schema::shrinkage();
    let error = decode(&frame(Compression::Zstd), &schema, &LIMITS).unwrap_err();
    assert_eq!(
        error,
        FrameError::Schema { frame: crate::common::schema().fingerprint(), schema: schema.fingerprint() }
    );
}

#[test]
fn oversized_frames_are_refused_before_memory_is_taken() {
    let schema = crate::common::schema();
    let whole = frame(Compression::None);
    let too_large = |limits: FrameLimits| match decode(&whole, &schema, &limits) {
        Err(FrameError::TooLarge { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(too_large(FrameLimits { rows_max: 10, ..LIMITS }), "changes");
    assert_eq!(too_large(FrameLimits { frame_bytes_max: 200, ..LIMITS }), "bytes");
    assert_eq!(too_large(FrameLimits { body_bytes_max: 200, ..LIMITS }), "unpacked bytes");
    assert!(matches!(decode(&whole, &schema, &FrameLimits { cells_max: 20, ..LIMITS }), Err(FrameError::Body(_))));
    // Four gigabytes claimed by 152 bytes.
    let mut claims = whole[..HEADER_BYTES].to_vec();
    claims[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(decode(&claims, &schema, &LIMITS), Err(FrameError::TooLarge { what: "bytes", .. })));
}

/// A body of a kilobyte that would unpack to a gigabyte stops at what the header says, and the header at the limit.
#[test]
fn bombs_are_refused() {
    let schema = crate::common::schema();
    let zeros = vec![0_u8; 1 << 30];
    let deflated = miniz_oxide::deflate::compress_to_vec(&zeros[..64 << 20], 9);
    let bombs = [(1_u8, zstd::bulk::compress(&zeros, 19).unwrap()), (2, deflated)];
    for (code, body) in bombs {
        let mut bomb = frame(Compression::None)[..HEADER_BYTES].to_vec();
        bomb[6] = code;
        bomb.extend_from_slice(&body);
        let mut honest_size = bomb.clone();
        honest_size[12..16].copy_from_slice(&(1_u32 << 30).to_le_bytes());
        assert!(matches!(
            decode(&resealed(honest_size), &schema, &LIMITS),
            Err(FrameError::TooLarge { what: "unpacked bytes", .. })
        ));
        let mut lying_size = bomb;
        lying_size[12..16].copy_from_slice(&1000_u32.to_le_bytes());
        assert!(matches!(decode(&resealed(lying_size), &schema, &LIMITS), Err(FrameError::Decompress(_))));
    }
}

/// A few bytes that ask zstd for a window of 128 MiB, to unpack five.
#[test]
fn a_zstd_window_beyond_the_largest_body_is_refused_before_memory_is_taken() {
    let schema = crate::common::schema();
    let body = [0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 5 << 3 | 1, 0, 0];
    let mut greedy = frame(Compression::None)[..HEADER_BYTES].to_vec();
    greedy[6] = Compression::Zstd as u8;
    greedy[12..16].copy_from_slice(&5_u32.to_le_bytes());
    greedy.extend_from_slice(&body);
    greedy.extend_from_slice(b"hello");
    let decoded = |limits| decode(&resealed(greedy.clone()), &schema, &limits);
    let says = |error: Result<_, FrameError>| error.unwrap_err().to_string();
    assert!(matches!(decoded(LIMITS), Err(FrameError::Decompress(_))), "{}", says(decoded(LIMITS)));
    // Where such bodies are taken, so is the window.
    let large = FrameLimits { body_bytes_max: 128 << 20, ..LIMITS };
    assert!(matches!(decoded(large), Err(FrameError::Body(_))), "{}", says(decoded(large)));
}

#[test]
fn a_count_that_lies_is_refused() {
    let schema = crate::common::schema();
    for count in [0_u32, 1, 10, 12, 49_999] {
        let mut lying = frame(Compression::None);
        lying[52..56].copy_from_slice(&count.to_le_bytes());
        assert!(decode(&resealed(lying), &schema, &LIMITS).is_err(), "{count}");
    }
    for first_seq in [0_u64, u64::MAX, i64::MAX as u64] {
        let mut lying = frame(Compression::None);
        lying[56..64].copy_from_slice(&first_seq.to_le_bytes());
        assert!(matches!(decode(&resealed(lying), &schema, &LIMITS), Err(FrameError::Header(_))), "{first_seq}");
    }
    for station in [0_u32, 1 << 21, u32::MAX] {
        let mut lying = frame(Compression::None);
        lying[48..52].copy_from_slice(&station.to_le_bytes());
        assert!(matches!(decode(&resealed(lying), &schema, &LIMITS), Err(FrameError::Header(_))), "{station}");
    }
}

#[test]
fn changes_that_do_not_give_the_chain_are_refused() {
    let schema = crate::common::schema();
    let mut batch = crate::common::batch(&schema);
    batch.at_ms[3] += 1;
    let altered = encode(&batch, Compression::Zstd).unwrap();
    assert_eq!(decode(&altered, &schema, &LIMITS), Err(FrameError::Chain));
}

#[test]
fn a_header_can_be_read_before_the_schema_is_known() {
    let header = FrameHeader::parse(&frame(Compression::Deflate), &LIMITS).unwrap();
    assert_eq!((header.count, header.first_seq, header.station), (11, 1, crate::common::station()));
    assert_eq!(header.fingerprint, crate::common::schema().fingerprint());
}

#[test]
fn a_value_or_row_too_large_to_travel_is_rejected_on_the_station() {
    let (value_max, row_max) = (tidemark_core::limits::VALUE_BYTES_MAX, tidemark_core::limits::ROW_BYTES_MAX);
    let columns = "id={type='integer'}\na={type='text'}\nb={type='text'}";
    let schema = Schema::parse(&format!("name='w'\nversion=1\n[tables.t.columns]\n{columns}")).unwrap();
    let code = |a: usize, b: usize| {
        let (a, b) = (vec![b'a'; a], vec![b'b'; b]);
        let row = [SqliteValue::Integer(1), SqliteValue::Text(&a), SqliteValue::Text(&b)];
        let mut builder = BatchBuilder::new(&schema, crate::common::station(), 1, crate::common::chain_start());
        builder.push(&LogRow { seq: 1, at_ms: 0, table: b"t", op: b"I", values: &row });
        let rejected = builder.rejected().first().map(|(_, rejection)| rejection.code);
        let frame = encode(&builder.finish(0), Compression::None).unwrap();
        assert!(decode(&frame, &schema, &LIMITS).is_ok(), "any single change fits a frame");
        rejected
    };
    assert_eq!(code(value_max + 1, 0), Some(RejectCode::TooLarge));
    assert_eq!(code(value_max, 0), None);
    assert_eq!(code(row_max / 2 - 9, row_max / 2 - 10), None);
    assert_eq!(code(row_max / 2, row_max / 2), Some(RejectCode::TooLarge));
}

/// Any SQLite value, with a taste for the extremes.
fn any_value() -> impl Strategy<Value = Owned> {
    prop_oneof![
        2 => Just(Owned::Null),
        3 => prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), 0..5_i64].prop_map(Owned::Integer),
        3 => prop_oneof![any::<f64>(), Just(-0.0), Just(f64::INFINITY), Just(f64::from_bits(1))]
            .prop_filter("SQLite stores NaN as NULL", |v| !v.is_nan()).prop_map(Owned::Real),
        3 => prop_oneof!["\\PC{0,12}", Just("2026-02-03 04:05:06".to_owned()), Just("{\"k\":1}".to_owned()), Just("a\0b".to_owned()),
            Just("0190f1a2-b3c4-7d5e-8f60-718293a4b5c6".to_owned())].prop_map(|s| Owned::Text(s.into_bytes())),
        1 => proptest::collection::vec(any::<u8>(), 0..12).prop_map(Owned::Text),
        1 => proptest::collection::vec(any::<u8>(), 0..12).prop_map(Owned::Blob),
    ]
}

#[derive(Debug, Clone)]
enum Owned {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Owned {
    fn borrow(&self) -> SqliteValue<'_> {
        match self {
            Self::Null => SqliteValue::Null,
            Self::Integer(v) => SqliteValue::Integer(*v),
            Self::Real(v) => SqliteValue::Real(*v),
            Self::Text(v) => SqliteValue::Text(v),
            Self::Blob(v) => SqliteValue::Blob(v),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever stands in a log, it is cut into a batch, and comes back from the frame as the same batch with the same
    /// chain.
    #[test]
    fn any_log_travels(rows in proptest::collection::vec((0..4_usize, 0..4_usize, any::<i64>(), proptest::collection::vec(any_value(), 9)), 1..40)) {
        let schema = crate::common::schema();
        let mut builder = BatchBuilder::new(&schema, crate::common::station(), 1, crate::common::chain_start());
        for (seq, (table, op, at_ms, values)) in (1..).zip(&rows) {
            let values: Vec<SqliteValue<'_>> = values.iter().map(Owned::borrow).collect();
            builder.push(&LogRow {
                seq,
                at_ms: *at_ms,
                table: ["site", "reading", "tag", "ghost"][*table].as_bytes(),
                op: ["I", "U", "D", "?"][*op].as_bytes(),
                values: &values,
            });
        }
        let batch = builder.finish(0);
        prop_assert_eq!(batch.order.len(), rows.len());
        for compression in ALL {
            let decoded = decode(&encode(&batch, compression).unwrap(), &schema, &LIMITS).unwrap();
            prop_assert_eq!(&decoded, &batch);
        }
    }

    /// Whatever bytes arrive, the decoder answers.
    #[test]
    fn any_bytes_are_answered(body in proptest::collection::vec(any::<u8>(), 0..300), compression in 0..3_u8, count in 0..50_u32) {
        let mut frame = frame(Compression::None)[..HEADER_BYTES].to_vec();
        frame[6] = compression;
        frame[12..16].copy_from_slice(&(body.len() as u32).to_le_bytes());
        frame[52..56].copy_from_slice(&count.to_le_bytes());
        frame.extend_from_slice(&body);
        prop_assert!(decode(&resealed(frame), &crate::common::schema(), &LIMITS).is_err());
    }
}
