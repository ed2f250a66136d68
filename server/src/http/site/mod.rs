//! The field notebook: the files of a web page, in memory, served under [`MOUNT`].
//!
//! They come out of the program itself (`embedded`) or from a folder that was read at start (`folder`). Nothing is
//! read from disk while serving, so a path from outside is never a path on the disk.

mod answer;
mod embedded;
mod files;
mod folder;
mod negotiate;

pub(super) use self::answer::{owns, redirect};
pub use self::files::{MOUNT, Site};
