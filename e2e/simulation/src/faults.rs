//! The kinds of faults, and sets of them.

use std::fmt;
use std::str::FromStr;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

faults! {
    /// Messages take long, so that they overtake each other.
    Delay = "delay",
    /// Requests are lost.
    LostRequest = "lost-request",
    /// Replies are lost.
    LostReply = "lost-reply",
    /// A connection breaks in the middle of a request's body.
    CutRequest = "cut-request",
    /// A connection breaks in the middle of a reply.
    CutReply = "cut-reply",
    /// A request arrives again, later, at any server.
    Duplicate = "duplicate",
    /// A request arrives with a bit flipped.
    Flip = "flip",
    /// A reply comes after its time was over, and is delivered nevertheless.
    LateReply = "late-reply",
    /// Nothing passes between a station and its servers for a while.
    Partition = "partition",
    /// Something in between answers: a captive portal, a proxy, a rate limit.
    Portal = "portal",
    /// A server refuses by the head: it, or its database, is not well, or it is asked too often.
    Shed = "shed",
    /// A server cuts an upload in the middle, for being slow or because it stops, and says so.
    CutUpload = "cut-upload",
    /// A server closes a connection that was idle while a request comes on it.
    Evicted = "evicted",
    /// A proxy refuses bodies beyond a size, without a word of ours; it stays when the faults stop.
    SmallProxy = "small-proxy",
    /// Hints about the network are wrong.
    WrongHint = "wrong-hint",
    /// A server dies, at rest or at a named moment of a transaction.
    ServerCrash = "server-crash",
    /// A server comes back with other limits.
    Limits = "limits",
    /// The database refuses, or meets another transaction, at a named moment.
    DatabaseError = "database-error",
    /// The database commits, and the server does not hear of it.
    LostCommit = "lost-commit",
    /// The database cannot be reached for a while.
    DatabaseOutage = "database-outage",
    /// A station's process dies, at rest or at a named point.
    ProcessCrash = "process-crash",
    /// A station's commit fails and its process dies.
    TornCommit = "torn-commit",
    /// A station loses its power, and with it what was not made durable.
    PowerCut = "power-cut",
    /// A second process pushes from the same file.
    SecondProcess = "second-process",
    /// Another program holds the file's write lock.
    LockedFile = "locked-file",
    /// The station's disk is full.
    FullDisk = "full-disk",
    /// A clock jumps back or forth.
    ClockJump = "clock-jump",
    /// Clocks run at another speed and from another time.
    ClockDrift = "clock-drift",
    /// A station's file is put back to an older copy.
    Rewind = "rewind",
    /// Programs write what cannot travel or be applied.
    HostileRow = "hostile-row",
    /// Transactions and savepoints are rolled back.
    Rollback = "rollback",
    /// The database has a constraint beyond the schema.
    Constraint = "constraint",
    /// The database's lock table is small: a transaction that touches many chunks fails (53200). It stays so when the
    /// faults stop.
    LockTable = "lock-table",
    /// The database refuses some rows for a limit of its configuration (53400); it stays.
    TupleLimit = "tuple-limit",
    /// Some rows take longer to write than a statement may (57014); it stays.
    SlowRow = "slow-row",
    /// A trigger of the operator's fails over some rows (42703); it stays.
    BrokenTrigger = "broken-trigger",
    /// The server panics over some rows; it stays.
    Panic = "panic",
    /// Tables are altered while servers have statements prepared, which the database refuses from then on.
    AlteredTable = "altered-table",
}

/// A set of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultSet(u64);

impl FaultSet {
    /// Every fault there is.
    #[must_use]
    pub fn all() -> Self {
        Fault::ALL.iter().fold(Self::default(), |set, &fault| set.with(fault))
    }

    /// Whether it is in the set.
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u8) != 0
    }

    /// The set with it.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | (1 << fault as u8))
    }

    /// The set without it.
    #[must_use]
    pub const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u8))
    }

    /// Those in the set.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().copied().filter(move |&fault| self.has(fault))
    }
}

impl fmt::Display for FaultSet {
    /// As the command line takes it: names with commas, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Fault::as_str).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

impl FromStr for FaultSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self::default());
        }
        text.split(',').try_fold(Self::default(), |set, name| {
            let fault = Fault::ALL.iter().find(|fault| fault.as_str() == name);
            let known: Vec<&str> = Fault::ALL.iter().map(|fault| fault.as_str()).collect();
            let fault =
                fault.ok_or_else(|| format!("no fault is called {name:?}; there are: none, {}", known.join(", ")))?;
            Ok(set.with(*fault))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_back() {
        for set in [FaultSet::default(), FaultSet::all(), FaultSet::default().with(Fault::Flip).with(Fault::Rewind)] {
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        assert!(
            "flip,bogus".parse::<FaultSet>().is_err_and(|error| error.contains("bogus") && error.contains("rewind"))
        );
    }
}
