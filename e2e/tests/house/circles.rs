//! Circles among the modules of one crate. A file is a module; a path in an import or in the code is an edge to the
//! module that has what it names. Names that a module only hands on (`pub use`) are followed to where they lie; tests
//! do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::source::{code, files, without_tests};

/// The path of a module, from the crate's root on.
type Module = Vec<String>;

/// What one file says.
#[derive(Default)]
struct Says {
    /// Every path that its code names, imports in full.
    paths: Vec<Vec<String>>,
    /// Names that it hands on, with the path of each.
    exports: BTreeMap<String, Vec<String>>,
}

/// The circles of a folder `src`: the members of each, with those that it imports.
pub(super) fn of(src: &Path) -> Vec<Vec<String>> {
    let mut texts: BTreeMap<Module, String> = BTreeMap::new();
    let mut only_tests: Vec<Module> = Vec::new();
    for file in files(src) {
        let mut module: Module = file.path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
            module.pop();
        }
        let (text, tests) = without_tests(&code(&file.text));
        only_tests.extend(tests.into_iter().map(|name| [module.clone(), vec![name]].concat()));
        texts.entry(module).or_default().push_str(&text);
    }
    texts.retain(|module, _| !only_tests.iter().any(|tests| module.starts_with(tests)));
    let says: BTreeMap<&Module, Says> = texts.iter().map(|(module, text)| (module, read(text))).collect();
    let mut edges: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for (&from, said) in &says {
        let targets = said.paths.iter().filter_map(|path| lies_in(&says, from, path, 0));
        edges.insert(from, targets.filter(|&to| to != from).collect());
    }
    circles(&edges)
}

fn read(text: &str) -> Says {
    let (mut says, mut body) = (Says::default(), String::new());
    let mut imports: Vec<(bool, Vec<String>, String)> = Vec::new();
    let mut rest = text;
    while let Some(at) = find_use(rest) {
        let (before, after) = rest.split_at(at);
        let (import, left) = after.split_once(';').unwrap_or((after, ""));
        let line = before.rsplit(['\n', ';', '}', '{']).next().unwrap_or_default().trim();
        let public = line.starts_with("pub");
        body.push_str(before);
        tree(import.trim_start_matches("use").trim(), &[], &mut |path, name| imports.push((public, path, name)));
        rest = left;
    }
    body.push_str(rest);
    let words: Vec<&str> = body.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    for (public, path, name) in imports {
        let used = words.contains(&name.as_str());
        if public {
            says.exports.insert(name, path.clone());
        }
        if !public || used {
            says.paths.push(path);
        }
    }
    says.paths.extend(inline(&body));
    says
}

/// Where the next word `use` is that begins an import.
fn find_use(text: &str) -> Option<usize> {
    let begins = |at: usize| {
        let before = text[..at].trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with(['\n', ';', '{', '}', ')']) || before.ends_with("pub")
    };
    text.match_indices("use ").map(|(at, _)| at).find(|&at| begins(at))
}

/// Every path of an import's tree, with the name that it gets here.
fn tree(text: &str, before: &[String], found: &mut impl FnMut(Vec<String>, String)) {
    let text = text.trim();
    let inner = text.find('{').map(|at| (&text[..at], text[at + 1..].trim_end().trim_end_matches('}')));
    if let Some((prefix, _)) = inner {
        let mut path = before.to_vec();
        path.extend(prefix.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
        // Its own closing brace is the last.
        let inside = &text[text.find('{').map_or(0, |at| at + 1)..text.rfind('}').unwrap_or(text.len())];
        let (mut depth, mut begin) = (0, 0);
        for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !inside[begin..at].trim().is_empty() {
                        tree(&inside[begin..at], &path, found);
                    }
                    begin = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (path, name) = text.split_once(" as ").map_or((text, None), |(path, name)| (path, Some(name.trim())));
    let mut all = before.to_vec();
    all.extend(path.split("::").map(|part| part.trim().to_owned()).filter(|part| part != "self" || before.is_empty()));
    let name = name.map_or_else(|| all.last().cloned().unwrap_or_default(), str::to_owned);
    found(all, name);
}

/// The paths in code: two or more names with colons between. To whom an item is visible (`pub(in path)`) is no import.
fn inline(body: &str) -> Vec<Vec<String>> {
    let scoped = body.split("pub(in ").enumerate();
    let body: String =
        scoped.map(|(at, text)| if at == 0 { text } else { text.split_once(')').unwrap_or_default().1 }).collect();
    let paths = body.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').filter(|word| word.contains("::"));
    paths.map(|path| path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()).collect()
}

/// The module that has what a path names, or none when it lies outside of the crate.
fn lies_in<'m>(says: &BTreeMap<&'m Module, Says>, from: &Module, path: &[String], depth: u32) -> Option<&'m Module> {
    let (first, _) = path.split_first()?;
    let mut at = match first.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => from.clone(),
        child if says.contains_key(&[from.clone(), vec![child.to_owned()]].concat()) => {
            [from.clone(), vec![child.to_owned()]].concat()
        }
        _ => return None,
    };
    let mut rest = &path[1..];
    if first == "super" {
        at.pop();
    }
    while let Some((name, left)) = rest.split_first() {
        let deeper = [at.clone(), vec![name.clone()]].concat();
        if name == "super" {
            at.pop();
        } else if says.contains_key(&deeper) {
            at = deeper;
        } else {
            let module = says.get_key_value(&at)?;
            // Handed on: it lies where that module says.
            return match module.1.exports.get(name).filter(|_| depth < 8) {
                Some(path) => {
                    let whole = [path.clone(), left.to_vec()].concat();
                    lies_in(says, &at, &whole, depth + 1).or(Some(module.0))
                }
                None => Some(module.0),
            };
        }
        rest = left;
    }
    says.get_key_value(&at).map(|(module, _)| *module)
}

/// The groups of modules each of which reaches all others of its group.
fn circles(edges: &BTreeMap<&Module, BTreeSet<&Module>>) -> Vec<Vec<String>> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> = edges.keys().map(|&from| (from, reached(edges, from))).collect();
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut seen: BTreeSet<&Module> = BTreeSet::new();
    for (&module, there) in &reach {
        if there.contains(module) && !seen.contains(module) {
            let members: Vec<&Module> = there.iter().copied().filter(|other| reach[other].contains(module)).collect();
            seen.extend(&members);
            let within = |from: &Module| -> Vec<String> {
                edges[from].iter().filter(|to| members.contains(to)).map(|to| to.join("::")).collect()
            };
            let said = members.iter().map(|from| format!("{} → {}", from.join("::"), within(from).join(", ")));
            found.push(said.collect());
        }
    }
    found
}

fn reached<'m>(edges: &BTreeMap<&'m Module, BTreeSet<&'m Module>>, from: &Module) -> BTreeSet<&'m Module> {
    let mut found = BTreeSet::new();
    let mut todo: Vec<&Module> = edges[from].iter().copied().collect();
    while let Some(module) = todo.pop() {
        if found.insert(module) {
            todo.extend(edges.get(module).into_iter().flatten());
        }
    }
    found
}

#[test]
fn circles_are_found_through_names_that_are_handed_on() {
    let edge = |text: &str| read(&without_tests(&code(text)).0);
    let [root, a, b, c] = ["", "a", "a::b", "c"]
        .map(|path| path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect::<Module>());
    let says = BTreeMap::from([
        (&root, edge("pub mod a; mod c; pub use a::Thing;")),
        (&a, edge("mod b; pub use b::Thing; // use crate::c::Not;\n#[cfg(test)] mod tests { use crate::c::Not; }")),
        (&b, edge("use std::fmt; use crate::c::{self, Other as O}; pub struct Thing(O);")),
        (&c, edge("pub struct Other; fn f() { let _ = (crate::Thing::new(), \"crate::a::X\"); }")),
    ]);
    let to = |from: &Module| -> Vec<&Module> {
        says[from].paths.iter().filter_map(|path| lies_in(&says, from, path, 0)).collect()
    };
    assert_eq!((to(&root), to(&a), to(&b), to(&c)), (vec![], vec![], vec![&c, &c], vec![&b]));
}
