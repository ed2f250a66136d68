//! The tests of this package as one program, a module per subject: a program per file would link the same code again
//! and again.

#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

mod append;
mod common;
mod derived;
mod frame;
mod schema_doc;
mod sealed;
