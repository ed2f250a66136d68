//! Time spans as they are typed.

/// A time span in milliseconds: `7d`, `24h`, `30m`, `10s`, or a bare number of seconds.
pub(super) fn span_ms(text: &str) -> Option<i64> {
    let (digits, unit_ms) = match text.char_indices().last()? {
        (at, 'd') => (&text[..at], 86_400_000),
        (at, 'h') => (&text[..at], 3_600_000),
        (at, 'm') => (&text[..at], 60_000),
        (at, 's') => (&text[..at], 1000),
        _ => (text, 1000),
    };
    let number: u32 = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    i64::from(number).checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::span_ms;

    #[test]
    fn time_spans_have_units() {
        assert_eq!(span_ms("7d"), Some(604_800_000));
        assert_eq!(span_ms("24h"), Some(86_400_000));
        assert_eq!(span_ms("1s"), Some(1000));
        assert_eq!(span_ms("90"), Some(90_000));
        for bad in ["", "d", "-1d", "+1d", "1w", "1.5h", "99999999999d"] {
            assert_eq!(span_ms(bad), None, "{bad}");
        }
    }
}
