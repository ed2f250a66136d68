//! Rows of text in columns.

use tidemark_core::printable::one_line;

/// Sets rows in columns under a head; those that say so in `right` to the right. A cell stays one line and where it is,
/// whatever it says.
#[must_use]
pub(crate) fn columns(head: &[&str], rows: &[Vec<String>], right: &[bool]) -> String {
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let width =
        |at: usize, name: &str| rows.iter().map(|row| row[at].chars().count()).fold(name.chars().count(), usize::max);
    let widths: Vec<usize> = head.iter().enumerate().map(|(at, name)| width(at, name)).collect();
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(at, (cell, &width))| {
            if right.get(at) == Some(&true) { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        out.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    };
    line(&mut head.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(|cell| &**cell));
    }
    out
}
