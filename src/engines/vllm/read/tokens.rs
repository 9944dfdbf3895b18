//! Python source → tokens. As much of the language as definitions are written in; the rest passes
//! through as tokens that nothing asks for.

/// A token, with blocks marked by [`Token::Indent`] and [`Token::Dedent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    /// A string, its escapes resolved.
    Text(String),
    /// A string with expressions in it.
    Template,
    Number(String),
    Sign(&'static str),
    /// The end of a logical line.
    Line,
    Indent,
    Dedent,
}

/// Longer signs first.
const SIGNS: [&str; 45] = [
    "**=", "//=", ">>=", "<<=", "...", "**", "->", ":=", "==", "!=", "<=", ">=", "+=", "-=", "*=",
    "/=", "|=", "&=", "^=", "%=", "@=", "//", "<<", ">>", "(", ")", "[", "]", "{", "}", ",", ":",
    ".", "=", "|", "*", "@", "+", "-", "/", "%", "<", ">", "&", "^",
];

struct Reader<'text> {
    rest: &'text str,
    tokens: Vec<Token>,
    /// Open brackets.
    depth: usize,
    indents: Vec<usize>,
}

/// All tokens of a file.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { rest: text, tokens: Vec::new(), depth: 0, indents: vec![0] };
    reader.indentation();
    while !reader.rest.is_empty() {
        reader.next();
    }
    reader.end_line();
    for _ in 1..reader.indents.len() {
        reader.tokens.push(Token::Dedent);
    }
    reader.tokens
}

impl<'text> Reader<'text> {
    fn take(&mut self, length: usize) -> &'text str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'text str {
        let length = self.rest.find(|letter| !wanted(letter)).unwrap_or(self.rest.len());
        self.take(length)
    }

    fn end_line(&mut self) {
        if !matches!(self.tokens.last(), None | Some(Token::Line | Token::Indent | Token::Dedent)) {
            self.tokens.push(Token::Line);
        }
    }

    /// At the start of a line: what the white space before its first token means.
    fn indentation(&mut self) {
        loop {
            let width = self.take_while(|letter| letter == ' ' || letter == '\t').len();
            match self.rest.chars().next() {
                Some('#') => drop(self.take_while(|letter| letter != '\n')),
                Some('\n' | '\r') => drop(self.take(1)),
                None => return,
                Some(_) => {
                    if width > *self.indents.last().unwrap_or(&0) {
                        self.indents.push(width);
                        self.tokens.push(Token::Indent);
                    }
                    while self.indents.len() > 1 && width < *self.indents.last().unwrap_or(&0) {
                        self.indents.pop();
                        self.tokens.push(Token::Dedent);
                    }
                    return;
                }
            }
        }
    }

    fn next(&mut self) {
        let Some(first) = self.rest.chars().next() else { return };
        if first == '\n' {
            self.take(1);
            if self.depth == 0 {
                self.end_line();
                self.indentation();
            }
        } else if first.is_whitespace() || first == '\\' || first == ';' {
            self.take(first.len_utf8());
            if first == '\\' {
                self.rest = self.rest.strip_prefix('\n').unwrap_or(self.rest);
            }
        } else if first == '#' {
            self.take_while(|letter| letter != '\n');
        } else if let Some(prefix) = self.string_prefix() {
            self.string(prefix);
        } else if first.is_alphabetic() || first == '_' {
            let name = self.take_while(|letter| letter.is_alphanumeric() || letter == '_');
            self.tokens.push(Token::Name(name.to_owned()));
        } else if first.is_ascii_digit() {
            let number =
                self.take_while(|letter| letter.is_alphanumeric() || "._".contains(letter));
            self.tokens.push(Token::Number(number.to_owned()));
        } else if let Some(sign) = SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
            self.take(sign.len());
            match *sign {
                "(" | "[" | "{" => self.depth += 1,
                ")" | "]" | "}" => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            self.tokens.push(Token::Sign(sign));
        } else {
            self.take(first.len_utf8());
        }
    }

    /// The letters before a string's quote, if a string begins here.
    fn string_prefix(&self) -> Option<&'text str> {
        let at = self.rest.find(['"', '\''])?;
        let prefix = &self.rest[..at];
        (at <= 2 && prefix.bytes().all(|byte| b"rRbBuUfF".contains(&byte))).then_some(prefix)
    }

    fn string(&mut self, prefix: &str) {
        self.take(prefix.len());
        let raw = prefix.contains(['r', 'R']);
        let quote = if self.rest.starts_with("\"\"\"") || self.rest.starts_with("'''") {
            self.take(3)
        } else {
            self.take(1)
        };
        let mut text = String::new();
        while !self.rest.is_empty() && !self.rest.starts_with(quote) {
            let letter = self.take(self.rest.chars().next().map_or(1, char::len_utf8));
            if letter != "\\" {
                text.push_str(letter);
                continue;
            }
            let escaped = self.take(self.rest.chars().next().map_or(0, char::len_utf8));
            match escaped {
                _ if raw => text.extend(["\\", escaped]),
                "n" => text.push('\n'),
                "t" => text.push('\t'),
                "\n" => {}
                other => text.push_str(other),
            }
        }
        self.take(quote.len().min(self.rest.len()));
        let template = prefix.contains(['f', 'F']);
        self.tokens.push(if template { Token::Template } else { Token::Text(text) });
    }
}
