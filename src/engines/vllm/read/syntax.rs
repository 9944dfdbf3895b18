//! Tokens → statements and expressions. Total: what isn't understood is [`Expression::Other`] or
//! left out, and reading goes on behind it.

use super::tokens::{Token, tokens};
use super::tree::{Class, Expression, Function, Statement};

/// All statements of a file.
pub(super) fn statements(text: &str) -> Vec<Statement> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    parser.block()
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    pub(super) at: usize,
}

const BLOCKS: [&str; 9] =
    ["if", "elif", "else", "for", "while", "with", "try", "except", "finally"];

impl Parser {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(found)) if found == name)
    }

    pub(super) fn accept(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn accept_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    pub(super) fn name(&mut self) -> String {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                name
            }
            _ => String::new(),
        }
    }

    /// Passes everything up to where `end` says so, brackets as a whole.
    pub(super) fn skip_to(&mut self, end: impl Fn(&Token) -> bool) {
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            match token {
                Token::Line | Token::Indent | Token::Dedent => return,
                token if depth == 0 && end(token) => return,
                Token::Sign("(" | "[" | "{") => depth += 1,
                Token::Sign(")" | "]" | "}") if depth == 0 => return,
                Token::Sign(")" | "]" | "}") => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn end_line(&mut self) {
        self.skip_to(|_| false);
        while matches!(self.peek(), Some(Token::Sign(_))) {
            self.at += 1;
            self.skip_to(|_| false);
        }
        if matches!(self.peek(), Some(Token::Line)) {
            self.at += 1;
        }
    }

    fn block(&mut self) -> Vec<Statement> {
        let mut statements = Vec::new();
        let mut decorators = Vec::new();
        while let Some(token) = self.peek() {
            match token {
                Token::Dedent => {
                    self.at += 1;
                    break;
                }
                Token::Line => self.at += 1,
                Token::Indent => {
                    self.at += 1;
                    statements.extend(self.block());
                }
                Token::Sign("@") => {
                    self.at += 1;
                    decorators.push(self.expression());
                    self.end_line();
                }
                _ => statements.extend(self.statement(std::mem::take(&mut decorators))),
            }
        }
        statements
    }

    /// What follows a colon: an indented block, or the rest of the line.
    fn body(&mut self) -> Vec<Statement> {
        self.accept(":");
        if !matches!(self.peek(), Some(Token::Line)) {
            return self.statement(Vec::new()).into_iter().collect();
        }
        self.at += 1;
        if matches!(self.peek(), Some(Token::Indent)) {
            self.at += 1;
            return self.block();
        }
        Vec::new()
    }

    fn statement(&mut self, decorators: Vec<Expression>) -> Option<Statement> {
        let word = match self.peek()? {
            Token::Name(name) => name.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "class" => {
                self.at += 1;
                let name = self.name();
                let bases = if self.accept("(") { self.arguments() } else { Vec::new() };
                let bases = bases.into_iter().map(|base| base.value).collect();
                let body = self.body();
                Some(Statement::Class(Class { name, bases, decorators, body }))
            }
            "async" => {
                self.at += 1;
                self.statement(decorators)
            }
            "def" => {
                self.at += 1;
                let name = self.name();
                let parameters = self.parameters();
                self.skip_to(|token| *token == Token::Sign(":"));
                let body = self.body();
                Some(Statement::Function(Function { name, decorators, parameters, body }))
            }
            "from" => self.import(),
            "import" => self.import_module(),
            "return" => {
                self.at += 1;
                let value = self.expression();
                self.end_line();
                Some(Statement::Return(value))
            }
            "del" => {
                self.at += 1;
                let target = self.expression();
                self.end_line();
                Some(Statement::Delete(target))
            }
            keyword if BLOCKS.contains(&keyword) => {
                self.at += 1;
                if keyword == "for" {
                    self.skip_to(|token| *token == Token::Name("in".to_owned()));
                    self.at += 1;
                }
                let head = if self.is(":") { Expression::Other } else { self.expression() };
                self.skip_to(|token| *token == Token::Sign(":"));
                let keyword = word;
                Some(Statement::Block { keyword, head, body: self.body() })
            }
            "raise" | "assert" | "pass" | "global" | "nonlocal" | "yield" | "await" | "break"
            | "continue" => {
                self.end_line();
                None
            }
            _ => {
                let before = self.at;
                let statement = self.assignment();
                self.end_line();
                if self.at == before {
                    self.at += 1;
                }
                Some(statement)
            }
        }
    }

    /// The names of a function's parameters, without what gathers the rest.
    fn parameters(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        if !self.accept("(") {
            return names;
        }
        while !self.accept(")") {
            let before = self.at;
            if matches!(self.peek(), Some(Token::Name(_))) {
                names.push(self.name());
            }
            self.skip_to(|token| *token == Token::Sign(","));
            self.accept(",");
            if self.at == before {
                break;
            }
        }
        names
    }

    /// `import a.b as c`; of several, the first.
    fn import_module(&mut self) -> Option<Statement> {
        self.at += 1;
        let mut module = self.name();
        while self.accept(".") {
            module = format!("{module}.{}", self.name());
        }
        let name = self.accept_name("as").then(|| self.name());
        self.end_line();
        (!module.is_empty()).then_some(Statement::ImportModule { module, name })
    }

    fn import(&mut self) -> Option<Statement> {
        self.at += 1;
        let mut module = String::new();
        while let Some(token) = self.peek() {
            match token {
                Token::Name(name) if name == "import" => break,
                Token::Name(name) => module.push_str(name),
                Token::Sign(sign) => module.push_str(sign),
                _ => return None,
            }
            self.at += 1;
        }
        self.at += 1;
        self.accept("(");
        let mut names = Vec::new();
        if self.accept("*") {
            names.push(("*".to_owned(), "*".to_owned()));
        }
        while let Some(Token::Name(name)) = self.peek().cloned() {
            self.at += 1;
            let alias = if self.accept_name("as") { self.name() } else { name.clone() };
            names.push((name, alias));
            self.accept(",");
        }
        self.end_line();
        Some(Statement::Import { module, names })
    }

    fn assignment(&mut self) -> Statement {
        let target = self.expression();
        let annotation = self.accept(":").then(|| self.expression());
        if matches!(self.peek(), Some(Token::Sign(sign)) if sign.ends_with('=') && *sign != "=") {
            return Statement::Change { target };
        }
        let value = self.accept("=").then(|| self.expression());
        match (&annotation, &value) {
            (None, None) => Statement::Expression(target),
            _ => Statement::Assign { target, annotation, value },
        }
    }
}
