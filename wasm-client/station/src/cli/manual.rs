//! `tidemark completions` and `tidemark man`: what clap knows of this program, for shells and for readers.

use std::path::PathBuf;

use clap_complete::Shell;

use super::fatal::Fatal;
use super::show;

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Write a page for this program and one for each of its commands into this folder, instead of printing the first.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs, mut command: clap::Command) -> Result<(), Fatal> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "tidemark", &mut script);
    show::line(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

pub(super) fn man(args: &ManArgs, command: clap::Command) -> Result<(), Fatal> {
    let Some(folder) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|error| Fatal::new(format!("cannot write the manual page: {error}")))?;
        show::line(String::from_utf8_lossy(&page).trim_end());
        return Ok(());
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .map_err(|error| Fatal::new(format!("{}: cannot write the manual pages into it: {error}", folder.display())))
}
