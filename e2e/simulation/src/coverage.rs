//! What was reached: a simulation that never meets a fault cannot see what it does.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by kind and name, e.g. `("fault", "flip")`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<(&'static str, String), u64>);

impl Coverage {
    /// Counts one.
    pub fn count(&mut self, kind: &'static str, name: impl Into<String>) {
        *self.0.entry((kind, name.into())).or_default() += 1;
    }

    /// How many there were.
    #[must_use]
    pub fn of(&self, kind: &'static str, name: &str) -> u64 {
        self.0.get(&(kind, name.to_owned())).copied().unwrap_or(0)
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(key.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Coverage {
    /// One line for each kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for ((kind, name), count) in &self.0 {
            if *kind != last {
                write!(f, "{}{kind}:", if last.is_empty() { "" } else { "\n" })?;
                last = kind;
            }
            write!(f, " {name} {count}")?;
        }
        Ok(())
    }
}
