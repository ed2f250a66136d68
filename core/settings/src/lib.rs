//! The settings of a program: a file in TOML, the environment, the flags of its command line, in this order of rising
//! precedence.
//!
//! A setting is declared once, as a flag for clap. All else is made out of that: its key in the file, its variable, its
//! type and what it allows, its default, its place in the commented file that `config show --default` prints. So a flag
//! that somebody adds is a setting at once.
//!
//! ```text
//! Command ─▶ Setting…                              what may be set            (setting)
//! file ─▶ Found…   variables ─▶ Found…   words ─▶ Found…                      (file, variables, words)
//!              └──────────────┬─────────────────┘
//!                          Layers: the highest wins, wrong ones are told      (layers)
//!                             └─▶ words, as if all of it had been typed ─▶ clap   (program)
//! ```
//!
//! What a file or a variable says reaches the program as if it had been typed: so one parser decides about all three,
//! and what two flags may not be together, two lines of a file may not be either.
//!
//! | module | what lives there |
//! |---|---|
//! | [`program`] | a program, and its words parsed together with its settings |
//! | [`setting`] | what may be set, out of a clap command |
//! | [`words`] | the words that were typed: which command, which flags |
//! | [`mod@file`] | a file's text, taken apart, with the line of each key |
//! | [`place`] | where the file is; who may read it |
//! | [`secret`] | secrets in files of their own |
//! | [`variables`] | the environment |
//! | [`value`] | whether a value is one that its flag takes |
//! | [`layers`] | which value holds, and where it is from |
//! | [`problem`] | what is wrong, as facts and in words |
//! | [`report`] | `config check`: every value with its origin |
//! | [`show`] | `config show`: the commented file |
//! | [`origin`] | where a value is from |
//! | [`whole`] | whether all flags that are to be settings are some |
//! | [`near`] | the name nearest to one that nobody knows |

pub mod file;
pub mod layers;
pub mod near;
pub mod origin;
pub mod place;
pub mod problem;
pub mod program;
pub mod report;
pub mod secret;
pub mod setting;
pub mod show;
pub mod value;
pub mod variables;
pub mod whole;
pub mod words;

pub use layers::{Effective, Layers};
pub use origin::Origin;
pub use problem::{Problem, Warning};
pub use program::{Loaded, Program, World};
pub use setting::{Setting, Table};
