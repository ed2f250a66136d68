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

/// Checks that `page` tells of every command of a program that takes `--json`; there are at least `least`. `print` runs
/// the program with arguments and returns what it printed.
///
/// # Panics
/// When the page leaves one out, or hardly any is found.
pub fn json_is_documented(page: &str, least: usize, print: impl Fn(&[&str]) -> String) {
    let mut commands: Vec<Vec<String>> = vec![Vec::new()];
    let mut found = 0;
    while let Some(command) = commands.pop() {
        let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
        args.push("--help");
        let help = print(&args);
        let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let verbs = verbs.take_while(|line| !line.trim().is_empty()).filter(|line| !line.starts_with("   "));
        for verb in verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help") {
            commands.push([command.as_slice(), &[verb.to_owned()]].concat());
        }
        if help.lines().any(|line| line.trim_start().starts_with("--json")) {
            found += 1;
            let typed = format!("`{} --json`", command.join(" "));
            assert!(page.contains(&typed), "docs/SCRIPTING.md does not tell what {typed} prints");
        }
    }
    assert!(found >= least, "only {found} commands take --json");
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
