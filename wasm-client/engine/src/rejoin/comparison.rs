//! Compares a file's history with the one the server has of its number, to find where the two part.
//!
//! The server keeps a print of the chain after every change it applied. The file makes its own, from its tidemark on,
//! and compares: chains that agree at one change agree at every earlier one, so the last agreement is exact wherever
//! both prints are known.

use tidemark_core::decision::Cursor;
use tidemark_core::rejoin::HistoryReply;

use super::history::OwnHistory;

/// The basis of a rejoin: the parting of the two histories where it is known, and else what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RejoinBasis {
    /// The histories part after this change, and the log is whole.
    At(u64),
    /// The log is not whole, or the server has lost changes that the log holds no more; nothing tells of another
    /// history. Upstream and the file's rows must be made equal row by row.
    Rows,
    /// The server has another history, and the log is not whole.
    Tampered,
    /// They part somewhere after the first change and up to the second: the server applied those before it kept prints.
    Unknown(u64, u64),
    /// The server has nothing of this file.
    Anew,
}

/// Compares histories as the server's comes in, page by page.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) own: OwnHistory,
    /// The server's cursor, as it was told last.
    pub(crate) server: Option<Cursor>,
    /// The number was revoked: nothing is pushed under it any more.
    pub(crate) revoked: bool,
    /// Last seq at which both are known to agree.
    agree: u64,
    /// First seq at which they are known to differ.
    differ: Option<u64>,
    /// The next page follows this seq; `None` when there is nothing to ask any more.
    ask: Option<u64>,
}

impl Comparison {
    pub(crate) const fn new(own: OwnHistory) -> Self {
        let base = own.meta.tidemark.seq;
        // From one before the tidemark on, so that the print there is compared, too.
        Self { own, server: None, revoked: false, agree: base, differ: None, ask: Some(base.saturating_sub(1)) }
    }

    /// After which seq to ask for prints, if there is something to ask.
    pub(crate) const fn asks_after(&self) -> Option<u64> {
        self.ask
    }

    /// The server's answer.
    pub(crate) fn answered(&mut self, reply: &HistoryReply) {
        let server = Cursor { seq: reply.tidemark, chain: reply.chain };
        self.server = Some(server);
        self.revoked = reply.revoked;
        self.ask = None;
        let told = (reply.first_seq..).zip(reply.prints.0.iter().copied());
        for (seq, print) in told.chain([(server.seq, server.chain.print())]) {
            match self.own.print_at(seq) {
                Some(own) if own == print => self.agree = self.agree.max(seq),
                Some(_) => self.differ = Some(self.differ.map_or(seq, |differ| differ.min(seq))),
                None => {}
            }
        }
        let told = (reply.first_seq + reply.prints.0.len() as u64).saturating_sub(1);
        let end = server.seq.min(self.own.last_seq());
        if !reply.prints.0.is_empty() && told < end && self.differ.is_none_or(|differ| differ > told + 1) {
            self.ask = Some(told);
        }
    }

    /// The result of the comparison, once everything was asked.
    pub(crate) fn basis(&self) -> RejoinBasis {
        let (base, last) = (self.own.meta.tidemark.seq, self.own.last_seq());
        let server = self.server.map_or(0, |server| server.seq);
        // Nothing differs, and what the server has beyond the log was sent from this very file.
        let alone = self.differ.is_none() && server <= last.max(self.own.meta.sent_seq);
        if server < base {
            return if self.differ.is_none() { RejoinBasis::Rows } else { RejoinBasis::Tampered };
        }
        if self.own.tampered.is_some() {
            return if alone { RejoinBasis::Rows } else { RejoinBasis::Tampered };
        }
        if self.differ == Some(base) {
            return RejoinBasis::Unknown(0, base);
        }
        if self.agree == server.min(last) || self.differ == Some(self.agree + 1) {
            return RejoinBasis::At(self.agree);
        }
        RejoinBasis::Unknown(self.agree, self.differ.unwrap_or(last + 1) - 1)
    }
}
