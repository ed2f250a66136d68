//! The endpoint: HTTP/1 by hyper. Everything a client sends is bounded in bytes and in time.
//!
//! ```text
//! serve: connection ─▶ router: CORS · panics caught ─▶ routes: path → who may, body, handler ─▶ reply or problem
//! ```
//!
//! | file | what lives there |
//! |---|---|
//! | `endpoint`, `serve` | what requests share; connections |
//! | `routes`, `router` | the table of paths, and the way through it |
//! | `asked`, `body`, `caller`, `load` | a request: its body within bounds, whose it is, how long it may wait |
//! | `join`, `rejoin`, `push`, `station`, `digest`, `rejects`, `facts`, `reports` | the handlers |
//! | `health` | whether the server is ready |
//! | `site` | the field notebook |
//! | `cors`, `origin` | pages of other origins |
//! | `linger`, `problem` | the end of a connection that was not read; replies |

mod asked;
mod body;
mod caller;
mod cors;
mod digest;
mod endpoint;
mod facts;
mod health;
mod join;
mod linger;
mod load;
mod origin;
mod problem;
mod push;
mod rejects;
mod rejoin;
mod reports;
mod router;
mod routes;
mod serve;
mod site;
mod station;

pub use self::endpoint::{Endpoint, RequestBody};
pub use self::origin::{Origin, OriginError};
pub use self::serve::serve;
pub use self::site::{MOUNT, Site};
