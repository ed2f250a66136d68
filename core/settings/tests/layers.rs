//! Which value holds, what is wrong, and how both are said.

use clap::FromArgMatches as _;
use tidemark_settings::{Loaded, Origin, report, show};

use crate::program::{Cli, Command, PROGRAM, load};

fn value(loaded: &Loaded, key: &str) -> (String, String) {
    let (setting, now) = loaded.layers.of(key).unwrap();
    let origin = match &now.origin {
        Origin::File(at) => format!("line {}", at.line),
        other => other.to_string(),
    };
    (report::shown(&PROGRAM, setting, now).join(","), origin)
}

fn problems(loaded: &Loaded) -> Vec<String> {
    let says = |problem: &tidemark_settings::Problem| {
        let text = problem.to_string();
        text.rsplit_once("tide.toml:").filter(|_| !text.contains('(')).map_or(text.clone(), |(_, text)| text.to_owned())
    };
    loaded.layers.problems.iter().map(says).collect()
}

fn cli(loaded: &Loaded) -> Cli {
    Cli::from_arg_matches(loaded.matches.as_ref().unwrap()).unwrap()
}

#[test]
fn flags_outweigh_variables_and_these_the_file_and_that_the_default() {
    let file = "\n\nmany = 2\n";
    let said = |file, variables: &[(&str, &str)], words| value(&load(file, variables, words).unwrap(), "many");
    let is = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(said("", &[], "serve"), is("8", "default"));
    assert_eq!(said(file, &[], "serve"), is("2", "line 3"));
    assert_eq!(said(file, &[("TIDEMARK_MANY", "3")], "serve"), is("3", "TIDEMARK_MANY"));
    assert_eq!(said(file, &[("TIDEMARK_MANY", "3")], "serve --many 4"), is("4", "--many"));
    assert_eq!(said(file, &[("TIDEMARK_MANY", "3")], "serve --many=4"), is("4", "--many"));
    let all = load(file, &[("TIDEMARK_FORM", "json")], "serve --quiet --origin a --origin b,c").unwrap();
    let Command::Serve(serve) = cli(&all).command else { panic!("another command") };
    assert_eq!((serve.many, serve.form.as_str(), serve.quiet), (2, "json", true));
    assert_eq!(serve.origin, ["a", "b", "c"]);
    assert_eq!(value(&all, "origin"), is("a,b,c", "--origin"));
}

#[test]
fn every_form_of_value_reaches_the_program_as_if_it_had_been_typed() {
    let file = "many = 0x10\nhours = 12\norigin = ['a', 'b']\nform = 'json'\nquiet = true\nfile = 'x.db'\n[backup]\nkeep = 3\n";
    let loaded = load(file, &[], "serve").unwrap();
    assert_eq!(problems(&loaded), [""; 0]);
    let cli = cli(&loaded);
    let Command::Serve(serve) = cli.command else { panic!("another command") };
    assert_eq!((cli.db.to_str(), serve.many, serve.hours), (Some("x.db"), 16, Some(12.0)));
    assert_eq!(
        (&serve.origin[..], serve.form.as_str(), serve.quiet),
        (&["a".to_owned(), "b".to_owned()][..], "json", true)
    );
    assert_eq!(value(&loaded, "db"), ("x.db".to_owned(), "line 6".to_owned()));
}

#[test]
fn a_command_takes_what_it_shares_and_a_table_is_a_commands_own() {
    let file = "database_url = 'u'\nmany = 5\n[backup]\nkeep = 3\nolder_than = '9d'\n";
    let look = load(file, &[], "look").unwrap();
    let Command::Look(args) = cli(&look).command else { panic!("another command") };
    assert_eq!((args.place.database.as_deref(), args.many), (Some("u"), 1), "`--many` is another number there");
    // What is required may stand in the file.
    let Command::Backup(args) = cli(&load(file, &[], "backup").unwrap()).command else { panic!("another command") };
    assert_eq!((args.keep, args.older_than.as_str()), (3, "9d"));
    assert!(load("", &[], "backup").is_err());
    let args = load(file, &[("TIDEMARK_BACKUP_KEEP", "4")], "backup --older-than 1d").unwrap();
    assert_eq!(value(&args, "backup.keep"), ("4".to_owned(), "TIDEMARK_BACKUP_KEEP".to_owned()));
}

#[test]
fn whatever_is_wrong_is_told_at_once_with_file_and_line_key_and_what_is_allowed() {
    let file = "mayn = 1\nmany = 101\nhours = 'x'\nform = 'xml'\nquiet = 'yes'\norigin = [1]\ndatabase = 's3cr3t'\n[serve]\nmany = 3\n[backup]\nkeep = 'a'\nkepe = 1\n";
    let loaded = load(file, &[("TIDEMARK_DB", "")], "serve").unwrap();
    assert_eq!(
        problems(&loaded),
        [
            "1: mayn: there is no such setting; did you mean many?",
            "3: hours = \"x\" is of the type string; write a number, without quotes",
            "5: quiet = \"yes\" is of the type string; write true or false",
            "6: origin = 1 is of the type integer; write text in quotes, or a list of such in [ ]",
            "9: serve.many: there is no such setting; did you mean many?",
            "11: backup.keep = \"a\" is of the type string; write a whole number, without quotes",
            "12: backup.kepe: there is no such setting; did you mean backup.keep?",
            "TIDEMARK_DB=\"\": is empty",
            "2: many = 101: is out of range; allowed: 1..=100",
            "4: form = \"xml\": is none of them; allowed: text, json",
        ]
    );
    for (variable, says) in [
        ("x", "is no whole number (invalid digit found in string); allowed: 1..=100"),
        ("0", "is out of range; allowed: 1..=100"),
    ] {
        let loaded = load("", &[("TIDEMARK_MANY", variable)], "serve").unwrap();
        assert_eq!(loaded.layers.problems[0].to_string(), format!("TIDEMARK_MANY={variable}: {says}"));
    }
    assert!(problems(&load("many = ", &[], "serve").unwrap())[0].starts_with("1: is not TOML: "));
}

#[test]
fn what_may_not_be_together_on_a_command_line_may_not_be_in_a_file() {
    let loaded = load("cert = 'c.pem'\n", &[], "serve").unwrap();
    let problem = loaded.layers.problems[0].to_string();
    assert!(problem.contains("--key <KEY>") && loaded.matches.is_none(), "{problem}");
    // From two layers it is whole.
    let loaded = load("cert = 'c.pem'\n", &[("TIDEMARK_KEY", "k.pem")], "serve").unwrap();
    assert!(loaded.layers.problems.is_empty() && loaded.matches.is_some());
}

#[test]
fn one_thing_said_twice_is_refused_in_one_layer_and_outweighed_in_two() {
    let twice = |file, variables: &[(&str, &str)]| {
        let loaded = load(file, variables, "serve").unwrap();
        loaded.layers.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    for (file, variables) in [
        ("db = 'a'\nfile = 'b'\n", &[][..]),
        ("database = 'a'\ndatabase_url_file = 'b'\n", &[]),
        ("", &[("TIDEMARK_DATABASE_URL", "a"), ("TIDEMARK_DATABASE", "b")]),
    ] {
        assert!(twice(file, variables).contains("say the same thing twice: keep one"), "{}", twice(file, variables));
    }
    assert_eq!(twice("", &[("TIDEMARK_DATABASE_URL", "a"), ("TIDEMARK_DATABASE", "a")]), "");
    let loaded = load("database_url_file = 'f'\n", &[], "serve --database d").unwrap();
    let Command::Serve(serve) = cli(&loaded).command else { panic!("another command") };
    assert_eq!((serve.place.database.as_deref(), serve.place.database_url_file), (Some("d"), None));
    assert_eq!((problems(&loaded), loaded.layers.warnings.len()), (vec![], 0), "it was typed");
    // A variable may be a service's: who writes the file is told that it has no effect.
    let loaded = load("database = 'a'\n", &[("TIDEMARK_DATABASE_URL_FILE", "f")], "serve").unwrap();
    let told: Vec<String> = loaded.layers.warnings.iter().map(ToString::to_string).collect();
    let says = ":1: database has no effect: the variable TIDEMARK_DATABASE_URL_FILE sets database_url_file";
    assert_eq!(told.iter().filter(|told| told.contains(says)).count(), 1, "{told:?}");
    assert_eq!(problems(&loaded), [""; 0]);
}

#[test]
fn a_variable_that_nobody_reads_is_told_with_the_nearest_name() {
    let variables = [("TIDEMARK_MANNY", "1"), ("TIDEMARK_ZZZ", "1"), ("TIDEMARK_OTHER", "1"), ("TIDE", "1")];
    let told = |words| -> Vec<String> {
        load("", &variables, words).unwrap().layers.warnings.iter().map(ToString::to_string).collect()
    };
    let near = "the variable TIDEMARK_MANNY is none of this program's, and is not read; did you mean TIDEMARK_MANY?";
    assert_eq!(told("serve"), [near, "the variable TIDEMARK_ZZZ is none of this program's, and is not read"]);
    assert_eq!(told("look"), [near], "a command that does not stay tells of those that look mistyped");
}

#[test]
fn the_default_file_gives_the_defaults_as_it_is_and_with_every_default_set() {
    let defaults = load("", &[], "serve").unwrap().layers;
    let file = show::file(&PROGRAM, None);
    let as_it_is = load(&file, &[], "serve").unwrap().layers;
    assert_eq!((&as_it_is.problems[..], &as_it_is.effective), (&[][..], &defaults.effective));
    let mut set = String::new();
    for line in file.lines() {
        let key = line.strip_prefix('#').and_then(|line| line.split_once(" = ")).map(|(key, _)| key);
        let has_default =
            |key: &str| defaults.settings.iter().any(|setting| setting.name() == key && !setting.defaults().is_empty());
        let is_set = key.is_some_and(has_default);
        set.push_str(if is_set { &line[1..] } else { line });
        set.push('\n');
    }
    let all_set = load(&set, &[], "serve").unwrap().layers;
    assert_eq!(all_set.problems, []);
    assert_eq!(all_set.changed(&defaults), [""; 0]);
    let from_file = all_set.effective.iter().filter(|now| matches!(now.origin, Origin::File(_))).count();
    assert_eq!(from_file, 5, "db, many, form, quiet, keep");
    // What is set is shown as it is set, but for a secret.
    let now = load("many = 3\ndatabase = 's3cr3t'\n", &[], "serve").unwrap().layers;
    let shown = show::file(&PROGRAM, Some(&now));
    assert!(shown.contains("\nmany = 3\n") && shown.contains("\n#database = \"***\"\n"), "{shown}");
}

#[test]
fn a_secret_is_in_no_table_and_no_json_and_no_problem() {
    for file in ["database = 's3cr3t'\n", "database = 's3cr3t'\ndatabase_url = 's3cr3t'\n", "database = ['s3cr3t']\n"] {
        let loaded = load(file, &[], "serve").unwrap();
        let all = format!(
            "{}{}{}",
            report::table(&PROGRAM, &loaded.layers),
            report::json(&PROGRAM, &loaded.layers),
            show::file(&PROGRAM, Some(&loaded.layers))
        );
        assert!(!all.contains("s3cr3t"), "{all}");
    }
}

#[test]
fn help_shows_the_variable_of_each_flag_and_no_value() {
    let error = load("", &[("TIDEMARK_MANY", "3")], "serve --help").unwrap_err();
    let help = error.render().to_string();
    assert!(help.contains("[env: TIDEMARK_MANY]") && help.contains("[env: TIDEMARK_DATABASE_URL]"), "{help}");
    assert!(load("mayn = 1", &[], "--help").is_err(), "also beside a file that is wrong");
    assert!(load("", &[], "serve --mayn 1").is_err());
}
