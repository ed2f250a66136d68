//! Text that came from a station, a peer, a file or a database, made fit to be shown: what would move a terminal's
//! cursor, change its colours or its title, write its clipboard, run text from right to left or hide it is shown as
//! `\u001b` instead; and cells that a spreadsheet would compute.
//!
//! The escapes are those of JSON, whose strings are the only place of a JSON text where such characters can stand: so
//! JSON goes through [`printable`] and says the same to whoever parses it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// True when a character does something to the text around it instead of being seen: C0 and C1 controls with DEL, the
/// marks, overrides and isolates of bidirectional text (Unicode TR 36, 2.2), separators of lines and paragraphs, spaces
/// and joiners without width, annotations and tags. The joiners of Persian and of emoji, U+200C and U+200D, are text.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn escape_into(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

fn escaped(text: &str, stays: impl Fn(char, Option<char>) -> bool) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if !is_harmful(c) || stays(c, chars.peek().copied()) {
            out.push(c);
        } else {
            escape_into(&mut out, c);
        }
    }
    Cow::Owned(out)
}

/// Text of any number of lines: line breaks and tabs stay.
///
/// ```
/// use tidemark_core::printable::printable;
/// assert_eq!(printable("a\n\u{1b}[2J\u{202e}b"), "a\n\\u001b[2J\\u202eb");
/// assert_eq!(printable("{\"a\":\"\u{9b}\"}"), r#"{"a":"\u009b"}"#);
/// ```
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c, next| matches!(c, '\n' | '\t') || (c == '\r' && next == Some('\n')))
}

/// Text that is part of a line: line breaks and tabs are shown as escapes, too, so that no text can pass for a line of
/// its own.
///
/// ```
/// assert_eq!(tidemark_core::printable::one_line("a\ntidemark: ok"), "a\\ntidemark: ok");
/// ```
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_, _| false)
}

/// The characters that a spreadsheet takes for the beginning of a formula, or skips before one; the wide forms are
/// those of East Asian input.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Text as a cell of a CSV file that people open in a spreadsheet: what would be computed there begins with an
/// apostrophe, and what would disturb a terminal is escaped as [`printable`] does. A number is no text: write it as it
/// is.
///
/// ```
/// use tidemark_core::printable::csv_cell;
/// assert_eq!(csv_cell("=HYPERLINK(\"//x\")"), "'=HYPERLINK(\"//x\")");
/// assert_eq!(csv_cell("СИНЕЦ ВЯЛЕНЫЙ"), "СИНЕЦ ВЯЛЕНЫЙ");
/// ```
#[must_use]
pub fn csv_cell(text: &str) -> Cow<'_, str> {
    let begins = text.trim_start_matches(|c: char| (c.is_whitespace() || is_harmful(c)) && !FORMULA.contains(&c));
    if begins.starts_with(FORMULA) { Cow::Owned(format!("'{}", printable(text))) } else { printable(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_speaks_to_a_terminal_is_shown_instead() {
        for (text, shown) in [
            ("\u{1b}[31mred\u{1b}[0m", "\\u001b[31mred\\u001b[0m"),
            ("\u{1b}]52;c;cm0gLXJm\u{7}", "\\u001b]52;c;cm0gLXJm\\u0007"),
            ("\u{9b}2J \u{85}\u{7f}", "\\u009b2J \\u0085\\u007f"),
            ("12\r34\r\n", "12\\r34\r\n"),
            ("\u{202e}txt\u{2066}\u{200f}\u{61c}", "\\u202etxt\\u2066\\u200f\\u061c"),
            ("a\u{2028}b\u{feff}\u{200b}", "a\\u2028b\\ufeff\\u200b"),
            ("\u{e0041}", "\\udb40\\udc41"),
            ("Ёрш, می‌خواهم, 👩‍🔬\n\tй", "Ёрш, می‌خواهم, 👩‍🔬\n\tй"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(one_line("a\r\n\tb"), "a\\r\\n\\tb");
    }

    #[test]
    fn what_a_spreadsheet_would_compute_is_text() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("+7 900", "'+7 900"),
            ("-5", "'-5"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\\r=1"),
            ("\n=1", "'\n=1"),
            (" =1", "' =1"),
            ("\u{feff}=1", "'\\ufeff=1"),
            ("\u{a0}＝1", "'\u{a0}＝1"),
            ("a=1", "a=1"),
            ("'=1", "'=1"),
            ("", ""),
            ("2026-01-01", "2026-01-01"),
        ] {
            assert_eq!(csv_cell(text), cell, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn json_says_the_same_and_nothing_harmful_is_left(text in "(\\PC|\\p{Cc}|\\p{Cf}|[\"\\\\\n]){0,40}") {
            let json = serde_json::to_string(&text).unwrap();
            let shown = printable(&json);
            prop_assert!(!shown.contains(is_harmful), "{shown:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text.as_str());
            prop_assert!(!one_line(&text).contains(is_harmful));
            prop_assert!(!csv_cell(&text).starts_with(FORMULA));
        }
    }
}
