//! The tables of the upstream databases: made, checked and taken away step by step.
//!
//! A migration is a pair of SQL texts. Tidemark's own tables and those of the shipped schema are files
//! (`sql/NNNN_name/{up,down}.sql`, `sqlite/NNNN_name/…`), embedded in the program; the tables of any other schema are
//! derived from it. They are applied in order, each in a transaction of its own, under a lock, and recorded with a
//! checksum: a file edited after it was applied is refused.
//!
//! | module | what lives there |
//! |---|---|
//! | [`shipped`] | the embedded files |
//! | [`mod@derive`] | SQL derived from a schema: its tables, and the step from one version to the next |
//! | [`plan`] | which migrations a database still needs; pure |
//! | [`postgres`], [`sqlite`] | the runners |
//! | `comments` | what the schema says of tables and columns, as PostgreSQL's comments |

mod comments;
pub mod derive;
mod error;
pub mod plan;
pub mod postgres;
pub mod shipped;
pub mod sqlite;

pub use error::{MigrateError, with_causes};
pub use plan::{Applied, Migration, Registered, Status};
