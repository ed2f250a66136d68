//! Whether all flags that are to be settings are some: what the tests of a program ask.

use clap::Arg;

use crate::program::Program;
use crate::show::file;
use crate::variables::PREFIX;

/// The flags that are to be settings, those of the program's tables but for the one that names the file: how many there
/// are, and what some of them lack.
#[must_use]
pub fn lacking(program: &Program) -> (usize, Vec<String>) {
    let (settings, file) = (program.settings(), file(program, None));
    let (mut flags, mut lacking) = (0, Vec::new());
    for table in program.tables {
        let mut command = (program.command)();
        for name in table.command {
            match command.find_subcommand(name).cloned() {
                Some(below) => command = below,
                None => lacking.push(format!("there is no command {name}")),
            }
        }
        for flag in command.get_arguments().filter_map(Arg::get_long).filter(|flag| *flag != "config") {
            flags += 1;
            let key = flag.replace('-', "_");
            let variable = format!("{PREFIX}{}", key.to_ascii_uppercase());
            match settings.iter().find(|setting| setting.key == key) {
                None => lacking.push(format!("--{flag} is no setting")),
                Some(setting) if !setting.variables.contains(&variable) => {
                    lacking.push(format!("--{flag} has no variable {variable}"));
                }
                Some(_) if !file.contains(&format!("\n#{key} = ")) => {
                    lacking.push(format!("--{flag} does not stand in the commented file"));
                }
                Some(_) => {}
            }
        }
    }
    (flags, lacking)
}
