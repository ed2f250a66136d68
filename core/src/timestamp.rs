//! Timestamps: microseconds since 1970-01-01 UTC, and their text in SQLite.
//!
//! SQLite has no time type; programs store text. Accepted, strictly: `YYYY-MM-DD`, or that with ` ` or `T` and
//! `HH:MM[:SS[.f…]]`, and then nothing, `Z` or `±HH:MM`. No offset means UTC, as the existing system writes it.
//! More than six digits of fraction are accepted only when the rest are zeros: nothing is rounded away.

use thiserror::Error;

/// Microseconds in a day.
pub const DAY_US: i64 = 86_400_000_000;

/// 0001-01-01 00:00:00, the first instant that converts.
pub const FIRST_US: i64 = -62_135_596_800_000_000;
/// 9999-12-31 23:59:59.999999, the last.
pub const LAST_US: i64 = 253_402_300_799_999_999;

/// The text is not a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a timestamp of the form YYYY-MM-DD HH:MM:SS[.ffffff] between the years 1 and 9999")]
pub struct NotATimestamp;

/// Parses a timestamp's text to microseconds since 1970 UTC.
///
/// ```
/// use tidemark_core::timestamp::parse;
/// assert_eq!(parse(b"1970-01-01 00:00:01.5"), Ok(1_500_000));
/// assert_eq!(parse(b"2013-01-01T07:00:00Z"), parse(b"2013-01-01 08:00:00+01:00"));
/// assert!(parse(b"infinity").is_err());
/// ```
///
/// # Errors
/// When the text has another form, or names an instant outside the years 1 to 9999.
pub fn parse(text: &[u8]) -> Result<i64, NotATimestamp> {
    if let Some(us) = usual(text) {
        return Ok(us);
    }
    let mut rest = Reader(text);
    let year = rest.digits(4)?;
    rest.expect(b'-')?;
    let month = rest.digits(2)?;
    rest.expect(b'-')?;
    let day = rest.digits(2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || year < 1 {
        return Err(NotATimestamp);
    }
    let mut us = days_from_civil(year, month, day) * DAY_US;
    if !rest.0.is_empty() {
        if !(rest.accept(b' ') || rest.accept(b'T')) {
            return Err(NotATimestamp);
        }
        us += rest.time_of_day_us()?;
        us -= rest.offset_us()?;
        if !rest.0.is_empty() {
            return Err(NotATimestamp);
        }
    }
    if (FIRST_US..=LAST_US).contains(&us) { Ok(us) } else { Err(NotATimestamp) }
}

/// An instant in one of the two forms that nearly all have, `YYYY-MM-DD HH:MM:SS` with or without six digits; `None`
/// for any other text, whatever is wrong with it.
fn usual(text: &[u8]) -> Option<i64> {
    let (head, fraction) = text.split_at_checked(19)?;
    let mut not_digits = 0;
    let mut number = |digits: &[u8]| {
        digits.iter().fold(0_i64, |number, byte| {
            let digit = byte.wrapping_sub(b'0');
            not_digits |= u8::from(digit > 9);
            number * 10 + i64::from(digit)
        })
    };
    let fraction_us = match fraction {
        [] => 0,
        [b'.', digits @ ..] if digits.len() == 6 => number(digits),
        _ => return None,
    };
    let (year, month, day) = (number(&head[..4]), number(&head[5..7]), number(&head[8..10]));
    let (hour, minute, second) = (number(&head[11..13]), number(&head[14..16]), number(&head[17..]));
    let marks = [head[4], head[7], head[10], head[13], head[16]] == *b"-- ::";
    let is_time = hour < 24 && minute < 60 && second < 60;
    let is_date = year > 0 && (1..=12).contains(&month) && day > 0 && day <= days_in_month(year, month);
    let whole = not_digits == 0 && marks && is_time && is_date;
    let seconds = (hour * 60 + minute) * 60 + second;
    whole.then(|| days_from_civil(year, month, day) * DAY_US + seconds * 1_000_000 + fraction_us)
}

/// The text Tidemark writes: `YYYY-MM-DD HH:MM:SS.ffffff`, UTC. Instants outside the years 1 to 9999 are shown clamped.
///
/// ```
/// use tidemark_core::timestamp::{format, parse};
/// assert_eq!(format(1_500_000), "1970-01-01 00:00:01.500000");
/// assert_eq!(parse(format(-1).as_bytes()), Ok(-1));
/// ```
#[must_use]
pub fn format(us: i64) -> String {
    let us = us.clamp(FIRST_US, LAST_US);
    let (days, us) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let (year, month, day) = civil_from_days(days);
    let (s, fraction) = (us / 1_000_000, us % 1_000_000);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{fraction:06}", s / 3600, s / 60 % 60, s % 60)
}

/// The month an instant lies in, UTC, counted from January of the year 0.
///
/// ```
/// use tidemark_core::timestamp::{month_of, month_start_us, parse};
/// let february = month_of(parse(b"2024-02-29 23:59:59.999999").unwrap());
/// assert_eq!(february, 2024 * 12 + 1);
/// assert_eq!(month_start_us(february + 1), parse(b"2024-03-01").unwrap());
/// ```
#[must_use]
pub fn month_of(us: i64) -> i64 {
    let (year, month, _) = civil_from_days(us.div_euclid(DAY_US));
    year * 12 + month - 1
}

/// The first instant of a month counted as [`month_of`] does, in the range of an `i64` of microseconds.
#[must_use]
pub fn month_start_us(month: i64) -> i64 {
    days_from_civil(month.div_euclid(12), month.rem_euclid(12) + 1, 1).saturating_mul(DAY_US)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn accept(&mut self, byte: u8) -> bool {
        let hit = self.0.first() == Some(&byte);
        if hit {
            self.0 = &self.0[1..];
        }
        hit
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotATimestamp> {
        if self.accept(byte) { Ok(()) } else { Err(NotATimestamp) }
    }

    fn digits(&mut self, count: usize) -> Result<i64, NotATimestamp> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(NotATimestamp)?;
        self.0 = tail;
        head.iter()
            .try_fold(0, |n, b| if b.is_ascii_digit() { Ok(n * 10 + i64::from(b - b'0')) } else { Err(NotATimestamp) })
    }

    fn time_of_day_us(&mut self) -> Result<i64, NotATimestamp> {
        let hour = self.digits(2)?;
        self.expect(b':')?;
        let minute = self.digits(2)?;
        let second = if self.accept(b':') { self.digits(2)? } else { 0 };
        if hour > 23 || minute > 59 || second > 59 {
            return Err(NotATimestamp);
        }
        let mut fraction = 0;
        if self.accept(b'.') {
            let mut unit = 100_000;
            let mut seen = 0;
            while let Some(digit) = self.0.first().filter(|b| b.is_ascii_digit()) {
                if unit == 0 && *digit != b'0' {
                    return Err(NotATimestamp);
                }
                fraction += i64::from(digit - b'0') * unit;
                unit /= 10;
                seen += 1;
                self.0 = &self.0[1..];
            }
            if seen == 0 {
                return Err(NotATimestamp);
            }
        }
        Ok((hour * 3600 + minute * 60 + second) * 1_000_000 + fraction)
    }

    fn offset_us(&mut self) -> Result<i64, NotATimestamp> {
        let sign = match self.0.first() {
            None => return Ok(0),
            Some(b'Z') => {
                self.0 = &self.0[1..];
                return Ok(0);
            }
            Some(b'+') => 1,
            Some(b'-') => -1,
            Some(_) => return Err(NotATimestamp),
        };
        self.0 = &self.0[1..];
        let hour = self.digits(2)?;
        self.expect(b':')?;
        let minute = self.digits(2)?;
        if hour > 15 || minute > 59 {
            return Err(NotATimestamp);
        }
        Ok(sign * (hour * 60 + minute) * 60_000_000)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 of a date in the proleptic Gregorian calendar, counting years from March so that the leap day
/// is last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        assert_eq!(parse(b"2013-01-01 06:00:00"), Ok(1_357_020_000_000_000));
        assert_eq!(parse(b"2024-02-29"), Ok(1_709_164_800_000_000));
        assert_eq!(parse(b"0001-01-01"), Ok(FIRST_US));
        assert_eq!(parse(b"9999-12-31 23:59:59.999999"), Ok(LAST_US));
        assert_eq!(parse(b"1969-12-31 23:59:59.999999"), Ok(-1));
    }

    #[test]
    fn every_day_round_trips() {
        for day in (-719_162..2_932_896).step_by(13) {
            let us = day * DAY_US + 12_345_678_901;
            assert_eq!(parse(format(us).as_bytes()), Ok(us), "{}", format(us));
        }
    }

    #[test]
    fn the_usual_forms_are_read_as_any_other() {
        // The same instants with an offset take the long way.
        for text in [
            "2024-02-29 23:59:59",
            "0001-01-01 00:00:00.000000",
            "9999-12-31 23:59:59.999999",
            "1970-01-01 00:00:00.000001",
        ] {
            let offset = format!("{text}Z");
            assert_eq!(
                (usual(text.as_bytes()), usual(offset.as_bytes())),
                (parse(offset.as_bytes()).ok(), None),
                "{text}"
            );
        }
        for text in [
            "2023-02-29 00:00:00",
            "2024-00-10 00:00:00",
            "2024-13-10 00:00:00",
            "2024-04-31 00:00:00",
            "2024-01-00 00:00:00",
            "2024-01-01 24:00:00",
            "2024-01-01 00:60:00",
            "2024-01-01 00:00:60",
            "0000-01-01 00:00:00",
            "2024/01-01 00:00:00",
            "2024-01-01 00:00-00",
            "2024-01-01 00:00:00,000000",
            "2024-01-01 00:00:00.00000a",
            "2024-01-01 00:00:0/",
            "202\u{e9}-01-01 00:00:00",
        ] {
            assert_eq!((usual(text.as_bytes()), parse(text.as_bytes())), (None, Err(NotATimestamp)), "{text:?}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "now",
            "infinity",
            "-infinity",
            "2013",
            "2013-1-1",
            "2013-02-29",
            "2013-13-01",
            "2013-01-01 24:00:00",
            "2013-01-01 00:00:60",
            "2013-01-01 00:00:00.",
            "2013-01-01 00:00:00.1234567",
            "2013-01-01  00:00",
            "0000-01-01",
            "10000-01-01",
            "2013-01-01 00:00:00 ",
            "2013-01-01Z",
            "2013-01-01 00:00:00+1",
            "294277-01-01",
            "0001-01-01 00:00:00+00:01",
            "9999-12-31 23:59:59-00:01",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(NotATimestamp), "{text:?}");
        }
        assert_eq!(parse(b"2013-01-01 00:00:00.123456000"), parse(b"2013-01-01 00:00:00.123456"));
    }
}
