//! A QR code for a page to draw.

use qrcode::{Color, EcLevel, QrCode};

/// The rows of a QR code from above, each from the left: `1` is a dark module, `0` a light one; without the light
/// border of four modules that it needs around it. `None` for a text too long for one.
#[must_use]
pub fn rows(text: &str) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let modules = code.to_colors();
    let row = |row: &[Color]| row.iter().map(|module| if *module == Color::Dark { '1' } else { '0' }).collect();
    Some(modules.chunks(code.width()).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
