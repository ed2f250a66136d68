//! Gives a service its rights, by Windows' own program for that, writes down where, and takes them back.

use std::path::{Path, PathBuf};
use std::process::Command;

use windows_registry::LOCAL_MACHINE;

use super::rights::{Need, number};
use crate::cli::show;

const GIVEN: &str = "RightsGiven";

fn parameters(name: &str) -> String {
    format!(r"SYSTEM\CurrentControlSet\Services\{name}\Parameters")
}

/// Lets the service do what it needs. Where, is written down first, so that nothing is given and forgotten.
pub(super) fn give(name: &str, needs: &[Need]) {
    let paths: Vec<String> = needs.iter().map(|need| need.path().display().to_string()).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let written = LOCAL_MACHINE.create(parameters(name)).and_then(|key| key.set_multi_string(GIVEN, &paths));
    if let Err(error) = written {
        let why = "`remove` will not take back the rights that follow, since they cannot be written down";
        show::error(&format!("tidemark: service {name}: {why}: {error}"));
    }
    let number = number(name);
    for need in needs {
        let (path, grants) = (need.path(), need.grants(&number));
        let words: Vec<&str> = std::iter::once("/grant").chain(grants.iter().map(String::as_str)).collect();
        match (icacls(path, &words), need) {
            (true, Need::WriteIn(_)) => {
                show::line(&format!("it may read and write the files that lie in {}", path.display()));
            }
            (true, Need::Read(_)) => show::line(&format!("it may read {}", path.display())),
            (false, _) => warn(&format!("service {name} may lack rights in {}", path.display()), path, &words),
        }
    }
}

/// Where installing has given something.
pub(super) fn given(name: &str) -> Vec<PathBuf> {
    let read = LOCAL_MACHINE.open(parameters(name)).and_then(|key| key.get_multi_string(GIVEN));
    read.unwrap_or_default().into_iter().map(PathBuf::from).collect()
}

/// Takes back what installing has given. What is gone by now has no rights to take.
pub(super) fn take_back(name: &str, given: &[PathBuf]) {
    let who = format!("*{}", number(name));
    for path in given.iter().filter(|path| path.exists()) {
        let words = ["/remove:g", who.as_str()];
        if icacls(path, &words) {
            show::line(&format!("it has no rights in {} any more", path.display()));
        } else {
            warn(&format!("service {name} may have rights in {} still", path.display()), path, &words);
        }
    }
}

/// The system's own program for rights; did it do that? Another of this name, wherever, is not asked.
fn icacls(path: &Path, words: &[&str]) -> bool {
    let windows = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    let program = Path::new(&windows).join(r"System32\icacls.exe");
    let done = Command::new(program).arg(path).args(words).arg("/Q").output();
    done.is_ok_and(|output| output.status.success())
}

fn warn(what: &str, path: &Path, words: &[&str]) {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let line = format!("icacls \"{}\" {}", path.display(), quoted.join(" "));
    show::error(&format!("tidemark: {what}: run `{line}` as an administrator"));
}
