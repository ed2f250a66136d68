//! The endpoint: HTTP/1.1 and HTTP/2 by hyper, over TLS where the server has a certificate. Everything a client sends
//! is bounded in bytes and in time.
//!
//! ```text
//! serve ─▶ talk: connection ─▶ router: CORS, panics caught ─▶ routes: path → who may, body, handler ─▶ reply
//! ```
//!
//! | file | what lives there |
//! |---|---|
//! | `endpoint`, `stopping` | what requests share; the server's way to its end |
//! | `serve`, `talk` | the door, and one connection from its first byte to its end |
//! | `connections`, `address`, `closings` | who holds connections, who must go, and what the operator reads of it |
//! | `deadline`, `rewound`, `linger` | streams: peers that take nothing; bytes read early; an end without a reset |
//! | `routes`, `router` | the table of paths, and the way through it |
//! | `asked`, `body`, `memory` | a request and its body, within the bounds of time and memory |
//! | `caller`, `tokens` | whose it is |
//! | `turns`, `load` | who goes next, and when who is refused comes again |
//! | `order` | pushes of one station that are under way at once, in the order of its log |
//! | `join`, `rejoin`, `push`, `station`, `contact`, `digest`, `rejects`, `facts`, `reports` | the handlers |
//! | `admin`, `operators` | what operators ask and do; few at once, each in a stated time |
//! | `health` | whether the server is ready |
//! | `scrape`, `scraped`, `figures` | what is counted and measured, and what of it the database is asked for |
//! | `access`, `noted` | the log of requests |
//! | `site`, `page` | the field notebook; the fleet page |
//! | `cors`, `origin` | pages of other origins |
//! | `proxies`, `forwarded` | the proxies that say for whom they ask, and what bounds those |
//! | `problem` | replies |

mod access;
mod address;
mod admin;
mod asked;
mod body;
mod caller;
mod closings;
mod connections;
mod contact;
mod cors;
mod deadline;
mod digest;
mod endpoint;
mod facts;
mod figures;
mod forwarded;
mod health;
mod join;
mod linger;
mod load;
mod memory;
mod noted;
mod operators;
mod order;
mod origin;
mod page;
mod problem;
mod proxies;
mod push;
mod rejects;
mod rejoin;
mod reports;
mod rewound;
mod router;
mod routes;
mod scrape;
mod scraped;
mod serve;
mod site;
mod station;
mod stopping;
mod talk;
mod tokens;
mod turns;

pub use self::endpoint::{Endpoint, RequestBody};
pub use self::origin::{Origin, OriginError};
pub use self::proxies::{Network, NoNetwork, Proxies};
pub use self::scrape::serve_metrics;
pub use self::serve::serve;
pub use self::site::{MOUNT, Site};
