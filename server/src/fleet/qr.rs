//! A QR code, for a page to draw and for a terminal.

use qrcode::render::unicode::Dense1x2;
use qrcode::{Color, EcLevel, QrCode};

/// `None` for a text too long for one.
fn code(text: &str) -> Option<QrCode> {
    QrCode::with_error_correction_level(text, EcLevel::L).ok()
}

/// The rows of a QR code from above, each from the left: `1` is a dark module, `0` a light one; without the light
/// border of four modules that it needs around it. `None` for a text too long for one.
#[must_use]
pub fn rows(text: &str) -> Option<Vec<String>> {
    let code = code(text)?;
    let modules = code.to_colors();
    let row = |row: &[Color]| row.iter().map(|module| if *module == Color::Dark { '1' } else { '0' }).collect();
    Some(modules.chunks(code.width()).map(row).collect())
}

/// A QR code in half blocks, light modules drawn: for a terminal, which is dark as a rule. `None` for a text too long
/// for one.
#[must_use]
pub fn drawn(text: &str) -> Option<String> {
    Some(code(text)?.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules of a drawing as rows, without the light border.
    fn modules(drawn: &str) -> Vec<String> {
        let mut rows: Vec<String> = Vec::new();
        for line in drawn.lines() {
            let (upper, lower): (String, String) = line
                .chars()
                .map(|c| match c {
                    '█' => ('0', '0'),
                    '▀' => ('0', '1'),
                    '▄' => ('1', '0'),
                    _ => ('1', '1'),
                })
                .unzip();
            rows.extend([upper, lower]);
        }
        let width = rows[0].len() - 8;
        rows.into_iter().skip(4).take(width).map(|row| row[4..4 + width].to_owned()).collect()
    }

    #[test]
    fn what_is_drawn_at_a_terminal_is_what_the_page_draws() {
        let link = "https://hq.example/notebook/#join=tide1-00ff";
        assert_eq!(Some(modules(&drawn(link).unwrap())), rows(link));
        assert_eq!(drawn(&"x".repeat(5000)), None);
    }

    #[test]
    fn a_code_is_a_square_with_its_three_corners() {
        let rows = rows("https://hq.example/notebook/#join=tide1-x").unwrap();
        assert!(rows.iter().all(|row| row.len() == rows.len()), "{rows:?}");
        let last = rows.len() - 7;
        for (x, y) in [(0, 0), (last, 0), (0, last)] {
            assert_eq!((&rows[y][x..x + 7], &rows[y + 1][x..x + 7]), ("1111111", "1000001"), "{x} {y}");
        }
        assert_eq!(super::rows(&"x".repeat(5000)), None);
    }
}
