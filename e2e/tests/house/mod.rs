//! Rules of this house that a reader of one file cannot see broken: sizes, places, and who imports whom.

mod circles;
mod source;

use std::path::Path;

use source::{File, code, files, without_tests};

/// The largest file of the product, in lines.
const PRODUCT_LINES_MAX: usize = 450;
/// The largest file of tests and of what only tests use, in lines.
const TEST_LINES_MAX: usize = 600;
/// The longest line of a comment, in characters.
const COMMENT_COLUMNS_MAX: usize = 120;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a package has a workspace")
}

#[track_caller]
fn none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn no_file_is_too_long() {
    let found = files(project());
    assert!(found.len() > 200, "{} sources only: are they elsewhere now?", found.len());
    let most = |file: &File| if file.is_of_tests() { TEST_LINES_MAX } else { PRODUCT_LINES_MAX };
    let long = found.iter().filter(|file| file.text.lines().count() > most(file));
    let long: Vec<String> = long.map(|file| format!("{}: {}", file.path, file.text.lines().count())).collect();
    none(&long, "files have one subject: 450 lines of product, 600 of tests");
}

#[test]
fn a_module_with_children_is_a_folder() {
    let found = files(project());
    let has_children = |file: &&File| {
        let folder = file.path.strip_suffix(".rs").map(|path| format!("{path}/")).unwrap_or_default();
        found.iter().any(|other| other.path.starts_with(&folder))
    };
    let beside: Vec<String> = found.iter().filter(has_children).map(|file| file.path.clone()).collect();
    none(&beside, "x.rs lies beside x/ (it is x/mod.rs)");
}

#[test]
fn comments_are_no_wider_than_a_page() {
    let mut wide = Vec::new();
    for file in files(project()) {
        for (at, line) in (1..).zip(file.text.lines()) {
            if line.trim_start().starts_with("//") && line.chars().count() > COMMENT_COLUMNS_MAX {
                wide.push(format!("{}:{at}", file.path));
            }
        }
    }
    none(&wide, "comments of more than 120 columns");
}

/// Where tasks and threads are begun in the programs, how many, and who hears when one panics. What is to go on for as
/// long as a program runs is begun by `supervision` in the server and by `chores` in the station, which begin it again.
const BEGUN: [(&str, usize, &str); 12] = [
    ("server/src/admin/backup/archive.rs", 1, "who joins it"),
    ("server/src/cli/signal.rs", 1, "nobody: it waits for a second signal"),
    ("server/src/http/digest.rs", 1, "the request that waits for it"),
    ("server/src/http/health.rs", 1, "the request that waits for it"),
    ("server/src/http/operators.rs", 1, "the request that waits for it"),
    ("server/src/http/push.rs", 1, "the request that waits for it"),
    ("server/src/server.rs", 1, "systemd: the door does not live any more; what it does is supervised within"),
    ("server/src/stores/postgres/connect/once.rs", 1, "whoever uses this one connection"),
    ("server/src/stores/postgres/connection.rs", 2, "whoever uses this one connection"),
    ("server/src/supervision.rs", 2, "it begins them again, or tells of them"),
    ("wasm-client/station/src/courier.rs", 1, "who takes the outcome of its request"),
    ("wasm-client/station/src/ending.rs", 1, "nobody: it only rings, and who waits looks each second without"),
];

#[test]
fn no_task_dies_in_silence() {
    let supervising = ("wasm-client/station/src/cli/chores.rs", 1);
    let mut found = Vec::new();
    for room in ["server/src", "wasm-client/station/src"] {
        for file in files(&project().join(room)).iter().filter(|file| !file.path.ends_with("tests.rs")) {
            let path = format!("{room}/{}", file.path);
            let (product, _) = without_tests(&code(&file.text));
            // A process is spawned without an argument.
            let begins = product.match_indices("spawn(").filter(|(at, word)| {
                let (before, after) = (&product[..*at], &product[at + word.len()..]);
                before.ends_with([':', '.']) && !before.ends_with("supervision::") && !after.starts_with(')')
            });
            let number = begins.count();
            let said = BEGUN.iter().map(|(path, number, _)| (*path, *number)).chain([supervising]);
            if number != said.into_iter().find(|(known, _)| *known == path).map_or(0, |(_, number)| number) {
                found.push(format!("{path}: {number}"));
            }
        }
    }
    none(&found, "tasks that stay are begun by `supervision` or `chores`; say of others who hears when one panics");
}

#[test]
fn no_module_imports_itself_through_others() {
    const ROOMS: [&str; 13] = [
        "core",
        "core/settings",
        "wasm-client",
        "wasm-client/engine",
        "wasm-client/station",
        "migrations",
        "server",
        "testkit",
        "e2e",
        "e2e/memory",
        "e2e/simulation",
        "benches",
        "fuzz",
    ];
    let mut found = Vec::new();
    for room in ROOMS {
        let circles = circles::of(&project().join(room).join("src"));
        found.extend(circles.iter().map(|circle| format!("{room}:\n    {}", circle.join("\n    "))));
    }
    none(&found, "modules that import each other in a circle (what two need lies below both)");
}
