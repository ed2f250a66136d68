//! Rules that every command line of this project keeps.

use std::path::Path;
use std::process::Command;

/// Checks that a program prints completions for every shell, which know `verb`, and manual pages, of which `pages` are
/// some. `print` runs the program in `folder` with arguments and returns what it printed.
///
/// # Panics
/// When it does not, or when there is no bash.
pub fn completions_and_manual_pages(
    (program, verb, pages): (&str, &str, &[&str]),
    folder: &Path,
    print: impl Fn(&[&str]) -> String,
) {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = print(&["completions", shell]);
        assert!(script.contains(program) && script.contains(verb), "{shell}: {script}");
    }
    let script = folder.join("script");
    std::fs::write(&script, print(&["completions", "bash"])).expect("the folder can be written to");
    let read = Command::new("bash").arg("-n").arg(&script).status().expect("bash is there");
    assert!(read.success(), "bash reads it");
    let page = print(&["man"]);
    assert!(page.contains(&format!(".TH {program} 1")), "{page}");
    print(&["man", "--dir", "man"]);
    for name in pages {
        let page = std::fs::read_to_string(folder.join("man").join(name)).expect("the page is written");
        assert!(page.contains(".SH OPTIONS"), "{name}: {page}");
    }
}

/// Checks that no command in a folder of sources counts by itself: plurals and rates come from one place,
/// `tidemark_core::amount`.
///
/// # Panics
/// When one does, or when there are hardly any sources.
pub fn plurals_and_rates_come_from_one_place(sources: &Path) {
    const NOUNS: [&str; 9] =
        ["rows", "changes", "tables", "stations", "migrations", "chunks", "points", "files", "frames"];
    let mut folders = vec![sources.to_owned()];
    let mut lines = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("sources are there") {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            for line in std::fs::read_to_string(&path).expect("a source is text").lines() {
                lines += 1;
                let counted = NOUNS.iter().any(|noun| line.contains(&format!("}} {noun}")));
                assert!(!counted && !line.contains("{per_sec}"), "{}: {line}", path.display());
            }
        }
    }
    assert!(lines > 1000, "only {lines} lines");
}
