//! Bundles: any bytes are answered; what is taken to its end is a chain of frames from first to last.

use tidemark_core::bundle::{PURPOSE, UnprovedBundle};
use tidemark_core::limits::FrameLimits;
use tidemark_core::sealed::SealError;

use crate::seal::{mended, token_hash};

/// The bytes are a bundle; then the same with seals that fit.
pub fn run(data: &[u8]) {
    let _ = read(data);
    let _ = read(&mended(data, &PURPOSE));
}

fn read(file: &[u8]) -> Result<(), SealError> {
    let limits = FrameLimits { frame_bytes_max: 4_096, ..FrameLimits::DEFAULT };
    let mut bundle = UnprovedBundle::open(file)?.prove(&token_hash(), limits)?;
    let head = *bundle.head();
    let (mut frame, mut next_seq, mut chain) = (Vec::new(), head.first_seq, head.chain_before);
    while let Some(header) = bundle.next_frame(&mut frame)? {
        assert!(frame.len() <= limits.frame_bytes_max as usize);
        assert_eq!(header.station, head.station);
        assert_eq!((header.first_seq, header.chain_before), (next_seq, chain));
        next_seq += u64::from(header.count);
        chain = header.chain_after;
    }
    assert_eq!(next_seq, head.last_seq + 1, "taken to its end, but not whole");
    Ok(())
}
