//! From the text of words to their parts.

use tree_sitter::Node;

use super::Refused;
use super::parse::{Reader, children};
use super::syntax::{Part, PartKind, Word};

impl Reader<'_> {
    pub(super) fn word(&self, node: Node<'_>) -> Result<Word, Refused> {
        let mut word = Word::new();
        self.parts(node, false, &mut word)?;
        Ok(word)
    }

    fn parts(&self, node: Node<'_>, quoted: bool, word: &mut Word) -> Result<(), Refused> {
        match node.kind() {
            "word"
            | "number"
            | "extglob_pattern"
            | "regex"
            | "variable_name"
            | "test_operator"
            | "special_variable_name"
            | "file_descriptor"
            | "string_content" => {
                let inner = children(node);
                if inner.iter().any(Node::is_named) {
                    word.extend(self.gaps(
                        node,
                        node.start_byte(),
                        node.end_byte(),
                        within(quoted),
                    )?);
                } else {
                    plain(self.of(node), within(quoted), word);
                }
            }
            "concatenation" => {
                for child in children(node) {
                    if child.is_named() {
                        self.parts(child, quoted, word)?;
                    } else {
                        plain(self.of(child), within(quoted), word);
                    }
                }
            }
            "raw_string" => {
                let text = self.of(node);
                let text = text[1..text.len() - 1].to_owned();
                word.push(Part { quoted: true, kind: PartKind::Text(text) });
            }
            "string" => {
                let before = word.len();
                word.extend(self.gaps(
                    node,
                    node.start_byte() + 1,
                    node.end_byte() - 1,
                    within(true),
                )?);
                if word.len() == before {
                    word.push(Part { quoted: true, kind: PartKind::Text(String::new()) });
                }
            }
            "simple_expansion" => {
                let name = self.text[self.begin(node) + 1..node.end_byte()].to_owned();
                word.push(Part { quoted, kind: PartKind::Variable(name, None) });
            }
            "expansion" => word.push(Part { quoted, kind: self.expansion(node)? }),
            "command_substitution" => {
                if children(node).iter().any(|it| it.kind() == "file_redirect") {
                    return Err(self.not_read(node));
                }
                word.push(Part { quoted, kind: PartKind::Command(self.block(node)?) });
            }
            "arithmetic_expansion" => word.push(Part { quoted, kind: PartKind::Arithmetic }),
            _ => return Err(self.not_read(node)),
        }
        Ok(())
    }

    /// The expansions among a node's children, and the text between them.
    pub(super) fn gaps(
        &self,
        node: Node<'_>,
        start: usize,
        end: usize,
        protects: Option<&str>,
    ) -> Result<Word, Refused> {
        let quoted = protects.is_some();
        let mut word = Word::new();
        let mut at = start;
        for child in children(node) {
            let expands = matches!(
                child.kind(),
                "simple_expansion" | "expansion" | "command_substitution" | "arithmetic_expansion"
            );
            let nested =
                !quoted && matches!(child.kind(), "string" | "raw_string" | "concatenation");
            let from = if nested { child.start_byte() } else { self.begin(child) };
            if from < at || !(expands || nested) {
                continue;
            }
            plain(&self.text[at..from], protects, &mut word);
            self.parts(child, quoted, &mut word)?;
            at = child.end_byte();
        }
        plain(&self.text[at..end], protects, &mut word);
        Ok(word)
    }

    /// Where a node begins. tree-sitter counts blanks before an expansion to it, which stand in the text.
    fn begin(&self, node: Node<'_>) -> usize {
        let text = self.of(node);
        node.start_byte() + text.len() - text.trim_start_matches(['\\', '\n', ' ', '\t']).len()
    }

    fn expansion(&self, node: Node<'_>) -> Result<PartKind, Refused> {
        let begin = self.begin(node);
        let text = &self.text[begin..node.end_byte()];
        let inner = &text[2..text.len() - 1];
        if let Some(name) = inner.strip_prefix('#').filter(|name| is_name(name)) {
            return Ok(PartKind::Length(name.to_owned()));
        }
        let length =
            inner.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let length =
            if length == 0 { inner.chars().next().map_or(0, char::len_utf8) } else { length };
        let (name, rest) = inner.split_at(length);
        if rest.is_empty() {
            return Ok(PartKind::Variable(name.to_owned(), None));
        }
        let operator = [":-", ":=", ":+", ":?", "##", "%%", "-", "=", "+", "?", "#", "%"]
            .into_iter()
            .find(|operator| rest.starts_with(operator))
            .ok_or_else(|| self.not_read(node))?;
        let start = begin + 2 + length + operator.len();
        let word = self.gaps(node, start, node.end_byte() - 1, None)?;
        Ok(PartKind::Variable(name.to_owned(), Some((operator.to_owned(), word))))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The letters that a backslash protects within double quotes; all of them outside.
fn within(quotes: bool) -> Option<&'static str> {
    quotes.then_some("$`\"\\")
}

/// Text with its backslashes resolved; what they protect counts as quoted.
fn plain(text: &str, protects: Option<&str>, word: &mut Word) {
    let quoted = protects.is_some();
    let mut open = String::new();
    let mut letters = text.chars().peekable();
    let mut push = |text: &mut String, quoted: bool| {
        if !text.is_empty() {
            word.push(Part { quoted, kind: PartKind::Text(std::mem::take(text)) });
        }
    };
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.peek().copied() {
                Some('\n') => drop(letters.next()),
                Some(next) if protects.is_none_or(|letters| letters.contains(next)) => {
                    letters.next();
                    push(&mut open, quoted);
                    push(&mut next.to_string(), true);
                }
                _ => open.push('\\'),
            },
            letter => open.push(letter),
        }
    }
    push(&mut open, quoted);
}
