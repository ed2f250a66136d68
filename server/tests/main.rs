//! The tests of this package as one program, a module per subject: a program per file would link the same code again
//! and again.

#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

mod admission;
mod at_once;
mod common;
mod connections;
mod contract;
mod cors;
mod http;
mod lineage;
mod load;
mod migrations;
mod notebook;
mod outage;
mod planner;
mod program;
mod references;
mod rejects;
mod reports;
mod running;
mod sneakernet;
mod stopping;
mod stuck;
mod survey;
mod systemd;
mod upkeep;
mod words;
