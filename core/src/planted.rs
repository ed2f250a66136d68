//! Bugs planted on purpose, with which the simulation proves that it would see them.
//!
//! Only the cargo feature `planted-bugs` brings them in, and only one test asks for it. Without the feature [`planted`]
//! is the constant `false`, and what stands behind it compiles to nothing.

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A bug that somebody might write.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Bug { $($(#[$doc])* $name,)* }

        impl Bug {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The bug of this name.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

bugs! {
    /// Decision: one change too many is taken for applied where a batch overlaps the cursor.
    OverlapOffByOne = "overlap-off-by-one",
    /// Decision: the chain is not compared.
    ChainNotChecked = "chain-not-checked",
    /// Decision: a batch that overtook the one before it is taken.
    GapTaken = "gap-taken",
    /// Server: a batch is acknowledged although the database could not commit it.
    AckBeforeCommit = "ack-before-commit",
    /// Server: the cursor need not move for the rows to be committed.
    CursorApart = "cursor-apart",
    /// Server: the prints need not be kept for the rows to be committed.
    HistoryApart = "history-apart",
    /// Server: what was foreseen of a batch is taken for the rest of it, too.
    ForeseenForRest = "foreseen-for-rest",
    /// Server: rejected changes are not stored.
    RejectNotStored = "reject-not-stored",
    /// Server: what was rejected is not told again with a duplicate.
    RejectsNotRepeated = "rejects-not-repeated",
    /// Server: a failure that repeats itself is waited for like any other.
    NeverInPieces = "never-in-pieces",
    /// Server: a database that is away counts as a failure of the changes.
    AwayBlamesChanges = "away-blames-changes",
    /// Server: what fails in a piece of several changes rejects all of them.
    PieceRejected = "piece-rejected",
    /// Server: after a piece the cursor stands behind the whole batch.
    PieceSkipsRest = "piece-skips-rest",
    /// Server: the rejects of all pieces but the last are not told.
    PieceRejectsForgotten = "piece-rejects-forgotten",
    /// Server: a transaction may touch any number of chunks.
    ChunksUncapped = "chunks-uncapped",
    /// Store: a panic leaves what its transaction has written.
    PanicLeavesRows = "panic-leaves-rows",
    /// Store: of prints and cursor, which are sent and not waited for, a failure is not looked for before the commit.
    BookkeepingLost = "bookkeeping-lost",
    /// Store: a statement that was prepared before a table was altered is used on and on.
    StatementOfOldSchema = "statement-of-old-schema",
    /// Planner: of several images of one row in a batch, the first is written.
    FirstImageKept = "first-image-kept",
    /// Planner: a row deleted and inserted again in one batch stays deleted.
    DeleteWins = "delete-wins",
    /// Planner: what earlier changes of the batch did is not seen by later ones.
    BatchBlind = "batch-blind",
    /// Planner: a uuid may be another station's.
    OwnerNotChecked = "owner-not-checked",
    /// Planner: an insert into an append table is written whatever row of its key is there.
    AppendUnchecked = "append-unchecked",
    /// Cutting: what cannot convert travels as a void change, and is not noted as rejected.
    VoidForgotten = "void-forgotten",
    /// Engine: a tidemark beyond the batch is taken at once, with no word of the rejects in between.
    AckBeyondBatch = "ack-beyond-batch",
    /// Engine: where a batch that was sent early overtook the one before it, the server is taken to have lost that one.
    OvertakingIsLoss = "overtaking-is-loss",
    /// Engine: after an error of the server the batch is skipped.
    SkipOnError = "skip-on-error",
    /// Engine: once idle, it waits for a hint instead of looking at the log.
    LostWakeUp = "lost-wake-up",
    /// Engine: once it has said how it fares, an idle station says nothing more.
    IdleIsSilent = "idle-is-silent",
    /// Engine: a late reply is taken for the present request's.
    StaleReply = "stale-reply",
    /// Engine: what was sent is not made durable first.
    SentNotDurable = "sent-not-durable",
    /// Engine: a wait does not end when the clock is set back.
    WaitsForOldClock = "waits-for-old-clock",
    /// Backoff: waits are multiplied with themselves, without a bound.
    BackoffExplodes = "backoff-explodes",
    /// Backoff: where the server names a wait, that is the wait, however often it has refused.
    RetryAfterAlone = "retry-after-alone",
    /// Backoff: where no connection is made it waits as long as after refusals.
    UnreachedWaitsLong = "unreached-waits-long",
    /// Engine: after an outage the next request is the whole batch.
    NoProbe = "no-probe",
    /// Pace: a batch that is too large is sent again as it is.
    NeverSmaller = "never-smaller",
    /// Acknowledgement: one change too many is trimmed.
    TrimPastTidemark = "trim-past-tidemark",
    /// Acknowledgement: the log is trimmed before the transaction that moves the tidemark.
    TrimBeforeCommit = "trim-before-commit",
    /// Acknowledgement: a log trimmed to nothing numbers from 1 again.
    SeqReused = "seq-reused",
    /// Acknowledgement: the server's rejects are not kept on the station.
    RejectNotKept = "reject-not-kept",
    /// Joining: every attempt makes another token.
    TokenRemade = "token-remade",
}

#[cfg(feature = "planted-bugs")]
static ACTIVE: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(u8::MAX);

/// Makes one bug active in the whole process, or none.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    ACTIVE.store(bug.map_or(u8::MAX, |bug| bug as u8), std::sync::atomic::Ordering::SeqCst);
}

/// True when this bug is active.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    ACTIVE.load(std::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// True when this bug is active: never, in this build.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}
