//! The verdict of the oracle.

/// All is well, or what the oracle finds wrong.
pub type Verdict<T = ()> = Result<T, String>;
