//! docs/GUARANTEES.md names, for each promise, the tests that hold it. They are there.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Names of functions that carry `#[test]`, and of those in folders `tests`: cases of a macro carry nothing.
fn functions(folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
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
    let mut named = 0;
    for (number, line) in guarantees.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        ensure!(cells.len() == 3 || line.starts_with("|---"), "line {}: {} cells, not 3", number + 1, cells.len());
        let Some(held_by) = cells.get(2).filter(|cell| cell.contains('`')) else {
            ensure!(line.contains("held by") || line.starts_with("|---"), "line {}: held by nothing", number + 1);
            continue;
        };
        for name in held_by.split('`').skip(1).step_by(2) {
            let there = match name.strip_suffix('*') {
                Some(prefix) => tests.iter().any(|test| test.starts_with(prefix)),
                None => tests.contains(name),
            };
            ensure!(there, "line {}: there is no test {name}", number + 1);
            named += 1;
        }
    }
    println!("{named} names of tests, all there");
    ensure!(named > 20, "{named} names only: is the table's form another one now?");
    Ok(())
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
