//! The Rust sources of the project, and one of them without what does not count.

use std::path::Path;

/// One source.
pub(super) struct File {
    /// Its path within the folder that was searched, with slashes.
    pub path: String,
    pub text: String,
}

impl File {
    /// Tests, and rooms that only tests use.
    pub fn is_of_tests(&self) -> bool {
        let (room, rest) = self.path.split_once('/').unwrap_or_default();
        matches!(room, "e2e" | "testkit" | "benches" | "fuzz") || rest.split('/').any(|part| part == "tests")
    }
}

/// Every source below a folder, in order.
pub(super) fn files(folder: &Path) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(&inner).expect("a folder of sources can be read") {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).expect("a source is text");
                let within = path.strip_prefix(folder).expect("it lies in the folder");
                found.push(File { path: within.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A source without comments, and with empty strings and characters.
pub(super) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut at) = (String::with_capacity(text.len()), 0);
    let next = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        match (chars[at], next(at + 1)) {
            ('/', '/') => at = skip(&chars, at, |at| chars[at] == '\n'),
            ('/', '*') => at = skip(&chars, at + 2, |at| chars[at] == '*' && next(at + 1) == '/') + 2,
            ('r' | 'b', '"' | '#' | 'r') if !in_word && raw_hashes(&chars, at).is_some() => {
                let (begin, hashes) = raw_hashes(&chars, at).unwrap_or_default();
                let ends = |at: usize| chars[at] == '"' && (1..=hashes).all(|n| next(at + n) == '#');
                at = skip(&chars, begin, ends) + 1 + hashes;
                code.push_str("\"\"");
            }
            ('"', _) => {
                at = escaped(&chars, at + 1, '"');
                code.push_str("\"\"");
            }
            // A character, not a lifetime.
            ('\'', '\\') => at = escaped(&chars, at + 1, '\''),
            ('\'', _) if next(at + 2) == '\'' => at += 3,
            (other, _) => {
                code.push(other);
                at += 1;
            }
        }
    }
    code
}

fn skip(chars: &[char], from: usize, ends: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|&at| ends(at)).unwrap_or(chars.len())
}

/// Where a literal that began before `at` has ended.
fn escaped(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Where the text of a raw string begins, and the number of its hashes.
fn raw_hashes(chars: &[char], at: usize) -> Option<(usize, usize)> {
    let mut begin = at + usize::from(chars[at] == 'b');
    if chars.get(begin) != Some(&'r') {
        return None;
    }
    begin += 1;
    let hashes = chars[begin..].iter().take_while(|&&c| c == '#').count();
    (chars.get(begin + hashes) == Some(&'"')).then_some((begin + hashes + 1, hashes))
}

/// Code without the items that only tests have, and the names of the modules among them that are files.
pub(super) fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut kept, mut modules, mut rest) = (String::new(), Vec::new(), code);
    while let Some((before, after)) = rest.split_once(MARK) {
        kept.push_str(before);
        let mut depth = 0_i32;
        let end = after.char_indices().find(|&(_, c)| {
            depth += i32::from(matches!(c, '{' | '[' | '(')) - i32::from(matches!(c, '}' | ']' | ')'));
            depth == 0 && matches!(c, '}' | ';')
        });
        let (item, left) = after.split_at(end.map_or(after.len(), |(at, c)| at + c.len_utf8()));
        if let Some((_, name)) = item.trim_end_matches(';').rsplit_once("mod ").filter(|_| item.ends_with(';')) {
            modules.push(name.trim().to_owned());
        }
        rest = left;
    }
    (kept + rest, modules)
}
