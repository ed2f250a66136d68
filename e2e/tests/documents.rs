//! The documents against the code: the paths, tests, packages, commands and flags that they name are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::process::program;

use crate::guarantees::functions;

/// Folders that a build makes, or that are no part of the project.
const SKIPPED: [&str; 5] = ["target", "node_modules", ".git", "dist", "site"];
/// Names in backticks that look like a path, and are a reader's own file or what a build makes.
const NOT_PATHS: [&str; 4] = ["write.py", "sw.js", "wasm-client/web/dist", "wasm-client/web/site/notebook"];
/// Texts that begin like a command, and are none.
const NOT_COMMANDS: [&str; 3] =
    ["tidemark bundle 1: key of the seals", "tidemark receipt 1: key of the seals", "tidemark-server …"];
/// The columns that a line of a document may have.
const COLUMNS: usize = 120;
/// Documents that still have wider lines.
const WIDE: [&str; 1] = ["docs/FORMAT.md"];
const PROGRAMS: [&str; 2] = ["tidemark", "tidemark-server"];

#[test]
fn every_path_test_and_command_of_the_documents_is_there() -> Result<()> {
    let mut project = Project::read()?;
    let documents: Vec<String> = project.paths.iter().filter(|path| is_document(path)).cloned().collect();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for document in &documents {
        let text = std::fs::read_to_string(project.root.join(document))?;
        for said in said(&text).with_context(|| document.clone())? {
            match project.judge(&said, &text)? {
                Verdict::NotChecked => {}
                Verdict::There => checked += 1,
                Verdict::Missing(what) => wrong.push(format!("{document}: `{said}`: {what}")),
            }
        }
    }
    println!("{checked} names in {} documents", documents.len());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(documents.len() > 40 && checked > 700, "{checked} names in {} documents only", documents.len());
    Ok(())
}

#[test]
fn every_line_of_a_document_fits_a_terminal() -> Result<()> {
    let project = Project::read()?;
    let mut wide = Vec::new();
    for document in project.paths.iter().filter(|path| is_document(path) && !WIDE.contains(&path.as_str())) {
        let text = std::fs::read_to_string(project.root.join(document))?;
        let lines = text.lines().enumerate().filter(|(_, line)| line.chars().count() > COLUMNS);
        wide.extend(lines.map(|(at, line)| format!("{document}:{}: {} columns", at + 1, line.chars().count())));
    }
    ensure!(wide.is_empty(), "{}", wide.join("\n"));
    Ok(())
}

#[test]
fn a_document_that_names_what_is_not_there_is_found_out() -> Result<()> {
    let mut project = Project::read()?;
    let mut verdict = |said: &str| project.judge(said, "");
    for right in [
        "core/src/batch/mod.rs",
        "core/src/batch",
        "core/tests/golden",
        "server/src/http/",
        "core/src/*.rs",
        "every_overlap_leads_to_the_same_cursor",
        "any_mix_of_bundles_and_pushes_leaves_each_row_once_in_*",
        "scripts/test guarantees::every_guarantee",
        "cargo bench -p tidemark-benches",
        "tidemark --db FILE rejects repair 2 --set a=1",
        "station add NAME --replaces OLD",
        "--replaces OLD",
    ] {
        ensure!(verdict(right)? == Verdict::There, "{right}: {:?}", verdict(right)?);
    }
    for wrong in [
        "core/src/no_such.rs",
        "no_such.rs",
        "server/src/no_such/",
        "no_test_has_this_name_at_all",
        "scripts/test no_such::",
        "scripts/no-such",
        "cargo bench -p tidemark-no-such",
        "tidemark no-such",
        "tidemark push --no-such",
        "tidemark-server station no-such",
        "station add NAME --no-such",
        "--no-such",
    ] {
        ensure!(matches!(verdict(wrong)?, Verdict::Missing(_)), "{wrong} passed");
    }
    for other in ["station", "seq", "x = 1", "PostgreSQL", "a/b", "`", "max_locks_per_transaction"] {
        ensure!(verdict(other)? == Verdict::NotChecked, "{other}: {:?}", verdict(other)?);
    }
    Ok(())
}

fn is_document(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let of_users = folder.is_empty() || folder.starts_with("docs") || folder.starts_with("examples/");
    path.ends_with(".md") && (of_users || (name == "README.md" && folder.starts_with("e2e/")))
}

/// The texts that a document has in backticks, and the commands of its `sh` blocks, which nothing else runs.
fn said(text: &str) -> Result<Vec<String>> {
    let (mut found, mut prose, mut block) = (Vec::new(), String::new(), None);
    for line in text.lines().chain([""]) {
        match (line.trim_start().strip_prefix("```"), block) {
            (Some(_), Some(_)) => block = None,
            (Some(kind), None) => block = Some(kind),
            (None, Some("sh")) => found.extend(command_of(line).map(str::to_owned)),
            (None, Some(_)) => {}
            (None, None) if !line.trim().is_empty() && !line.starts_with(['|', '#']) => {
                prose.push_str(line.trim());
                prose.push(' ');
                continue;
            }
            (None, None) => {}
        }
        for part in [std::mem::take(&mut prose).as_str(), if block.is_none() { line } else { "" }] {
            let pieces: Vec<&str> = part.split('`').collect();
            ensure!(pieces.len() % 2 == 1 || part.contains("```"), "a backtick has no other: {part}");
            found.extend(pieces.iter().skip(1).step_by(2).map(|piece| (*piece).to_owned()));
        }
    }
    Ok(found)
}

/// The command of one of the programs with which a line begins, up to what a shell takes for itself.
fn command_of(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("$ ");
    let end = line.find(['|', '>', '<', '#', ';', '&', '(', '"', '\'']).unwrap_or(line.len());
    PROGRAMS.iter().any(|name| line.starts_with(&format!("{name} "))).then(|| line[..end].trim_end())
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It names nothing that this test knows of.
    NotChecked,
    There,
    Missing(String),
}

fn there(is: bool, what: &str) -> Verdict {
    if is { Verdict::There } else { Verdict::Missing(what.to_owned()) }
}

/// The things that the documents may name.
struct Project {
    root: PathBuf,
    /// Files and folders, from the root.
    paths: BTreeSet<String>,
    tests: BTreeSet<String>,
    packages: BTreeSet<String>,
    /// The help of each command that was asked for, by program and subcommands; `None` where there is no such command.
    help: BTreeMap<Vec<String>, Option<String>>,
    /// The options that the project's scripts and the programs behind them know, as text.
    scripts: String,
}

impl Project {
    fn read() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a package has a workspace")?.to_owned();
        let (mut paths, mut tests, mut packages) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        walk(&root, &root, &mut paths)?;
        functions(&root, &mut tests)?;
        for manifest in paths.iter().filter(|path| path.rsplit('/').next() == Some("Cargo.toml")) {
            let text = std::fs::read_to_string(root.join(manifest))?;
            let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
            packages.extend(name.map(str::to_owned));
        }
        let mut scripts = String::new();
        let has_options =
            |path: &&String| path.starts_with("scripts/") || path.contains("/src/bin/") || path.ends_with("/run");
        for path in paths.iter().filter(has_options).filter(|path| root.join(path).is_file()) {
            scripts.push_str(&std::fs::read_to_string(root.join(path))?);
        }
        Ok(Self { root, paths, tests, packages, help: BTreeMap::new(), scripts })
    }

    fn judge(&mut self, said: &str, document: &str) -> Result<Verdict> {
        let words: Vec<&str> = said.split_whitespace().collect();
        let Some(first) = words.first().copied() else { return Ok(Verdict::NotChecked) };
        if NOT_COMMANDS.iter().any(|not| said.starts_with(not)) || NOT_PATHS.contains(&first.trim_end_matches('/')) {
            return Ok(Verdict::NotChecked);
        }
        if first == "scripts/test"
            && let Some(module) = words.iter().find(|word| word.contains("::"))
        {
            return Ok(there(self.has_test_module(module), "no such module of tests"));
        }
        if first == "cargo" || first == "scripts/test" {
            let named = words.iter().zip(words.iter().skip(1)).find(|(word, _)| **word == "-p");
            return Ok(match named {
                Some((_, package)) => there(self.packages.contains(*package), "no such package"),
                None => Verdict::NotChecked,
            });
        }
        if self.is_path(first) {
            return Ok(there(self.has_path(first), "no such file or folder"));
        }
        if words.len() == 1 && is_test_name(first) {
            let pattern = first.replace('…', "*");
            return Ok(there(self.tests.iter().any(|test| fits(&pattern, test)), "no such test"));
        }
        if first.starts_with("--") && first.len() > 2 {
            let flag = first.split('=').next().unwrap_or(first);
            let known = mentions(&self.scripts, flag) || mentions(document, &format!(" {flag}"));
            return Ok(there(known || self.any_help_has(flag)?, "no command has such an option"));
        }
        self.judge_command(&words)
    }

    /// A command of one of the programs, with the program's name before it or without.
    fn judge_command(&mut self, words: &[&str]) -> Result<Verdict> {
        if words.len() < 2 {
            return Ok(Verdict::NotChecked);
        }
        if let Some(name) = PROGRAMS.iter().find(|name| **name == words[0]) {
            return self.judge_arguments(name, &words[1..]);
        }
        let mut verdict = Verdict::NotChecked;
        for name in PROGRAMS {
            let subcommands = subcommands(&self.help(&[name])?.unwrap_or_default());
            let is_option = |word: &&str| word.starts_with("--");
            if subcommands.iter().any(|known| known == words[0]) && words.iter().any(is_option) {
                match self.judge_arguments(name, words)? {
                    Verdict::There => return Ok(Verdict::There),
                    other => verdict = other,
                }
            }
        }
        Ok(verdict)
    }

    fn judge_arguments(&mut self, name: &str, words: &[&str]) -> Result<Verdict> {
        let words = if words[0] == "--db" { words.get(2..).unwrap_or_default() } else { words };
        let mut command = vec![name];
        let mut rest = words.iter().copied().peekable();
        let mut help = self.help(&command)?.with_context(|| format!("{name} --help fails"))?;
        while let Some(word) = rest.next_if(|word| subcommands(&help).iter().any(|known| known == word)) {
            command.push(word);
            help = self.help(&command)?.with_context(|| format!("{} --help fails", command.join(" ")))?;
        }
        let is_name = |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase());
        if let Some(word) = rest.peek().filter(|word| is_name(word) && !subcommands(&help).is_empty()) {
            return Ok(Verdict::Missing(format!("{} has no command {word}", command.join(" "))));
        }
        for option in rest.filter(|word| word.starts_with("--") && word.len() > 2) {
            let option = option.split('=').next().unwrap_or(option);
            if !mentions(&help, option) {
                return Ok(Verdict::Missing(format!("{} has no option {option}", command.join(" "))));
            }
        }
        Ok(Verdict::There)
    }

    fn help(&mut self, command: &[&str]) -> Result<Option<String>> {
        let key: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        if let Some(help) = self.help.get(&key) {
            return Ok(help.clone());
        }
        let output = Command::new(program(command[0])?).args(&command[1..]).arg("--help").output()?;
        let help = output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned());
        self.help.insert(key, help.clone());
        Ok(help)
    }

    fn any_help_has(&mut self, option: &str) -> Result<bool> {
        let mut commands: Vec<Vec<String>> = PROGRAMS.iter().map(|name| vec![(*name).to_owned()]).collect();
        while let Some(command) = commands.pop() {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let help = self.help(&words)?.unwrap_or_default();
            if mentions(&help, option) {
                return Ok(true);
            }
            let below = subcommands(&help).into_iter().filter(|name| name != "help");
            commands.extend(below.map(|name| command.iter().cloned().chain([name]).collect()));
        }
        Ok(false)
    }

    /// True for a word with the form of a path: it begins with a folder of the project, or ends as a source file does.
    fn is_path(&self, word: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-*/".contains(c);
        let source = [".rs", ".py", ".mjs"].iter().any(|ending| word.ends_with(ending));
        let (folder, rest) = word.split_once('/').unwrap_or((word, ""));
        let of_project = word.contains('/') && self.paths.contains(folder) && rest != "*";
        word.chars().all(plain) && (source || of_project) && !word.starts_with("./")
    }

    /// True when the project has such a file, folder or module, named from the root or by its last parts.
    fn has_path(&self, word: &str) -> bool {
        let (path, inner) = (word.trim_end_matches('/'), format!("*/{}", word.trim_end_matches('/')));
        let is = |there: &str| fits(path, there) || fits(&inner, there);
        self.paths.iter().any(|there| is(there) || there.strip_suffix(".rs").is_some_and(is))
    }

    /// True for `module::` or `module::beginning_of_a_test`, as `scripts/test` takes it, when there are such tests.
    fn has_test_module(&self, word: &str) -> bool {
        let (module, test) = word.split_once("::").unwrap_or((word, ""));
        self.has_path(&format!("tests/{module}")) && self.tests.iter().any(|name| name.starts_with(test))
    }
}

/// True for a word that is long enough to be the sentence that a test's name is.
fn is_test_name(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_*…".contains(c);
    // Metrics have such names, too; a test of the server compares them with a scrape.
    !word.starts_with("tidemark_")
        && word.chars().all(plain)
        && word.split('_').filter(|part| !part.is_empty()).count() > 4
}

/// True when an option stands in a text as a word.
fn mentions(text: &str, option: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
    text.match_indices(option).any(|(at, found)| !goes_on(&text[at + found.len()..]))
}

/// The commands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// True when a text is what a pattern says, where `*` is any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(begin) else { return false };
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.into_iter().any(|at| fits(rest, &text[at..]))
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if SKIPPED.contains(&name) {
            continue;
        }
        found.extend(path.strip_prefix(root)?.to_str().map(str::to_owned));
        if path.is_dir() {
            walk(root, &path, found)?;
        }
    }
    Ok(())
}
