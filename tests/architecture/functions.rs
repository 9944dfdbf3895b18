//! The functions of the tests, out of plain text: their attributes, and whom they call.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// A function, as its text says.
pub(super) struct Function {
    pub(super) file: String,
    /// The type that it belongs to.
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) attributes: String,
    pub(super) signature: String,
    pub(super) body: String,
}

/// The files of the tests, with their texts.
pub(super) fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = ["tests", "src"].into_iter().flat_map(|directory| {
        walkdir::WalkDir::new(root.join(directory)).sort_by_file_name().into_iter()
    });
    let paths = entries.map(|entry| entry.unwrap().into_path());
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let rust = paths.filter(|path| path.extension().is_some_and(|it| it == "rs"));
    let tests = rust.map(|path| (name(&path), path)).filter(|(name, _)| name.contains("test"));
    tests.map(|(name, path)| (name, fs::read_to_string(path).unwrap())).collect()
}

/// Every function of the tests.
pub(super) fn functions() -> Vec<Function> {
    let mut found = Vec::new();
    for (file, text) in texts() {
        read(&file, &text, &mut found);
    }
    found
}

pub(super) fn read(file: &str, text: &str, found: &mut Vec<Function>) {
    let code = blank(text);
    let mut owner = (0..0, String::new());
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if line.starts_with("impl")
            && let Some(open) = code[start..].find('{')
        {
            let head = code[start..start + open].trim();
            let named = head.rsplit(" for ").next().unwrap_or_default();
            let named = named.trim_start_matches("impl").trim_start_matches("<'_>").trim();
            owner = (block(&code, start + open), word(named).to_owned());
        }
        let before = line.find("fn ").filter(|fn_at| {
            line[..*fn_at]
                .split_whitespace()
                .all(|it| ["pub", "pub(crate)", "pub(super)", "async", "const"].contains(&it))
        });
        let Some(before) = before else { continue };
        let name = word(&line[before + 3..]).to_owned();
        let Some(open) = code[start..].find(['{', ';']).map(|open| start + open) else { continue };
        let above = text[..start].lines().rev();
        let attributes = above.take_while(|it| it.trim_start().starts_with('#'));
        found.push(Function {
            file: file.to_owned(),
            owner: if owner.0.contains(&start) { owner.1.clone() } else { String::new() },
            name,
            attributes: attributes.collect(),
            signature: code[start..open].to_owned(),
            body: code[block(&code, open)].to_owned(),
        });
    }
}

/// The text without what comments and quotes hold, as long as before.
fn blank(text: &str) -> String {
    let mut blank = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let quoted = |from: &str, end: &str| from.find(end).map_or(from.len(), |at| at + end.len());
        let hashes =
            rest.strip_prefix('r').map_or(0, |it| it.len() - it.trim_start_matches('#').len());
        let before = blank.chars().next_back();
        let is_raw = rest.starts_with('r')
            && rest[1 + hashes..].starts_with('"')
            && !before.is_some_and(|it| it.is_alphanumeric() || it == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if is_raw {
            let end = format!("\"{}", "#".repeat(hashes));
            2 + hashes + quoted(&rest[2 + hashes..], &end)
        } else if letter == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|it| {
                let is_end = it == '"' && !escaped;
                escaped = it == '\\' && !escaped;
                is_end
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\\") {
            2 + quoted(&rest[3..], "'") + 1
        } else if letter == '\'' && rest.chars().nth(2) == Some('\'') {
            rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at)
        } else {
            blank.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        };
        blank.extend(rest[..length].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    assert_eq!(blank.len(), text.len());
    blank
}

/// The block that begins here.
fn block(code: &str, open: usize) -> Range<usize> {
    let mut depth = 0;
    for (at, letter) in code[open..].char_indices() {
        depth += match letter {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return open..open + at + 1;
        }
    }
    open..code.len()
}

fn word(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The names that are called, each with what it is looked up in: nothing, a module, or a type; `.` for a
/// method.
pub(super) fn calls(code: &str) -> Vec<(&str, &str)> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let call = |(open, _): (usize, &str)| {
        let name_at = code[..open].rfind(|letter| !is_part(letter)).map_or(0, |at| at + 1);
        let name = &code[name_at..open];
        let before = &code[..name_at];
        let owner = match before.strip_suffix("::") {
            Some(path) => &path[path.rfind(|letter| !is_part(letter)).map_or(0, |at| at + 1)..],
            None if before.ends_with('.') => ".",
            None => "",
        };
        (!name.is_empty()).then_some((owner, name))
    };
    code.match_indices('(').filter_map(call).collect()
}
