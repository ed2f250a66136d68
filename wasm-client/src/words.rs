//! The engine speaks to a person at a station's command line; in a page there is none.

/// What is said in a page instead: from the first text to the end of the second.
const IN_A_PAGE: [(&str, &str, &str); 9] = [
    (
        "What to do: put the file",
        "run `tidemark rejoin CODE`",
        "What to do: export the database, and ask the server's operator",
    ),
    (
        "put the file back to a copy that fits",
        "run `tidemark rejoin CODE`",
        "export the database, and ask the server's operator",
    ),
    ("; run `tidemark join CODE`", ")", "; join one with a code that its operator makes"),
    (" (`tidemark log`", ")", ""),
    ("`tidemark server` shows and changes it", "", "is the page opened with the right one?"),
    (
        "(`tidemark info --schema` prints it; then `tidemark-server migrate up --schema FILE`)",
        "",
        "(there: `tidemark-server migrate up --schema FILE`)",
    ),
    (" `tidemark rejects show ", "gives it up", " Give it up, or leave it open"),
    ("; `tidemark rejects` shows those that were", "", ""),
    (", `tidemark rejects discard ", "gives it up", "; give it up"),
];

/// A message of the engine as a page says it.
#[must_use]
pub fn in_a_page(message: &str) -> String {
    let mut said = message.to_owned();
    for (begin, end, instead) in IN_A_PAGE {
        let Some(from) = said.find(begin) else { continue };
        let after = from + begin.len();
        let Some(upto) = said[after..].find(end) else { continue };
        said.replace_range(from..after + upto + end.len(), instead);
    }
    said
}
