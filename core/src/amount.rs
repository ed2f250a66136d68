//! Amounts as people read them: how many of what, how fast, how large. Every program says them by these, so that none
//! says «1 rows».

/// `1 row`, `2 rows`, `0 copies`: a number and its noun, given in the singular.
///
/// ```
/// use tidemark_core::amount::count;
/// assert_eq!(count(1, "row"), "1 row");
/// assert_eq!(count(2, "copy"), "2 copies");
/// ```
#[must_use]
pub fn count(n: u64, noun: &str) -> String {
    format!("{n} {}", noun_for(n, noun))
}

/// `1 row is`, `2 rows are`.
#[must_use]
pub fn count_is(n: u64, noun: &str) -> String {
    count_with(n, noun, ["is", "are"])
}

/// [`count`] with the verb that fits: `1 row was`, `2 rows were` of `["was", "were"]`.
#[must_use]
pub fn count_with(n: u64, noun: &str, [one, many]: [&str; 2]) -> String {
    format!("{} {}", count(n, noun), if n == 1 { one } else { many })
}

/// The noun alone, as it stands behind a number that is shown elsewhere.
#[must_use]
pub fn noun_for(n: u64, noun: &str) -> String {
    if n == 1 {
        return noun.to_owned();
    }
    let hisses = ["s", "x", "z", "ch", "sh"].iter().any(|end| noun.ends_with(end));
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if hisses => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// `105,762/s`: whole ones from ten on, with one decimal below.
///
/// ```
/// use tidemark_core::amount::rate;
/// assert_eq!(rate(105_762.057_3), "105,762/s");
/// assert_eq!(rate(2.53), "2.5/s");
/// ```
#[must_use]
pub fn rate(per_second: f64) -> String {
    if !per_second.is_finite() || per_second < 0.0 {
        return "-/s".to_owned();
    }
    if per_second < 9.95 {
        return format!("{per_second:.1}/s");
    }
    format!("{}/s", grouped(&format!("{per_second:.0}")))
}

/// Digits in groups of three.
fn grouped(digits: &str) -> String {
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `512 B`, `1.5 KiB`, `20.0 GiB`: a size in bytes.
///
/// ```
/// assert_eq!(tidemark_core::amount::bytes(1536), "1.5 KiB");
/// ```
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_all_else_is_many() {
        let cases = [("row", "rows"), ("batch", "batches"), ("copy", "copies"), ("day", "days"), ("index", "indexes")];
        for (noun, nouns) in cases {
            assert_eq!(count(1, noun), format!("1 {noun}"));
            for n in [0, 2, 11, 21, 1001] {
                assert_eq!(count(n, noun), format!("{n} {nouns}"));
            }
        }
        assert_eq!((count_is(1, "change"), count_is(0, "change")), ("1 change is".into(), "0 changes are".into()));
    }

    #[test]
    fn a_rate_has_no_more_digits_than_anybody_reads() {
        for (per_second, shown) in [
            (0.0, "0.0/s"),
            (9.94, "9.9/s"),
            (9.96, "10/s"),
            (999.6, "1,000/s"),
            (105_762.057_3, "105,762/s"),
            (1_234_567.0, "1,234,567/s"),
            (f64::INFINITY, "-/s"),
            (f64::NAN, "-/s"),
        ] {
            assert_eq!(rate(per_second), shown);
        }
    }
}
