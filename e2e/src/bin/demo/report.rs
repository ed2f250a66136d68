//! The closing table: what was written, what arrived, and whether both sides hold the same.

use anyhow::{Context as _, Result};
use tidemark_core::digest::RowDigest;

use crate::field::FieldStation;
use crate::hq::Server;

/// Prints one line per station. Returns whether everything is upstream and equal.
pub fn print(stations: &mut [FieldStation], server: &Server) -> Result<bool> {
    println!(
        "   {:<20} {:>7} {:>9} {:>9} {:>9} {:>9} {:>13} {:>13}",
        "station", "number", "written", "pushed", "applied", "rejected", "upstream rows", "digest equal"
    );
    let mut all_equal = true;
    for station in stations {
        let (name, written) = (station.name().to_owned(), station.written);
        let status = station.station().status()?;
        let number = status.membership.context("a station that pushed has joined")?.number;
        let here = station.station().store_mut().digests()?;
        let there = server.digests(number)?;
        let (tidemark, rejected) = server.standing(&name)?;
        let rows: u64 = there.iter().map(RowDigest::rows).sum();
        let equal = here.iter().map(|table| table.digest).eq(there);
        // Nothing may be left, lost, or refused.
        all_equal &= equal
            && status.tidemark == written
            && tidemark == written
            && status.pending + rejected + status.rejects == 0;
        println!(
            "   {name:<20} {:>7} {written:>9} {:>9} {:>9} {:>9} {rows:>13} {:>13}",
            number.get(),
            status.tidemark,
            tidemark.saturating_sub(rejected),
            rejected,
            if equal { "yes" } else { "NO" }
        );
    }
    Ok(all_equal)
}
