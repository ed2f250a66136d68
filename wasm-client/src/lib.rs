//! Tidemark in a browser: the client engine, with SQLite on the origin's private file system, as JavaScript calls it.
//!
//! A page's worker owns one `Core` and calls it; time, randomness and the network are the worker's. `web/` is the
//! package around it.
//!
//! | module | what lives there |
//! |---|---|
//! | `core` | what JavaScript sees; only for wasm32 |
//! | [`session`] | a station's open database: statements, transactions, what they changed |
//! | [`watch`] | which tables a commit changed and a statement reads; what statements of a page may not do |
//! | [`calls`] | answers kept until a page has them, so that no call is done twice |
//! | [`check`] | whether a stored database is whole |
//! | [`error`], [`words`] | failures with their codes; the engine's facts, and what helps, as a page says them |
//! | [`value`], `js`, `replies` | values from and to JavaScript; the engine's actions and events as objects |
//! | `storage` | files on OPFS; only for wasm32 |

pub mod calls;
pub mod check;
pub mod error;
pub mod session;
pub mod value;
pub mod watch;
pub mod words;

#[cfg(target_arch = "wasm32")]
pub mod core;
#[cfg(target_arch = "wasm32")]
mod js;
#[cfg(target_arch = "wasm32")]
mod replies;
#[cfg(target_arch = "wasm32")]
mod storage;
