//! What is between the quotes of a text, and how a shell splits one.

use super::value::GAP;

/// The text that a part of a literal stands for.
pub(super) fn content(source: &str, prefix: &str) -> String {
    let source = if prefix.contains(['f', 'F']) {
        source.replace("{{", "{").replace("}}", "}")
    } else {
        source.to_owned()
    };
    if prefix.contains(['r', 'R']) {
        return source;
    }
    let mut text = String::with_capacity(source.len());
    let mut letters = source.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('\n') => {}
            Some(quoted @ ('\\' | '\'' | '"')) => text.push(quoted),
            // Numbers and names of characters: no setting has those.
            Some(other) => text.extend(['\\', other]),
            None => text.push('\\'),
        }
    }
    text
}

/// Splits a text as a shell does, variables left as they are; a word that is quoted with `'` may hold
/// anything. Stops at what isn't part of one command.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(letters.by_ref().take_while(|inner| *inner != '\''));
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(inner) = letters.next() {
                    match inner {
                        '"' => break,
                        '\\' if letters.peek().is_some_and(|it| "\\\"$`\n".contains(*it)) => {
                            word.extend(letters.next().filter(|it| *it != '\n'));
                        }
                        inner => word.push(inner),
                    }
                }
            }
            '\\' => match letters.next() {
                Some('\n') | None => {}
                Some(quoted) => word.get_or_insert_default().push(quoted),
            },
            '&' | ';' | '|' | '>' | '<' => {
                words.extend(word.take());
                // What follows is another command, or where the output goes.
                if words.is_empty() {
                    continue;
                }
                // A number before `>` belongs to it: `2>&1`.
                if letter == '>' && words.last().is_some_and(|last| last == "1" || last == "2") {
                    words.pop();
                }
                return words;
            }
            '#' if word.is_none() => {
                letters.by_ref().take_while(|it| *it != '\n').for_each(drop);
            }
            letter if letter.is_whitespace() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The shell's variable that a word is, if it is nothing else.
pub(super) fn shell_variable(word: &str) -> Option<&str> {
    let name = word.strip_prefix('$')?;
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && !name.is_empty()).then_some(name)
}

/// Whether only a run would tell a part of a text.
pub(super) fn has_gap(text: &str) -> bool {
    text.contains(GAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_as_a_shell_does() {
        let split =
            words("vllm serve 'a b' --config \"{\\\"a\\\": 1}\" \\\n  --x=1 2>&1 | tee log");
        assert_eq!(split, ["vllm", "serve", "a b", "--config", "{\"a\": 1}", "--x=1"]);
        assert_eq!(words("  "), [] as [&str; 0]);
        assert_eq!(words("a # b\nc"), ["a", "c"]);
    }

    #[test]
    fn escapes_are_those_of_python() {
        assert_eq!(content("a\\n\\\"b\\\nc\\d", ""), "a\n\"bc\\d");
        assert_eq!(content("a\\n{{}}", "rf"), "a\\n{}");
    }
}
