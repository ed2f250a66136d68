//! The tests of this package as one program, a module per subject: a program per file would link the same code again
//! and again.

#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

mod ahead;
mod attach;
mod bundle;
mod capture;
mod common;
mod contact;
mod evolve;
mod farewell;
mod fleet;
mod forms;
mod join;
mod look;
mod outage;
mod outbox;
mod prune;
mod renumber;
mod settled;
mod store;
mod sync;
mod verify;
mod waits;
mod written;
