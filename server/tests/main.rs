//! The tests of this package as one program, a module per subject: a program per file would link the same code again
//! and again.

#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

mod acts;
mod admission;
mod append;
mod at_once;
mod common;
mod configuration;
mod connections;
mod contract;
mod cors;
mod encrypted;
mod fleet;
mod foreseen;
mod hosts;
mod http;
mod in_order;
mod lineage;
mod load;
mod logs;
mod metrics;
mod migrations;
mod monitoring;
mod notebook;
mod operators;
#[cfg(feature = "otel")]
mod otel;
mod outage;
mod page;
mod pipelined;
mod planner;
mod pooler;
mod program;
mod proxied;
mod references;
mod rejects;
mod renewed;
mod reports;
mod running;
mod secrets;
mod settings;
mod sighup;
mod sneakernet;
mod stopping;
mod stuck;
mod survey;
mod systemd;
mod tls;
mod upkeep;
mod words;
