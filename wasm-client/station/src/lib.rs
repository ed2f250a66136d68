//! Tidemark on a field station: the library behind the program `tidemark`.
//!
//! | module | what lives there |
//! |---|---|
//! | [`Station`] | open a file, write, join, push |
//! | [`import`] | CSV files into tables |
//! | [`daemon`], [`courier`] | pushing in the background; requests beside other work |
//! | [`bell`], [`watcher`] | what it waits for, and the word of the system that the file was written |
//! | [`transport`], [`clock`], [`entropy`], [`disk`] | network, time, randomness and disk of this machine |
//! | [`cli`] | the command line, one file per verb |

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what is printed goes through `cli::show`, which lets nothing at a terminal"
)]

pub mod bell;
pub mod cli;
pub mod clock;
pub mod courier;
pub mod daemon;
pub mod disk;
mod ending;
pub mod entropy;
mod error;
pub mod import;
mod station;
pub mod transport;
pub mod watcher;

pub use station::{PATIENCE, Station, StationError};
pub use tidemark_client as client;
