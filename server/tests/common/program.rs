//! The program `tidemark-server`, run as its operator runs it.

use std::path::Path;
use std::process::Command;

use super::cluster::PASSWORD;

pub fn server(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark-server"));
    command.args(args).current_dir(folder);
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEMARK_")) {
        command.env_remove(variable);
    }
    command
}

pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn run(folder: &Path, args: &[&str]) -> Ran {
    let output = server(folder, args).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(!out.contains(PASSWORD) && !err.contains(PASSWORD), "the password is shown: {out}{err}");
    Ran { code: output.status.code(), out, err }
}

#[track_caller]
pub fn works(folder: &Path, args: &[&str]) -> String {
    let ran = run(folder, args);
    assert_eq!(ran.code, Some(0), "{args:?}: {}{}", ran.out, ran.err);
    ran.out
}
