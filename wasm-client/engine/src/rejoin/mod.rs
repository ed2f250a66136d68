//! The file's part in a rejoin: finding where its history parts from its number's, and going on under another number.
//!
//! | file | what lives there |
//! |---|---|
//! | `history` | the file's own history, as prints of its log |
//! | `comparison` | that history against the server's: what a rejoin starts from |
//! | `shared` | which rows stay the old number's |
//! | `switch` | the transaction in which the file becomes another station |
//!
//! The conversation with the server is in [`crate::sync::rejoin`].

mod comparison;
mod history;
mod shared;
mod switch;

pub(crate) use comparison::{Comparison, RejoinBasis};
pub(crate) use history::{OwnHistory, chain_at};
pub(crate) use switch::{Switch, Switched, switch};
