//! The settings of a made-up program with every kind of flag.

mod layers;
mod program;
