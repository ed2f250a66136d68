//! Which of SQLite's values a value of JavaScript is. The rules of `web/src/index.d.ts`, without JavaScript.

use rusqlite::types::Value;
use tidemark_core::timestamp;

use crate::error::{Failure, Result};

/// Largest integer that a number of JavaScript holds with all its neighbours.
pub const SAFE_INTEGER_MAX: i64 = (1 << 53) - 1;

/// Parameters of a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Params {
    /// By place.
    Positional(Vec<Value>),
    /// By name, without the colon.
    Named(Vec<(String, Value)>),
}

/// A number: an integer while it is a safe one, else a real.
///
/// # Errors
/// Not a number: SQLite has none, and would store NULL.
pub fn number(value: f64) -> Result<Value> {
    if value.is_nan() {
        return Err(Failure::argument("NaN cannot be stored; give null where there is no number"));
    }
    let integer =
        value.fract() == 0.0 && value.abs() <= SAFE_INTEGER_MAX as f64 && !(value == 0.0 && value.is_sign_negative());
    Ok(if integer { Value::Integer(value as i64) } else { Value::Real(value) })
}

/// A bigint, given as its decimal digits.
///
/// # Errors
/// When it has more than 64 bits.
pub fn bigint(digits: &str) -> Result<Value> {
    let value = digits.parse().map_err(|_| {
        Failure::argument(format!("the bigint {digits} has more than 64 bits; SQLite's integers have 64"))
    })?;
    Ok(Value::Integer(value))
}

/// A date, as milliseconds since 1970 UTC: the text of a timestamp column.
///
/// # Errors
/// An invalid date, and one outside the years 1 to 9999.
pub fn date(ms: f64) -> Result<Value> {
    if ms.is_nan() {
        return Err(Failure::argument("an invalid Date cannot be stored"));
    }
    // What is beyond i64 saturates, and is outside.
    let us = (ms as i64).saturating_mul(1000);
    if !(timestamp::FIRST_US..=timestamp::LAST_US).contains(&us) {
        return Err(Failure::argument("a Date outside the years 1 to 9999 cannot be stored as a timestamp"));
    }
    Ok(Value::Text(timestamp::format(us)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn safe_integers_are_integers_and_all_else_is_real() {
        let safe = SAFE_INTEGER_MAX as f64;
        for (given, kept) in [
            (0.0, Value::Integer(0)),
            (-1.0, Value::Integer(-1)),
            (safe, Value::Integer(SAFE_INTEGER_MAX)),
            (-safe, Value::Integer(-SAFE_INTEGER_MAX)),
            (safe + 1.0, Value::Real(safe + 1.0)),
            (0.5, Value::Real(0.5)),
            (1e300, Value::Real(1e300)),
            (f64::INFINITY, Value::Real(f64::INFINITY)),
        ] {
            assert_eq!(number(given), Ok(kept), "{given}");
        }
        let Ok(Value::Real(zero)) = number(-0.0) else { panic!("the sign of zero is lost") };
        assert!(zero == 0.0 && zero.is_sign_negative());
        assert_eq!(number(f64::NAN).unwrap_err().code, Code::Argument);
    }

    #[test]
    fn bigints_have_64_bits() {
        assert_eq!(bigint("-9223372036854775808"), Ok(Value::Integer(i64::MIN)));
        assert_eq!(bigint("9223372036854775807"), Ok(Value::Integer(i64::MAX)));
        for digits in ["9223372036854775808", "-9223372036854775809"] {
            assert!(bigint(digits).unwrap_err().message.contains(digits));
        }
    }

    #[test]
    fn dates_are_the_text_of_a_timestamp() {
        for (ms, text) in [
            (0.0, "1970-01-01 00:00:00.000000"),
            (-1.0, "1969-12-31 23:59:59.999000"),
            (1_700_000_000_123.0, "2023-11-14 22:13:20.123000"),
            (-62_135_596_800_000.0, "0001-01-01 00:00:00.000000"),
            (253_402_300_799_999.0, "9999-12-31 23:59:59.999000"),
        ] {
            assert_eq!(date(ms), Ok(Value::Text(text.into())), "{ms}");
        }
        for ms in [f64::NAN, f64::INFINITY, 8.64e15, -8.64e15, 253_402_300_800_000.0] {
            assert_eq!(date(ms).unwrap_err().code, Code::Argument, "{ms}");
        }
    }
}
