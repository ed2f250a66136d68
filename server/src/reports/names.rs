//! Names, sorted and matched by the Unicode collation: Cyrillic as a dictionary has it, whichever case, composed or
//! not.

use std::cmp::Ordering;

use icu_collator::options::{CollatorOptions, Strength};
use icu_collator::{Collator, CollatorBorrowed};

use super::question::{Noun, ReportError, Unknown};

/// An error tells so many names.
const NEAR_MAX: usize = 5;

/// Compares names.
pub struct Names {
    order: CollatorBorrowed<'static>,
    sameness: CollatorBorrowed<'static>,
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

impl Names {
    /// By the root collation.
    #[must_use]
    pub fn new() -> Self {
        let collator = |strength| {
            let mut options = CollatorOptions::default();
            options.strength = Some(strength);
            Collator::try_new(Default::default(), options).expect("BUG: the root collation is compiled in")
        };
        Self { order: collator(Strength::Tertiary), sameness: collator(Strength::Secondary) }
    }

    /// The order of a dictionary; names that look the same go by their bytes.
    #[must_use]
    pub fn compare(&self, one: &str, other: &str) -> Ordering {
        self.order.compare(one, other).then_with(|| one.cmp(other))
    }

    /// The name that is meant: the very same, or else the only one that differs from it in nothing but case and
    /// composition.
    ///
    /// # Errors
    /// When there is none, or more than one; tells the near ones.
    pub fn find(&self, what: Noun, names: &[String], wanted: &str) -> Result<String, ReportError> {
        if names.iter().any(|name| name == wanted) {
            return Ok(wanted.to_owned());
        }
        let wanted = wanted.trim();
        let same: Vec<&String> =
            names.iter().filter(|name| self.sameness.compare(name.trim(), wanted) == Ordering::Equal).collect();
        if let [name] = same[..] {
            return Ok(name.clone());
        }
        let unknown = |same: &[&String], near: &[&String], more| {
            let owned = |names: &[&String]| names.iter().map(|&name| name.clone()).collect();
            ReportError::Unknown(Unknown {
                what,
                wanted: wanted.to_owned(),
                same: owned(same),
                near: owned(near),
                more,
            })
        };
        if !same.is_empty() {
            return Err(unknown(&same, &[], 0));
        }
        let lower = wanted.to_lowercase();
        let mut near: Vec<&String> =
            names.iter().filter(|name| !lower.is_empty() && name.to_lowercase().contains(&lower)).collect();
        near.sort_by(|one, other| self.compare(one, other));
        let more = near.len().saturating_sub(NEAR_MAX);
        near.truncate(NEAR_MAX);
        Err(unknown(&[], &near, more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&str]) -> Vec<String> {
        let by = Names::new();
        let mut names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        names.sort_by(|one, other| by.compare(one, other));
        names
    }

    #[test]
    fn cyrillic_sorts_as_in_a_dictionary() {
        // By code points, Ё comes before А, and lower case behind all upper case.
        assert_eq!(
            sorted(&["Жерех", "Ёрш", "ЕЛЕЦ", "ерш", "АЙВА", "cod"]),
            ["cod", "АЙВА", "ЕЛЕЦ", "ерш", "Ёрш", "Жерех"]
        );
    }

    #[test]
    fn a_name_is_found_whatever_its_case_and_composition() {
        let names = ["СИНЕЦ ВЯЛЕНЫЙ".to_owned(), "Йод".to_owned(), "Ёрш".to_owned(), "Ерш".to_owned()];
        let by = Names::new();
        assert_eq!(by.find(Noun::Product, &names, "синец вяленый").unwrap(), "СИНЕЦ ВЯЛЕНЫЙ");
        assert_eq!(by.find(Noun::Product, &names, "И\u{306}од").unwrap(), "Йод");
        assert_eq!(by.find(Noun::Product, &names, "ерш").unwrap(), "Ерш", "not Ёрш");
        let error = by.find(Noun::Product, &names, "синец").unwrap_err().to_string();
        assert!(error.contains("\"СИНЕЦ ВЯЛЕНЫЙ\""), "{error}");
        let twice = ["Скумбрия".to_owned(), "СКУМБРИЯ".to_owned()];
        assert_eq!(by.find(Noun::Product, &twice, "СКУМБРИЯ").unwrap(), "СКУМБРИЯ");
        assert!(by.find(Noun::Product, &twice, "скумбрия").is_err(), "both could be meant");
    }
}
