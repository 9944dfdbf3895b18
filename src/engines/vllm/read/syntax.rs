//! Tokens → statements and expressions. Total: what isn't understood is [`Expression::Other`] or
//! left out, and reading goes on behind it.

use super::tokens::{Token, tokens};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Name(String),
    Text(String),
    Number(String),
    /// `a.b`
    Attribute(Box<Expression>, String),
    Call(Box<Expression>, Vec<Argument>),
    /// `a[b, c]`
    Index(Box<Expression>, Vec<Expression>),
    /// `a | b`
    Either(Box<Expression>, Box<Expression>),
    /// A list, tuple or set.
    List(Vec<Expression>),
    /// Pairs; `**other` has no key.
    Dict(Vec<(Option<Expression>, Expression)>),
    /// `*a` in a list.
    Spread(Box<Expression>),
    /// `[element for … in over]`
    Comprehension(Box<Expression>, Box<Expression>),
    /// Anything else.
    Other,
}

/// One argument of a call: `value`, `name=value` or `**value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) name: Option<String>,
    pub(super) spread: bool,
    pub(super) value: Expression,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    Class(Class),
    Function {
        name: String,
        body: Vec<Statement>,
    },
    /// `target: annotation = value`, each but the target perhaps missing.
    Assign {
        target: Expression,
        annotation: Option<Expression>,
        value: Option<Expression>,
    },
    /// `target += value` and the like.
    Change {
        target: Expression,
    },
    Delete(Expression),
    Import {
        module: String,
        names: Vec<(String, String)>,
    },
    /// `if`, `for`, `else` and so on; of a `for` the head is what it goes over.
    Block {
        keyword: String,
        head: Expression,
        body: Vec<Statement>,
    },
    Expression(Expression),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) bases: Vec<Expression>,
    pub(super) decorators: Vec<Expression>,
    pub(super) body: Vec<Statement>,
}

/// All statements of a file.
pub(super) fn statements(text: &str) -> Vec<Statement> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    parser.block()
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

/// What ends an expression wherever it stands.
const ENDS: [&str; 6] = [",", ")", "]", "}", ":", "="];
const BLOCKS: [&str; 9] =
    ["if", "elif", "else", "for", "while", "with", "try", "except", "finally"];

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(found)) if found == name)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn accept_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    fn name(&mut self) -> String {
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
    fn skip_to(&mut self, end: impl Fn(&Token) -> bool) {
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
                self.skip_to(|token| *token == Token::Sign(":"));
                Some(Statement::Function { name, body: self.body() })
            }
            "from" => self.import(),
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
            "return" | "raise" | "assert" | "import" | "pass" | "global" | "nonlocal" | "yield"
            | "await" | "break" | "continue" => {
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

    /// An expression up to what ends it; with an operator that says nothing here, it is `Other`.
    fn expression(&mut self) -> Expression {
        let mut whole = self.operand();
        while self.accept("|") {
            whole = Expression::Either(Box::new(whole), Box::new(self.operand()));
        }
        match self.peek() {
            None | Some(Token::Line | Token::Indent | Token::Dedent) => whole,
            Some(Token::Sign(sign)) if ENDS.contains(sign) || sign.ends_with('=') => whole,
            Some(Token::Name(name)) if name == "for" => whole,
            Some(_) => {
                self.skip_to(|token| matches!(token, Token::Sign(sign) if ENDS.contains(sign)));
                Expression::Other
            }
        }
    }

    fn operand(&mut self) -> Expression {
        let mut whole = match self.peek().cloned() {
            Some(Token::Name(word)) if word == "lambda" => {
                self.skip_to(|token| *token == Token::Sign(":"));
                self.accept(":");
                self.expression();
                return Expression::Other;
            }
            Some(Token::Name(word)) if ["not", "await", "yield"].contains(&word.as_str()) => {
                self.at += 1;
                self.operand();
                return Expression::Other;
            }
            Some(Token::Name(name)) => {
                self.at += 1;
                Expression::Name(name)
            }
            Some(Token::Text(mut text)) => {
                self.at += 1;
                while let Some(Token::Text(more)) = self.peek() {
                    text.push_str(more);
                    self.at += 1;
                }
                if matches!(self.peek(), Some(Token::Template)) {
                    return Expression::Other;
                }
                Expression::Text(text)
            }
            Some(Token::Number(number)) => {
                self.at += 1;
                Expression::Number(number)
            }
            Some(Token::Sign("*")) => {
                self.at += 1;
                return Expression::Spread(Box::new(self.operand()));
            }
            Some(Token::Sign("(")) => {
                self.at += 1;
                let (items, tuple) = self.items(")");
                match <[Expression; 1]>::try_from(items) {
                    Ok([only]) if !tuple => only,
                    Ok([only]) => Expression::List(vec![only]),
                    Err(items) => Expression::List(items),
                }
            }
            Some(Token::Sign("[")) => {
                self.at += 1;
                match self.items("]").0 {
                    items if matches!(items[..], [Expression::Comprehension(..)]) => {
                        items.into_iter().next().unwrap_or(Expression::Other)
                    }
                    items => Expression::List(items),
                }
            }
            Some(Token::Sign("{")) => {
                self.at += 1;
                self.braces()
            }
            Some(Token::Template) => {
                self.at += 1;
                Expression::Other
            }
            _ => return Expression::Other,
        };
        loop {
            if self.accept(".") {
                whole = Expression::Attribute(Box::new(whole), self.name());
            } else if self.accept("(") {
                whole = Expression::Call(Box::new(whole), self.arguments());
            } else if self.accept("[") {
                whole = Expression::Index(Box::new(whole), self.items("]").0);
            } else {
                return whole;
            }
        }
    }

    /// Expressions up to the closing bracket, and whether a comma stood between or behind them.
    fn items(&mut self, close: &str) -> (Vec<Expression>, bool) {
        let (mut items, mut commas) = (Vec::new(), false);
        while !self.accept(close) {
            let before = self.at;
            let mut item = self.expression();
            if self.accept_name("for") {
                item = self.comprehension(item);
            }
            items.push(item);
            self.skip_to(|token| *token == Token::Sign(","));
            commas |= self.accept(",");
            if self.at == before {
                break;
            }
        }
        (items, commas)
    }

    fn comprehension(&mut self, element: Expression) -> Expression {
        self.skip_to(|token| *token == Token::Name("in".to_owned()));
        self.accept_name("in");
        let over = self.expression();
        Expression::Comprehension(Box::new(element), Box::new(over))
    }

    fn braces(&mut self) -> Expression {
        let (mut pairs, mut items) = (Vec::new(), Vec::new());
        while !self.accept("}") {
            let before = self.at;
            if self.accept("**") {
                pairs.push((None, self.expression()));
            } else {
                let key = self.expression();
                if self.accept(":") {
                    pairs.push((Some(key), self.expression()));
                } else {
                    items.push(key);
                }
            }
            self.skip_to(|token| *token == Token::Sign(","));
            self.accept(",");
            if self.at == before {
                break;
            }
        }
        if items.is_empty() { Expression::Dict(pairs) } else { Expression::List(items) }
    }

    fn arguments(&mut self) -> Vec<Argument> {
        let mut arguments = Vec::new();
        while !self.accept(")") {
            let before = self.at;
            let spread = self.accept("**");
            let mut value = self.expression();
            let mut name = None;
            if self.accept("=") {
                if let Expression::Name(word) = value {
                    name = Some(word);
                }
                value = self.expression();
            } else if self.accept_name("for") {
                value = self.comprehension(value);
            }
            arguments.push(Argument { name, spread, value });
            self.skip_to(|token| *token == Token::Sign(","));
            self.accept(",");
            if self.at == before {
                break;
            }
        }
        arguments
    }
}

impl Expression {
    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The last part of a name: `json.loads` → `loads`.
    pub(super) fn last_name(&self) -> Option<&str> {
        match self {
            Self::Name(name) | Self::Attribute(_, name) => Some(name),
            _ => None,
        }
    }
}
