//! Frames: any bytes are answered, within the limits' memory; any log comes back from its frame as it was.

use arbitrary::{Arbitrary as _, Unstructured};
use tidemark_core::batch::{Batch, BatchBuilder, LogRow};
use tidemark_core::chain::Chain;
use tidemark_core::frame::{Compression, FrameHeader, HEADER_BYTES, decode, encode};
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;

use crate::rows::{Row, schema};

/// Limits that a small input can reach.
const SMALL: FrameLimits =
    FrameLimits { rows_max: 100, frame_bytes_max: 2_000, body_bytes_max: 4_000, cells_max: 1_000 };

/// Limits that no input of a fuzzer's size reaches honestly, and small enough to show who takes memory on a claim.
const WIDE: FrameLimits = FrameLimits { body_bytes_max: 1 << 20, cells_max: 1 << 17, ..FrameLimits::DEFAULT };

/// The first byte says how the others are taken: as a frame, as a frame whose check a forger has mended, or as rows of
/// a log.
pub fn run(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else { return };
    let schema = schema();
    match how % 4 {
        0 => answered(data, &schema),
        1 | 2 => answered(&mended(data, &schema), &schema),
        _ => travels(data, how / 4, &schema),
    }
}

fn answered(frame: &[u8], schema: &Schema) {
    for limits in [&SMALL, &WIDE] {
        let header = FrameHeader::parse(frame, limits);
        let batch = decode(frame, schema, limits);
        assert!(batch.is_err() || header.is_ok(), "decoded behind a header that is refused");
        let (Ok(header), Ok(batch)) = (header, batch) else { continue };
        assert_eq!(batch.span().count, header.count);
        assert!(batch.span().count <= limits.rows_max);
        same_again(&batch, schema, limits);
    }
}

/// Checks that what was decoded encodes to a frame that decodes to the same.
fn same_again(batch: &Batch, schema: &Schema, limits: &FrameLimits) {
    let again = encode(batch, Compression::None).expect("a decoded batch encodes");
    match decode(&again, schema, limits) {
        Ok(again) => assert!(again == *batch, "encoded again it is another batch"),
        // Without compression it may be over the limit of a frame's bytes.
        Err(error) => assert!(again.len() > limits.frame_bytes_max as usize, "{error}"),
    }
}

/// Makes lengths, schema and check fit, so that what is tried is the decoder behind them.
fn mended(data: &[u8], schema: &Schema) -> Vec<u8> {
    let mut frame = data.to_vec();
    frame.resize(frame.len().max(HEADER_BYTES), 0);
    let body_bytes = (frame.len() - HEADER_BYTES) as u32;
    let compression = frame[6] % 4;
    frame[..8].copy_from_slice(&[b'T', b'D', b'M', b'K', 1, 0, compression, 0]);
    frame[8..12].copy_from_slice(&body_bytes.to_le_bytes());
    if compression == 0 {
        frame[12..16].copy_from_slice(&body_bytes.to_le_bytes());
    }
    frame[16..48].copy_from_slice(&schema.fingerprint().0);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&frame[..136]).update(&frame[HEADER_BYTES..]);
    let check = hasher.finalize();
    frame[136..HEADER_BYTES].copy_from_slice(&check.as_bytes()[..16]);
    frame
}

fn travels(data: &[u8], compression: u8, schema: &Schema) {
    let Ok(rows) = Vec::<Row>::arbitrary(&mut Unstructured::new(data)) else { return };
    if rows.is_empty() {
        return;
    }
    let station = StationNumber::new(5).expect("BUG: 5 is a station number");
    let mut builder = BatchBuilder::new(schema, station, 1, Chain::start([1; 16]));
    for (seq, row) in (1..).zip(&rows) {
        let values: Vec<_> = row.cells.iter().map(|cell| cell.as_sqlite()).collect();
        builder.push(&LogRow { seq, at_ms: row.at_ms, table: row.table(), op: row.op(), values: &values });
    }
    assert_eq!(builder.rows(), rows.len(), "every change keeps its number");
    let batch = builder.finish(0);
    let compression = [Compression::None, Compression::Zstd, Compression::Deflate][usize::from(compression % 3)];
    let frame = encode(&batch, compression).expect("any log encodes");
    assert!(decode(&frame, schema, &FrameLimits::DEFAULT).expect("what was cut is taken") == batch);
}
