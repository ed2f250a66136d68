//! The search: a state machine that asks the server about ever smaller ranges. One request is in flight at a time; the
//! file is read anew for every question, so nothing is locked while the network is slow.
//!
//! `work` has what is left to do, `asked` the questions; here they are sent, and their answers heard.

mod asked;
mod work;

use std::collections::VecDeque;

use tidemark_core::decision::Cursor;
use tidemark_core::identity::Identity;
use tidemark_core::protocol::Problem;
use tidemark_core::survey::{Answer, DigestReply};
use tidemark_core::value::ColumnType;

use self::asked::Asked;
use self::work::Work;
use super::judge::{Judgement, Standing, judge, stands};
use super::report::{DIFFERENCES_MAX, Difference, Kind, Report, TableReport};
use super::request::request_of;
use crate::error::Result;
use crate::store::Store;
use crate::sync::backoff::retry_after_ms;
use crate::sync::reply::{Read, read};
use crate::sync::stop::stop_of;
use crate::sync::{Reply, Request, Stop};

/// The number of times in a row that other processes may push in between before the search waits.
const STALE_MAX: u32 = 50;
/// The next step of a search.
#[derive(Debug)]
pub enum Step {
    /// Perform this request and report its outcome.
    Send(Request),
    /// The search is over: [`Search::report`].
    Done,
    /// It cannot go on.
    Stopped(Stop),
}

/// The consequence of an answer, or of none.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Go on.
    Progress,
    /// It did not work; the same is asked again.
    Failed {
        /// The failure in words.
        message: String,
        /// The wait that the server asks for, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// The reply follows another history than the log: [`crate::sync::agree`] finds out which.
    OtherHistory,
    /// It cannot go on.
    Stopped(Stop),
}

/// The search for rows that differ.
#[derive(Debug)]
pub struct Search {
    /// The work that is left.
    work: Work,
    /// Taken up again after a failure.
    again: Option<Asked>,
    in_flight: Option<(u64, Asked)>,
    next_id: u64,
    /// The first so many differences are asked for with their cells.
    detailed: usize,
    stale: u32,
    reports: Vec<(usize, TableReport)>,
    report: Report,
}

impl Search {
    /// A search over all tables, or over one. The first `detailed` differences say which cells differ.
    ///
    /// # Errors
    /// When there is no such table; the message lists those there are.
    pub fn new(store: &Store, table: Option<&str>, detailed: usize) -> Result<Self> {
        let mut tables: VecDeque<usize> = match table {
            None => (0..store.schema().tables().len()).collect(),
            Some(name) => {
                store.table(name)?;
                store.schema().table_index(name).into_iter().collect()
            }
        };
        // In a file that was another station before, rows keyed by uuids do not say which of both wrote them.
        if !store.former()?.is_empty() {
            tables.retain(|&table| store.schema().tables()[table].key_column().ty == ColumnType::Integer);
        }
        let report = Report {
            agreed: None,
            tables: Vec::new(),
            differences: Vec::new(),
            pruned: Vec::new(),
            complete: true,
            requests: 0,
        };
        Ok(Self {
            work: Work::new(tables),
            again: None,
            in_flight: None,
            next_id: 1,
            detailed,
            stale: 0,
            reports: Vec::new(),
            report,
        })
    }

    /// Ends the search with what it found.
    #[must_use]
    pub fn report(mut self) -> Report {
        self.report.tables = self.reports.into_iter().map(|(_, report)| report).collect();
        self.report.differences.sort_unstable_by_key(|found| (found.table, found.identity, found.kind));
        self.report
    }

    /// Finds the next step: the next question, or the end.
    ///
    /// # Errors
    /// When the store fails; the search can be asked again.
    pub fn ask(&mut self, store: &mut Store) -> Result<Step> {
        let asked = match self.again.take() {
            Some(asked) => asked,
            None => match self.next_question(store)? {
                Some(asked) => asked,
                None => return Ok(Step::Done),
            },
        };
        let schema = store.schema();
        let asks = asked.asks(|table| schema.tables()[table].name.clone(), self.wants_cells());
        let request = match request_of(store, self.next_id, asks)? {
            Ok(request) => request,
            Err(stop) => return Ok(Step::Stopped(stop)),
        };
        self.next_id += 1;
        self.report.requests += 1;
        self.in_flight = Some((request.id, asked));
        Ok(Step::Send(request))
    }

    /// Finds the next question; `None` when there is none, and what was pruned is compared, too.
    fn next_question(&mut self, store: &mut Store) -> Result<Option<Asked>> {
        if self.report.differences.len() + self.work.suspects() >= DIFFERENCES_MAX {
            self.report.complete &= self.work.only_suspects();
        }
        let (wants_cells, reports) = (self.wants_cells(), &mut self.reports);
        let mut begun = |table, report| reports.push((table, report));
        let asked = self.work.next_question(store, wants_cells, &mut begun)?;
        // What was cut short was not listed to its end.
        if asked.is_none() && self.report.complete {
            self.report.pruned.extend(self.work.compare_pruned(store)?);
        }
        Ok(asked)
    }

    fn wants_cells(&self) -> bool {
        self.report.differences.len() < self.detailed
    }

    /// The request got no answer.
    pub fn on_failure(&mut self, id: u64, timeout: bool) {
        let Some(asked) = self.land(id) else { return };
        if timeout {
            self.work.ask_less();
        }
        self.ask_again(asked);
    }

    fn land(&mut self, id: u64) -> Option<Asked> {
        self.in_flight.take_if(|(flight, _)| *flight == id).map(|(_, asked)| asked)
    }

    /// Digests are packed anew, perhaps into smaller requests; the others are asked as they were.
    fn ask_again(&mut self, asked: Asked) {
        match asked {
            Asked::Digests(parts) => self.work.compare_again(parts),
            asked => self.again = Some(asked),
        }
    }

    /// The request was answered.
    ///
    /// # Errors
    /// When the store fails.
    pub fn hear(&mut self, store: &mut Store, id: u64, reply: &Reply) -> Result<Heard> {
        let Some(asked) = self.land(id) else { return Ok(Heard::Progress) };
        let done: DigestReply = match read(reply) {
            Read::Done(done) => done,
            Read::Problem(problem) => return Ok(self.on_problem(asked, reply, &problem)),
            Read::Other(foreign) => {
                self.ask_again(asked);
                let message = foreign.to_string();
                return Ok(Heard::Failed { message, retry_after_ms: retry_after_ms(reply.retry_after.as_deref()) });
            }
        };
        let server = Cursor { seq: done.tidemark, chain: done.chain };
        let standing = match (asked, &done.answers[..]) {
            (Asked::Find { table, suspects }, [Answer::Found(found)]) => {
                let (standing, judgements) = judge(store, table, &suspects, server, found)?;
                if standing == Standing::Agrees {
                    self.on_judged(table, &suspects, judgements);
                    self.stale = 0;
                } else {
                    self.again = Some(Asked::Find { table, suspects });
                    self.stale += 1;
                }
                standing
            }
            // These only direct the search: a stale one does as well. Of another history none does.
            (asked, answers) if asked.is_answered_by(answers) => {
                let standing = stands(store, server)?;
                match (asked, answers) {
                    (asked, _) if standing == Standing::Differs => self.ask_again(asked),
                    (Asked::Digests(parts), answers) => self.work.on_digests(parts, answers),
                    (Asked::Rows { table, ranges }, [Answer::Rows { rows, more }]) => {
                        self.work.on_rows(store, table, &ranges, rows, *more)?;
                    }
                    _ => unreachable!("BUG: the answers fit"),
                }
                standing
            }
            (asked, _) => {
                self.ask_again(asked);
                let message =
                    "the server answered something else than it was asked; do both programs have the same version?";
                return Ok(Heard::Failed { message: message.to_owned(), retry_after_ms: None });
            }
        };
        if standing == Standing::Agrees {
            self.report.agreed = Some(server);
        }
        Ok(match standing {
            Standing::Differs => Heard::OtherHistory,
            Standing::Stale if self.stale >= STALE_MAX => {
                let message = "other processes push all the time; end them, or try again later".to_owned();
                Heard::Failed { message, retry_after_ms: None }
            }
            Standing::Agrees | Standing::Stale => Heard::Progress,
        })
    }

    fn on_problem(&mut self, asked: Asked, reply: &Reply, problem: &Problem) -> Heard {
        if let Some(stop) = stop_of(problem) {
            return Heard::Stopped(stop);
        }
        // Perhaps it was too much at once.
        self.work.ask_less();
        self.ask_again(asked);
        let retry_after_ms = retry_after_ms(reply.retry_after.as_deref());
        Heard::Failed { message: format!("the server answered: {}", problem.detail), retry_after_ms }
    }

    fn on_judged(&mut self, table: usize, suspects: &[Identity], judgements: Vec<Judgement>) {
        let report = self.reports.iter_mut().find(|(index, _)| *index == table);
        let (_, report) = report.expect("BUG: a suspect's table was begun");
        for (&identity, judgement) in suspects.iter().zip(judgements) {
            match judgement {
                Judgement::Equal => {}
                Judgement::Pending => report.pending += 1,
                Judgement::Known => report.known += 1,
                Judgement::Differs(kind, cells) => {
                    *match kind {
                        Kind::Missing => &mut report.missing,
                        Kind::Extra => &mut report.extra,
                        Kind::Changed => &mut report.changed,
                    } += 1;
                    self.report.differences.push(Difference { table, identity, kind, cells });
                }
            }
        }
    }
}
