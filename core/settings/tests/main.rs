//! The settings of a made-up program with every kind of flag.

#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

mod layers;
mod program;
