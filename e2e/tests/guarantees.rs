//! docs/GUARANTEES.md names, for each promise, the tests that hold it. They are there.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

/// Names of functions that carry `#[test]`, and of those in folders `tests`: cases of a macro carry nothing. And the
/// cases that a script tries.
pub fn functions(folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                functions(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let in_tests = folder.components().any(|part| part.as_os_str() == "tests");
            let mut after_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    after_test = true;
                } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| after_test || in_tests) {
                    found.extend(rest.split(['(', '<']).next().map(str::to_owned));
                    after_test = false;
                }
            }
        } else if name.starts_with("check-") {
            let text = std::fs::read_to_string(&path)?;
            found.extend(text.lines().filter_map(|line| line.strip_prefix("try ")).map(str::to_owned));
        }
    }
    Ok(())
}

#[test]
fn every_guarantee_names_tests_that_exist() -> Result<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a package has a workspace")?;
    let mut tests = BTreeSet::new();
    functions(project, &mut tests)?;
    let guarantees = std::fs::read_to_string(project.join("docs/GUARANTEES.md"))?;
    let (mut promised, mut named) = (0, 0);
    for promise in promises(&guarantees) {
        let says = promise.lines().next().unwrap_or_default();
        let held_by: Vec<&str> = promise.split("  - *Held by:* ").skip(1).collect();
        let [held_by] = held_by[..] else { bail!("{says}: held by {} lists of tests, not one", held_by.len()) };
        ensure!(held_by.contains('`'), "{says}: held by nothing");
        for name in held_by.split('`').skip(1).step_by(2) {
            let there = match name.strip_suffix('*') {
                Some(prefix) => tests.iter().any(|test| test.starts_with(prefix)),
                None => tests.contains(name),
            };
            ensure!(there, "{says}: there is no test {name}");
            named += 1;
        }
        promised += 1;
    }
    println!("{promised} promises, {named} names of tests, all there");
    ensure!(promised > 40 && named > 150, "{promised} promises, {named} names only: is their form another one now?");
    Ok(())
}

/// The promises of a text: each is an item of a list, with what belongs to it.
fn promises(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("- ") {
            found.push(line.to_owned());
        } else if let Some(last) = found.last_mut().filter(|_| line.starts_with("  ")) {
            last.push('\n');
            last.push_str(line);
        }
    }
    found
}

/// Folders `tests` with a program in them.
fn programs(folder: &Path, found: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            if name == "tests" && path.join("main.rs").is_file() {
                found.push(path.clone());
            }
            programs(&path, found)?;
        }
    }
    Ok(())
}

/// Checks that `parent`, the text of a module, names the modules in its folder, and these theirs.
fn named_in(parent: &str, folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let is_file = path.extension().is_some_and(|extension| extension == "rs") && name != "main" && name != "mod";
        let inner = std::fs::read_to_string(path.join("mod.rs")).ok();
        let named = parent.lines().any(|line| line == format!("mod {name};") || line == format!("pub mod {name};"));
        ensure!(named || !(is_file || inner.is_some()), "{} is never compiled: name it above it", path.display());
        if let Some(inner) = inner {
            named_in(&inner, &path)?;
        }
    }
    Ok(())
}

#[test]
fn every_file_of_tests_is_part_of_its_packages_program() -> Result<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a package has a workspace")?;
    let mut folders = Vec::new();
    programs(project, &mut folders)?;
    ensure!(folders.len() >= 7, "{} test programs only: are they elsewhere now?", folders.len());
    for folder in folders {
        let main = std::fs::read_to_string(folder.join("main.rs"))?;
        named_in(&main, &folder)?;
    }
    Ok(())
}
