//! RECORD: the list of what a wheel installs, read and written.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::error::WheelError;

/// One line: the hash (`sha256=…`) and size of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hash: String,
    pub(super) size: u64,
}

impl Entry {
    pub(super) fn of(content: &[u8]) -> Self {
        Self::new(&Sha256::digest(content), content.len() as u64)
    }

    pub(super) fn new(digest: &[u8], size: u64) -> Self {
        Self { hash: format!("sha256={}", BASE64_URL_SAFE_NO_PAD.encode(digest)), size }
    }
}

/// The usable entries of a wheel's RECORD by path; those with a weak hash, no hash or no size are
/// left out, since they have to be computed anyway.
pub(super) fn parse(wheel: &str, text: &str) -> Result<HashMap<String, Entry>, WheelError> {
    let mut entries = HashMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let fields = fields(line).ok_or_else(|| WheelError::Record {
            wheel: wheel.to_owned(),
            reason: format!("has an unreadable line {}", index + 1),
        })?;
        if let [path, hash, size] = &fields[..]
            && let Ok(size) = size.parse()
            && hash.strip_prefix("sha256=").is_some_and(|digest| {
                BASE64_URL_SAFE_NO_PAD.decode(digest).is_ok_and(|bytes| bytes.len() == 32)
            })
        {
            entries.insert(path.clone(), Entry { hash: hash.clone(), size });
        }
    }
    Ok(entries)
}

/// Adds one line; RECORD's own has no entry.
pub(super) fn push(text: &mut String, path: &str, entry: Option<&Entry>) {
    if path.contains([',', '"']) {
        let _ = write!(text, "\"{}\"", path.replace('"', "\"\""));
    } else {
        text.push_str(path);
    }
    let _ = match entry {
        Some(Entry { hash, size }) => writeln!(text, ",{hash},{size}"),
        None => writeln!(text, ",,"),
    };
}

/// The comma-separated fields of a line, quoted or not.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut letters = line.chars().peekable();
    loop {
        let mut field = String::new();
        if letters.next_if_eq(&'"').is_some() {
            loop {
                match letters.next()? {
                    '"' if letters.next_if_eq(&'"').is_some() => field.push('"'),
                    '"' => break,
                    letter => field.push(letter),
                }
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| *letter != ',') {
                field.push(letter);
            }
        }
        fields.push(field);
        match letters.next() {
            None => return Some(fields),
            Some(',') => (),
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let entry = Entry::of(b"x");
        let mut text = String::new();
        for path in ["a", "b,c", "d\"e", "f g"] {
            push(&mut text, path, Some(&entry));
        }
        push(&mut text, "RECORD", None);
        let entries = parse("w", &text).unwrap();
        assert_eq!(entries.len(), 4);
        assert!(["a", "b,c", "d\"e", "f g"].iter().all(|path| entries[*path] == entry));
    }

    #[test]
    fn an_open_quote_is_refused() {
        assert!(matches!(parse("w", "\"a,,\n"), Err(WheelError::Record { .. })));
    }
}
