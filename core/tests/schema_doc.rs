//! docs/SCHEMA.md: its examples parse, and those that it calls refused are refused with the words it says.

use tidemark_core::schema::Schema;

const DOC: &str = include_str!("../../docs/SCHEMA.md");
const REFUSED: &str = "# refused: ";

/// The `toml` blocks, each with the line it begins on.
fn examples() -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (at, line) in DOC.lines().enumerate() {
        match line {
            "```toml" => {
                found.push((at + 1, String::new()));
                open = true;
            }
            "```" => open = false,
            _ if open => {
                let (_, text) = found.last_mut().unwrap();
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    found
}

/// An example as a whole schema, as the page says it is to be read.
fn whole(example: &str) -> String {
    let first = example.lines().find(|line| !line.starts_with('#')).unwrap();
    if first.starts_with("name") {
        return example.to_owned();
    }
    let table = if first.starts_with('[') { "" } else { "[tables.t.columns]\nid = { type = \"integer\" }\n" };
    format!("name = \"x\"\nversion = 1\n{table}{example}")
}

#[test]
fn every_example_is_taken_or_refused_as_the_page_says() {
    let (mut taken, mut refused) = (0, 0);
    for (line, example) in examples() {
        let parsed = Schema::parse(&whole(&example));
        match example.strip_prefix(REFUSED).and_then(|rest| rest.lines().next()) {
            None => {
                parsed.unwrap_or_else(|error| panic!("docs/SCHEMA.md:{line}: {error}"));
                taken += 1;
            }
            Some(words) => {
                let Err(error) = parsed else { panic!("docs/SCHEMA.md:{line}: is taken, not refused: {words}") };
                assert!(error.to_string().contains(words), "docs/SCHEMA.md:{line}: {error}");
                assert_eq!(error.issues.len(), 1, "docs/SCHEMA.md:{line} is wrong in one way: {error}");
                refused += 1;
            }
        }
    }
    assert!(taken >= 5 && refused >= 20, "{taken} taken, {refused} refused");
}

#[test]
fn every_type_and_key_is_on_the_page() {
    for ty in tidemark_core::value::ColumnType::ALL {
        let says = format!("| `{}` | `{}` |", ty.as_str(), tidemark_core::sqlite::declared_type(*ty));
        let line = DOC.lines().find(|line| line.starts_with(&says)).unwrap_or_else(|| panic!("no {says:?}"));
        let upstream = format!("`{}`", tidemark_core::postgres::type_name(*ty));
        assert!(line.contains(&upstream), "{line} does not say {upstream}");
    }
    // The parser names the keys it knows when it meets another.
    for place in ["other = 1\n", "[tables.t]\nother = 1\n[tables.t.columns]\nid = { type = 'integer' }\n"] {
        let error = Schema::parse(&format!("name = 'x'\nversion = 1\n{place}")).unwrap_err().to_string();
        keys_are_there(&error);
    }
    keys_are_there(&Schema::parse(&whole("a = { type = 'text', other = 1 }\n")).unwrap_err().to_string());
}

#[track_caller]
fn keys_are_there(error: &str) {
    let (_, known) = error.split_once("known here: ").expect("an unknown key is refused");
    for key in known.lines().next().unwrap().split(", ") {
        let there = DOC.contains(&format!("`{key}`")) || DOC.contains(&format!("`{key}.NAME`"));
        assert!(there, "docs/SCHEMA.md does not say what {key} is");
    }
}
