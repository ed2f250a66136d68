//! The harness of the end-to-end tests: real servers, real stations, real networks that fail.
//!
//! | module | what lives there |
//! |---|---|
//! | [`process`] | the built programs `tidemark` and `tidemark-server` as child processes |
//! | [`proxy`] | a network between them that loses what a script says |
//! | [`field`] | a server and its stations, set up as a user would |
//! | [`compare`] | stations against upstream, cell by cell, with no code of the product's digest |
//! | [`exported`] | the same for what `tidemark-server export` makes |
//! | [`lives`] | the same for files that have been several stations |
//! | [`torture`] | a world of real processes that are killed at random moments |
//! | [`siege`] | hostile peers against a real server, and what good stations notice |
//! | [`divergence`] | changes an upstream database behind the server's back, and knows what must be found |
//! | [`record`] | what a station of the shrinkage system writes, with plain SQL |
//! | [`postgres`], [`schemas`], [`varied`], [`world`] | the test kit: clusters, schemas, rows, clock, chance |
//!
//! Nothing here is used by the product. A test that needs a program which the machine lacks fails and says which script
//! brings it; none is skipped.

pub mod compare;
pub mod divergence;
pub mod exported;
pub mod field;
pub mod lives;
pub mod process;
pub mod proxy;
pub mod record;
pub mod siege;
pub mod torture;

pub use tidemark_testkit::{postgres, schemas, varied, world};
