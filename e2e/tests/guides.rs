//! The guides and the README's short commands, typed in as their reader would: every `console` block runs, and prints
//! what the guide says. In the README and some guides, most commands have no output beside them: these only have to
//! succeed. Both languages have the same blocks, so the tests type the Russian guides with the English ones.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::{PATIENCE, program, python, python_script};

/// Kinds of blocks that hold no commands to run here: configuration, or commands of another system.
const NOT_RUN: [&str; 5] = ["sh", "powershell", "ini", "nginx", "text"];
/// Words, in both languages, with which a section that no test runs says whether somebody ran its commands.
const SAYS_WHETHER_TRIED: [&str; 4] = ["**Tried", "**Not tried", "**Проверено", "**Не проверялось"];
/// The guides. Each is there in both languages. `scripts/check-windows` types the one to Windows.
const GUIDES: [&str; 11] = [
    "administration",
    "browser",
    "configuration",
    "deployment",
    "install-postgresql",
    "monitoring",
    "move-from-sqlite",
    "operating",
    "own-schema",
    "using",
    "windows",
];
/// Any text, also over several lines where it stands alone.
const ANYTHING: &str = "…";
/// The address in the guides; a test takes a free port.
const ADDRESS: &str = "127.0.0.1:8787";

#[test]
fn the_guide_to_installing_postgresql_does_what_it_says() -> Result<()> {
    follow("install-postgresql")
}

#[test]
fn the_guide_to_configuration_does_what_it_says() -> Result<()> {
    follow("configuration")
}

#[test]
fn the_guide_to_moving_from_sqlite_does_what_it_says() -> Result<()> {
    follow("move-from-sqlite")
}

#[test]
fn the_administrators_guide_does_what_it_says() -> Result<()> {
    follow("administration")
}

/// Both guides in one terminal: the second goes on where the first ends.
#[test]
fn the_guides_to_using_and_operating_do_what_they_say() -> Result<()> {
    let mut all = guide("guides", "using")?;
    all.extend(guide("guides", "operating")?);
    type_in("docs/guides/using.md and operating.md", &all, Strictness::Said)
}

#[test]
fn the_guide_to_your_own_schema_does_what_it_says() -> Result<()> {
    type_in("docs/guides/own-schema.md", &guide("guides", "own-schema")?, Strictness::Said)
}

#[test]
fn the_guide_to_the_browser_does_what_it_says() -> Result<()> {
    type_in("docs/guides/browser.md", &guide("guides", "browser")?, Strictness::Said)
}

#[test]
fn the_readmes_attach_does_what_it_says() -> Result<()> {
    type_readme("## Attach an existing file", 8)
}

#[test]
fn the_readmes_schema_does_what_it_says() -> Result<()> {
    type_readme("## Your own schema", 2)
}

/// Types one section of the README, which has so many commands.
fn type_readme(heading: &str, commands: usize) -> Result<()> {
    let blocks = blocks(&section(&readme()?, heading)?).context("README.md")?;
    let there = blocks.iter().flat_map(|block| &block.lines).filter(|line| line.starts_with("$ ")).count();
    ensure!(there == commands, "README.md, {heading}: {there} commands");
    type_in("README.md", &blocks, Strictness::Said)
}

/// A first page stays one.
#[test]
fn the_readme_is_short_and_says_which_way_rows_travel() -> Result<()> {
    let readme = readme()?;
    let (lines, words) = (readme.lines().count(), readme.split_whitespace().count());
    ensure!(lines <= 130 && words <= 900, "README.md has {lines} lines and {words} words");
    ensure!(readme.contains("**upstream only**"), "README.md does not say that rows travel upstream only");
    Ok(())
}

fn readme() -> Result<String> {
    Ok(std::fs::read_to_string(docs().join("../README.md"))?)
}

#[test]
fn every_guide_has_the_same_blocks_in_both_languages() -> Result<()> {
    let names = |folder: &str| -> Result<BTreeSet<_>> {
        let entries = std::fs::read_dir(docs().join(folder))?.collect::<std::io::Result<Vec<_>>>()?;
        entries.into_iter().map(|entry| entry.file_name().into_string().map_err(|name| anyhow!("{name:?}"))).collect()
    };
    let file = |name: &str| format!("{name}.md");
    let (english, russian) = (names("guides")?, names("ru")?);
    let all: BTreeSet<_> = GUIDES.into_iter().map(file).collect();
    ensure!(english == all, "not the guides that the tests follow: {english:?}");
    ensure!(russian == all, "docs/ru holds other guides: {russian:?}");
    for name in GUIDES {
        let [english, russian] = [guide("guides", name)?, guide("ru", name)?];
        for (one, other) in english.iter().zip(&russian) {
            ensure!(
                (&one.info, &one.lines) == (&other.info, &other.lines),
                "docs/guides/{name}.md:{} and docs/ru/{name}.md:{} differ",
                one.line,
                other.line
            );
        }
        ensure!(english.len() == russian.len(), "{name}: {} blocks and {}", english.len(), russian.len());
    }
    Ok(())
}

#[test]
fn every_link_of_the_guides_leads_to_a_file_and_a_heading() -> Result<()> {
    let mut links = 0;
    for folder in [".", "..", "guides", "internals", "ru"] {
        for entry in std::fs::read_dir(docs().join(folder))? {
            let path = entry?.path();
            if path.extension().is_none_or(|ending| ending != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
                if link.starts_with("https://") {
                    continue;
                }
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() { path.clone() } else { docs().join(folder).join(file) };
                let says = || format!("{}: {link}", path.display());
                ensure!(target.exists(), "{}: leads nowhere", says());
                if !anchor.is_empty() {
                    let there = std::fs::read_to_string(&target).with_context(says)?;
                    ensure!(headings(&there).any(|heading| heading == anchor), "{}: no such heading", says());
                }
                links += 1;
            }
        }
    }
    ensure!(links > 60, "only {links} links");
    Ok(())
}

/// The anchors of a text's headings, as a reader of Markdown makes them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')))
        .map(|heading| {
            let plain = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            heading.to_lowercase().chars().filter(plain).map(|c| if c == ' ' { '-' } else { c }).collect()
        })
}

#[test]
fn no_block_is_left_out_silently() -> Result<()> {
    let refused = |text: &str, says: &str| match blocks(text) {
        Err(error) if error.to_string().contains(says) => Ok(()),
        other => bail!("{text:?} gave {other:?}, not {says:?}"),
    };
    ensure!(blocks("# A\n```console\n$ true\n```\n")?.len() == 1, "a block is found");
    refused("```console after-merge\n$ true\n```\n", "console after-merge")?;
    refused("```\n$ true\n```\n", "a block of kind \"\"")?;
    refused("- item\n  ```console\n  $ true\n  ```\n", "indented")?;
    refused("```console\n$ true\n", "no end")?;
    refused("```console\ntrue\n```\n", "begins with no command")?;
    refused("## Windows\n```powershell\ntrue\n```\n", "whether it was tried")?;
    refused("**Tried** on A.\n## Windows\n```sh\ntrue\n```\n", "whether it was tried")?;
    ensure!(blocks("## Windows\n**Not tried.**\n```powershell\ntrue\n```\n")?.len() == 1, "told, so it may stand");
    Ok(())
}

#[test]
fn a_guide_that_says_something_else_is_found_out() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let play = |text: &str| -> Result<()> {
        let mut terminal = Terminal::open(folder.path(), &[])?;
        blocks(&format!("```console\n{text}\n```\n"))?.iter().try_for_each(|block| terminal.play(block))
    };
    play(
        "$ word=tide; cd /\n$ echo \"a $word\"; pwd\na …de\n/\n$ printf '1\\n2\\n3\\n4\\n'\n1\n…\n4\n$ cat <<X\n> y\n> X\ny",
    )?;
    for wrong in ["$ echo a\nb", "$ echo a", "$ true\na", "$ false", "$ printf 'a\\nb\\n'\na…", "$ echo a\na\n…\nb"]
    {
        ensure!(play(wrong).is_err(), "{wrong:?} passed");
    }
    ensure!(play("$ exit 0").is_err(), "a closed terminal passed");
    Ok(())
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn guide(folder: &str, name: &str) -> Result<Vec<Block>> {
    let path = docs().join(folder).join(format!("{name}.md"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    blocks(&text).with_context(|| format!("docs/{folder}/{name}.md"))
}

/// A fenced block of a guide.
#[derive(Debug)]
struct Block {
    /// The kind of the block, which stands behind the opening fence.
    info: String,
    /// The line of the fence, from 1.
    line: usize,
    lines: Vec<String>,
}

/// All blocks of a guide. A kind that is neither run nor known not to be is an error.
fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut found: Vec<Block> = Vec::new();
    let (mut open, mut told) = (false, false);
    for (at, line) in text.lines().enumerate() {
        let at = at + 1;
        match (line.strip_prefix("```"), open) {
            (Some(info), false) => {
                ensure!(info == "console" || NOT_RUN.contains(&info), "line {at}: a block of kind {info:?}");
                ensure!(told || ["console", "text"].contains(&info), "line {at}: does not say whether it was tried");
                found.push(Block { info: info.to_owned(), line: at, lines: Vec::new() });
                open = true;
            }
            (Some(""), true) => open = false,
            _ if open => found.last_mut().context("BUG: a block is open")?.lines.push(line.to_owned()),
            _ => {
                ensure!(!line.trim_start().starts_with("```"), "line {at}: an indented block");
                let heads = line.starts_with('#');
                told = !heads && (told || SAYS_WHETHER_TRIED.iter().any(|says| line.contains(says)));
            }
        }
    }
    ensure!(!open, "the last block has no end");
    for block in found.iter().filter(|block| block.info == "console") {
        let begins = block.lines.first().is_some_and(|line| line.starts_with("$ "));
        ensure!(begins, "line {}: begins with no command", block.line);
    }
    Ok(found)
}

/// One section of a text, with its heading where it was: line numbers stay.
fn section(text: &str, heading: &str) -> Result<String> {
    let begin = text.lines().position(|line| line == heading).with_context(|| format!("no {heading:?}"))?;
    let lines = text.lines().skip(begin);
    let more = lines.clone().skip(1).take_while(|line| !line.starts_with("## "));
    Ok(format!("{}{heading}\n{}", "\n".repeat(begin), more.collect::<Vec<_>>().join("\n")))
}

fn follow(name: &str) -> Result<()> {
    type_in(&format!("docs/guides/{name}.md"), &guide("guides", name)?, Strictness::All)
}

/// The output that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// All: a command with nothing beside it prints nothing.
    All,
    /// Only what stands beside a command: one with nothing beside it may print what it likes.
    Said,
}

/// Types all of a guide into one terminal, in a folder where the plant's database is, with a fresh TimescaleDB.
fn type_in(name: &str, blocks: &[Block], strictness: Strictness) -> Result<()> {
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let url = cluster.create_database("plant")?;
    let folder = tempfile::Builder::new().prefix("tidemark-guide-").tempdir()?;
    let made = Command::new(python()?)
        .args([python_script("shrinkage_system.py").as_os_str(), "make".as_ref(), "plant.db".as_ref()])
        .args(["--rows", "2000"])
        .current_dir(folder.path())
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let source = docs().join("..").canonicalize()?;
    let env =
        [("TIDEMARK_DATABASE_URL", url.as_str()), ("TIDEMARK_SOURCE", source.to_str().context("a path is text")?)];
    let mut terminal = Terminal::open(folder.path(), &env)?;
    terminal.strictness = strictness;
    let run: Vec<_> = blocks.iter().filter(|block| block.info == "console").collect();
    ensure!(!run.is_empty(), "{name} has nothing to run");
    for block in &run {
        terminal.play(block).with_context(|| name.to_owned())?;
    }
    println!("{name}: {} commands of {} blocks", terminal.commands, run.len());
    Ok(())
}

/// A shell as a reader has it: what one command sets, the next one sees.
struct Terminal {
    shell: Child,
    input: ChildStdin,
    output: Receiver<String>,
    typed: tempfile::NamedTempFile,
    /// Programs that the machine may lack.
    _tools: tempfile::TempDir,
    address: String,
    strictness: Strictness,
    commands: usize,
}

impl Terminal {
    fn open(folder: &Path, env: &[(&str, &str)]) -> Result<Self> {
        let mut path: Vec<PathBuf> = Vec::new();
        for tool in [program("tidemark")?, tidemark_e2e::postgres::program("psql")?, python()?] {
            path.push(tool.parent().context("a program has a folder")?.to_owned());
        }
        path.extend(std::env::split_paths(&std::env::var_os("PATH").context("PATH is not set")?));
        let tools = tempfile::tempdir()?;
        if !path.iter().any(|folder| folder.join("sqlite3").is_file()) {
            // SQLite's shell, as far as the guides use it.
            let stand_in = tools.path().join("sqlite3");
            std::fs::write(
                &stand_in,
                "#!/bin/sh\nexec python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])' \"$@\"\n",
            )?;
            std::fs::set_permissions(&stand_in, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
            path.push(tools.path().to_owned());
        }
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc"]).current_dir(folder).process_group(0);
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("TIDEMARK_")) {
            command.env_remove(key);
        }
        command.env("PATH", std::env::join_paths(path)?).env("HOME", folder).env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
        command.env("PYTHONUTF8", "1").env("PSQLRC", "/dev/null").envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut shell = command.spawn().context("bash does not start")?;
        let mut input = shell.stdin.take().context("BUG: stdin is piped")?;
        writeln!(input, "exec 2>&1")?;
        let lines = BufReader::new(shell.stdout.take().context("BUG: stdout is piped")?).lines();
        let (sender, output) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string();
        let typed = tempfile::NamedTempFile::new()?;
        Ok(Self { shell, input, output, typed, _tools: tools, address, strictness: Strictness::All, commands: 0 })
    }

    /// Runs the commands of a block, one after the other, and compares what they print.
    fn play(&mut self, block: &Block) -> Result<()> {
        let address = self.address.clone();
        let mut lines = block.lines.iter().map(|line| line.replace(ADDRESS, &address)).peekable();
        let mut at = block.line;
        while let Some(line) = lines.next() {
            at += 1;
            let began = at;
            let mut command = line.strip_prefix("$ ").context("BUG: not a command")?.to_owned();
            let mut expected = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                at += 1;
                match line.strip_prefix("> ") {
                    Some(more) if expected.is_empty() => write!(command, "\n{more}")?,
                    _ => expected.push(line),
                }
            }
            let (code, printed) = self.run(&command).with_context(|| format!("line {began}: {command}"))?;
            let unsaid = self.strictness == Strictness::Said && expected.is_empty();
            let (expected, printed) = (expected.join("\n"), printed.join("\n"));
            ensure!(
                code == 0 && (unsaid || matches(&expected, &printed)),
                "line {began}: {command}\nended with {code}\n--- printed\n{printed}\n--- the guide says\n{expected}\n---"
            );
            ensure!(!printed.contains("Ebb"), "line {began}: a piece of the password was printed");
            self.commands += 1;
        }
        Ok(())
    }

    /// Runs one command; its exit code, and the lines it printed.
    fn run(&mut self, command: &str) -> Result<(i32, Vec<String>)> {
        const END: &str = "-- the command has ended:";
        std::fs::write(self.typed.path(), format!("{command}\n"))?;
        writeln!(self.input, ". '{}' </dev/null; printf '\\n%s %d\\n' '{END}' $?", self.typed.path().display())?;
        let mut lines = Vec::new();
        loop {
            let next = self.output.recv_timeout(PATIENCE);
            let line = next.with_context(|| format!("it does not end; so far it printed\n{}", lines.join("\n")))?;
            if let Some(code) = line.strip_prefix(END) {
                // The line break before the mark, when the output had one of its own.
                if lines.last().is_some_and(String::is_empty) {
                    lines.pop();
                }
                return Ok((code.trim().parse()?, lines));
            }
            lines.push(line);
        }
    }
}

impl Drop for Terminal {
    /// Ends the shell and whatever it left running.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-9", "--", &format!("-{}", self.shell.id())]).status();
        let _ = self.shell.wait();
    }
}

/// Compares a text with what a guide says. [`ANYTHING`] stands for any text of a line inside one, and for any lines
/// alone.
fn matches(says: &str, text: &str) -> bool {
    fn lines(says: &[&str], text: &[&str]) -> bool {
        match says.split_first() {
            None => text.is_empty(),
            Some((first, rest)) if first.trim() == ANYTHING => (0..=text.len()).any(|skip| lines(rest, &text[skip..])),
            Some((first, rest)) => text.split_first().is_some_and(|(line, more)| one(first, line) && lines(rest, more)),
        }
    }
    fn one(says: &str, line: &str) -> bool {
        let (says, line) = (says.trim_end(), line.trim_end());
        let Some((begin, rest)) = says.split_once(ANYTHING) else { return says == line };
        let Some(line) = line.strip_prefix(begin) else { return false };
        let starts = line.char_indices().map(|(at, _)| at).chain([line.len()]);
        starts.into_iter().any(|at| one(rest, &line[at..]))
    }
    let [says, text] = [says, text].map(|text| text.lines().collect::<Vec<_>>());
    lines(&says, &text)
}
