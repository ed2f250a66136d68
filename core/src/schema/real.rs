//! A decimal number as the nearest `f64`, exactly rounded, half to even. As `str::parse` does; but that brings tables
//! and code for speed, which a schema's few bounds do not need and every browser would download (15 KB compressed).

use std::cmp::Ordering;

/// Digits that are looked at; the rest only matters when the number lies exactly between two, which takes 767 digits at
/// most.
const DIGITS_MAX: usize = 800;
/// Beyond these powers of ten everything is infinite or zero.
const EXPONENT_MAX: i64 = 1_200;

/// A natural number: base 2³², least first, without zeros at its end.
#[derive(Clone)]
struct Big(Vec<u32>);

impl Big {
    /// `self × factor + plus`.
    fn mul_add(&mut self, factor: u32, plus: u32) {
        let mut carry = u64::from(plus);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn shift_left(&mut self, bits: u32) {
        self.0.splice(0..0, std::iter::repeat_n(0, if self.0.is_empty() { 0 } else { bits as usize / 32 }));
        self.mul_add(1 << (bits % 32), 0);
    }

    fn bits(&self) -> u32 {
        self.0.last().map_or(0, |last| self.0.len() as u32 * 32 - last.leading_zeros())
    }

    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// `self − other`, which is not more.
    fn sub(&mut self, other: &Self) {
        let mut borrow = false;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let (less, under) = limb.overflowing_sub(other.0.get(at).copied().unwrap_or(0));
            let (less, under_again) = less.overflowing_sub(borrow.into());
            (*limb, borrow) = (less, under || under_again);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

/// Reads `[+-]digits[.digits][e[+-]digits]`. `None` for anything else.
pub(super) fn parse_real(text: &str) -> Option<f64> {
    let (negative, text) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let (mut digits, mut count, mut tens) = (Big(Vec::new()), 0, 0_i64);
    let (mut at, mut point, mut any) = (0, false, false);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'.' if !point => point = true,
            b'0'..=b'9' => {
                any = true;
                if count < DIGITS_MAX {
                    digits.mul_add(10, (byte - b'0').into());
                    count += usize::from(!digits.0.is_empty());
                    tens -= i64::from(point);
                } else {
                    // What is cut off is more than nothing: it must not look like a tie.
                    if byte != b'0' && count == DIGITS_MAX {
                        digits.mul_add(10, 1);
                        (count, tens) = (count + 1, tens - 1);
                    }
                    tens += i64::from(!point);
                }
            }
            _ => break,
        }
        at += 1;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let exponent = std::str::from_utf8(&text[at + 1..]).ok()?;
        // One that has no room in an i64 is as good as the largest: the sign decides.
        tens += exponent.parse::<i64>().map_or_else(
            |error| match error.kind() {
                std::num::IntErrorKind::PosOverflow => Some(i64::from(u32::MAX)),
                std::num::IntErrorKind::NegOverflow => Some(-i64::from(u32::MAX)),
                _ => None,
            },
            |exponent| Some(exponent.clamp(-i64::from(u32::MAX), u32::MAX.into())),
        )?;
        at = text.len();
    }
    if !any || at < text.len() {
        return None;
    }
    let size = nearest(digits, tens);
    Some(if negative { -size } else { size })
}

/// The `f64` nearest to `digits × 10^tens`.
fn nearest(mut digits: Big, tens: i64) -> f64 {
    if digits.0.is_empty() || tens < -EXPONENT_MAX {
        return 0.0;
    }
    if tens > EXPONENT_MAX {
        return f64::INFINITY;
    }
    let mut divisor = Big(vec![1]);
    let scaled = if tens < 0 { &mut divisor } else { &mut digits };
    (0..tens.unsigned_abs()).for_each(|_| scaled.mul_add(10, 0));
    // digits / divisor = 1.… × 2^exponent, give or take one.
    let mut exponent = i64::from(digits.bits()) - i64::from(divisor.bits());
    match exponent {
        0.. => divisor.shift_left(exponent as u32),
        _ => digits.shift_left(-exponent as u32),
    }
    if digits.cmp(&divisor).is_lt() {
        digits.shift_left(1);
        exponent -= 1;
    }
    if exponent > 1023 {
        return f64::INFINITY;
    }
    // Subnormal numbers have fewer bits.
    let bits = (exponent + 1075).clamp(0, 53);
    let mut significand = 0_u64;
    for _ in 0..bits {
        significand <<= 1;
        if digits.cmp(&divisor).is_ge() {
            digits.sub(&divisor);
            significand |= 1;
        }
        digits.shift_left(1);
    }
    // What is left, twice: below, at or above the half.
    if bits == 0 && exponent < -1075 {
        return 0.0;
    }
    match digits.cmp(&divisor) {
        Ordering::Greater => significand += 1,
        Ordering::Equal => significand += significand & 1,
        Ordering::Less => {}
    }
    // In this form a carry goes into the exponent by itself.
    let biased = (exponent + 1022).max(0) as u64;
    f64::from_bits((biased << 52) + significand)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn same(text: &str) {
        let (ours, std) = (parse_real(text), text.parse::<f64>().ok());
        assert_eq!(ours.map(f64::to_bits), std.map(f64::to_bits), "{text}: {ours:?}, not {std:?}");
    }

    #[test]
    fn edges_are_as_in_the_standard_library() {
        for text in [
            "0",
            "-0",
            "+0.0",
            "1",
            "-90",
            "60.5",
            "0.1",
            "1e23",
            "8.5e-3",
            "9007199254740993",
            "9007199254740992.5",
            "1e308",
            "1.7976931348623157e308",
            "1.7976931348623158e308",
            "1.7976931348623159e308",
            "1e309",
            "-1e400",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "2.2250738585072014e-308",
            "2.2250738585072011e-308",
            "4.9406564584124654e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "2.47e-324",
            "1e-400",
            "1e-1300",
            "0e99999",
            ".5",
            "5.",
            "0.000000000000000000000000001e27",
            // Exactly between two, and then a little more.
            "1.00000000000000011102230246251565404236316680908203125",
            "1.00000000000000011102230246251565404236316680908203126",
            "1.00000000000000033306690738754696212708950042724609375",
        ] {
            same(text);
        }
        let tie = format!("1.00000000000000011102230246251565404236316680908203125{}", "0".repeat(900));
        same(&tie);
        same(&format!("{tie}1"));
        same(&format!("{}.5", "9".repeat(1_000)));
        same(&format!("0.{}1", "0".repeat(1_000)));
        for text in ["", ".", "-", "+", "e1", "1e", "1e+", "1x", "1.2.3", "--1", "1e1.5", " 1", "1 ", "1_0"] {
            assert_eq!(parse_real(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_real_is_read_back(bits: u64) {
            let real = f64::from_bits(bits);
            if real.is_finite() {
                for text in [format!("{real:e}"), format!("{real}"), format!("{real:.17e}")] {
                    same(&text);
                }
            }
        }

        #[test]
        fn any_decimal_is_as_in_the_standard_library(text in "[+-]?[0-9]{0,25}(\\.[0-9]{0,25})?(e[+-]?[0-9]{1,3})?") {
            same(&text);
        }
    }
}
