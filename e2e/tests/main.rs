//! The tests of this package as one program, a module per subject: a program per file would link the same code again
//! and again.

#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

mod append;
mod asks;
mod attach;
mod bad_input;
mod containers;
mod crash;
mod demo;
mod deployment;
mod documents;
mod export;
mod fleet;
mod guarantees;
mod guides;
mod house;
mod network;
mod packages;
mod prune;
mod python;
mod rejects;
mod rejoin;
mod rejoin_random;
mod reports;
mod run;
mod scraped;
mod servers;
mod settings;
mod siege;
mod sneakernet;
mod sqlalchemy;
mod switch;
mod terminal;
mod tls;
mod tokens;
mod tools;
mod torture;
mod upgrades;
mod verify;
mod volume;
mod weather;
