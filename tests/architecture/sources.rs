//! The sources as the tests of their order read them: imports out of plain text.

use std::fs;
use std::path::{Path, PathBuf};

pub(super) struct Source {
    /// Below `src/`.
    pub(super) path: PathBuf,
    /// Without comments and tests.
    pub(super) code: String,
    pub(super) lines: usize,
}

impl Source {
    /// The top-level module that the file belongs to.
    pub(super) fn module(&self) -> &str {
        let first = self.path.iter().next().and_then(|part| part.to_str()).unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

/// All sources that are no tests, relative to `src/`.
pub(super) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_owned();
                found.push(Source { code: code(&text), lines: text.lines().count(), path });
            }
        }
    }
    found.retain(|source| !is_test(&source.path));
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 50, "the walk found next to nothing");
    found
}

fn is_test(path: &Path) -> bool {
    path.iter().filter_map(|part| part.to_str()).any(|part| {
        let name = part.strip_suffix(".rs").unwrap_or(part);
        name.ends_with("tests") || ["testing", "double"].contains(&name)
    })
}

/// The text without comments, and without the tests at its end.
pub(super) fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules named right after `prefix`, also in braces: `crate::{a, b::c}` names a and b.
pub(super) fn named<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let mut fresh = true;
                for (at, letter) in list.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => fresh = true,
                        _ if fresh && !letter.is_whitespace() => {
                            names.push(word(&list[at..]));
                            fresh = false;
                        }
                        _ => {}
                    }
                }
            }
            None => names.push(word(rest)),
        }
    }
    names
}

fn word(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn this_test_reads_imports_as_the_compiler_does() {
    let code = code("use crate::{a::{x, y}, b, c::z};\n// crate::no\ncrate::d::f();");
    assert_eq!(named(&code, "crate::"), ["a", "b", "c", "d"]);
}
