//! Asks the server which rows it holds just as they are here: its digests of them are compared with the file's.

use tidemark_core::decision::Cursor;
use tidemark_core::digest::RowDigest;
use tidemark_core::limits::RANGES_MAX;
use tidemark_core::survey::{Answer, Ask, DigestReply, Question, Range};

use crate::pruned::record::PrunedRow;
use crate::store::Store;
use crate::sync::backoff::retry_after_ms;
use crate::sync::reply::{Read, read, stop_of};
use crate::sync::{Backoff, Reply};
use crate::verify::{Ended, Means, Standing, request_of, stands};

/// Rows whose digest is asked for at once; where it differs, each is asked for.
const GROUP_ROWS: usize = 16;

/// The rows that upstream holds, in the order of their keys.
pub(super) fn prove(
    store: &mut Store,
    means: &mut Means<'_>,
    index: usize,
    mut rows: Vec<PrunedRow>,
) -> std::result::Result<Vec<PrunedRow>, Ended> {
    rows.sort_unstable_by_key(|row| row.identity);
    let groups: Vec<&[PrunedRow]> = rows.chunks(GROUP_ROWS).collect();
    let (mut proven, differing) = compare(store, means, index, &groups)?;
    let single: Vec<&[PrunedRow]> = differing.iter().flat_map(|group| group.chunks(1)).collect();
    proven.extend(compare(store, means, index, &single)?.0);
    let mut proven: Vec<PrunedRow> = proven.concat();
    proven.sort_unstable_by_key(|row| row.id);
    Ok(proven)
}

/// Groups of rows, in order.
type Groups<'r> = Vec<&'r [PrunedRow]>;

/// Parts groups, sorted and disjoint, into those that are the same upstream, with nothing in between, and the others.
fn compare<'r>(
    store: &mut Store,
    means: &mut Means<'_>,
    index: usize,
    groups: &[&'r [PrunedRow]],
) -> std::result::Result<(Groups<'r>, Groups<'r>), Ended> {
    let (mut same, mut differing) = (Vec::new(), Vec::new());
    for groups in groups.chunks(RANGES_MAX) {
        let there = digests(store, means, index, groups.iter().map(|group| span(group)).collect())?;
        for (group, there) in groups.iter().zip(there) {
            let mut here = RowDigest::default();
            group.iter().for_each(|row| here.add(&row.hash));
            if here == there { &mut same } else { &mut differing }.push(*group);
        }
    }
    Ok((same, differing))
}

/// The range of a group's first row to its last.
fn span(group: &[PrunedRow]) -> Range {
    let (first, last) = (group.first(), group.last());
    Range { from: first.map(|row| row.identity), to: last.and_then(|row| row.identity.successor()) }
}

/// Asks the server for the digests of ranges, until it answers.
fn digests(
    store: &mut Store,
    means: &mut Means<'_>,
    index: usize,
    ranges: Vec<Range>,
) -> std::result::Result<Vec<RowDigest>, Ended> {
    let table = store.schema().tables()[index].name.clone();
    let asks = vec![Ask { table, question: Question::Digests(ranges.clone()) }];
    let mut backoff = Backoff::new(means.config.backoff, means.config.seed);
    for id in 1.. {
        let request = request_of(store, id, asks.clone())?.map_err(Ended::Stopped)?;
        let (message, retry_after_ms) = match means.transport.send(&request) {
            Ok(reply) => match answer(store, &reply, ranges.len())? {
                Heard::Digests(digests) => return Ok(digests),
                Heard::OtherHistory => {
                    means.agree(store)?;
                    ("the server's answers contradict each other".to_owned(), None)
                }
                Heard::Failed(message, retry_after_ms) => (message, retry_after_ms),
            },
            Err(failure) => (failure.message, None),
        };
        means.wait(&mut backoff, &message, retry_after_ms)?;
    }
    unreachable!("BUG: waiting gives up")
}

enum Heard {
    Digests(Vec<RowDigest>),
    OtherHistory,
    Failed(String, Option<u64>),
}

fn answer(store: &mut Store, reply: &Reply, ranges: usize) -> std::result::Result<Heard, Ended> {
    let retry_after_ms = retry_after_ms(reply.retry_after.as_deref());
    let mut done: DigestReply = match read(reply) {
        Read::Done(done) => done,
        Read::Problem(problem) => {
            return match stop_of(&problem) {
                Some(stop) => Err(Ended::Stopped(stop)),
                None => Ok(Heard::Failed(format!("the server answered: {}", problem.detail), retry_after_ms)),
            };
        }
        Read::Other(foreign) => return Ok(Heard::Failed(foreign.to_string(), retry_after_ms)),
    };
    // A reply from before another process pushed does as well: the rows are looked at again before they go.
    if stands(store, Cursor { seq: done.tidemark, chain: done.chain })? == Standing::Differs {
        return Ok(Heard::OtherHistory);
    }
    match (done.answers.pop(), done.answers.is_empty()) {
        (Some(Answer::Digests(digests)), true) if digests.len() == ranges => Ok(Heard::Digests(digests)),
        _ => {
            let message =
                "the server answered something else than it was asked; do both programs have the same version?";
            Ok(Heard::Failed(message.to_owned(), None))
        }
    }
}
