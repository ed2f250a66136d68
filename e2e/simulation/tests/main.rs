//! The simulation's seeds, and its test of itself, which needs a build with bugs on purpose that no other test may see.

#[cfg(feature = "planted-bugs")]
mod planted;
mod simulation;
