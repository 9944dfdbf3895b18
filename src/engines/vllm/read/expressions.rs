//! Tokens → expressions.

use super::syntax::Parser;
use super::tokens::Token;
use super::tree::{Argument, Expression};

/// What ends an expression wherever it stands.
const ENDS: [&str; 6] = [",", ")", "]", "}", ":", "="];

impl Parser {
    /// An expression up to what ends it; with an operator that says nothing here, it is `Other`.
    pub(super) fn expression(&mut self) -> Expression {
        let mut whole = self.either();
        let sign =
            if self.accept("==") { Some("==") } else { self.accept_name("in").then_some("in") };
        if let Some(sign) = sign {
            whole = Expression::Compare(Box::new(whole), sign, Box::new(self.either()));
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

    fn either(&mut self) -> Expression {
        let mut whole = self.operand();
        while self.accept("|") {
            whole = Expression::Either(Box::new(whole), Box::new(self.operand()));
        }
        whole
    }

    fn operand(&mut self) -> Expression {
        let mut whole = match self.peek().cloned() {
            Some(Token::Name(word)) if word == "lambda" => {
                self.skip_to(|token| *token == Token::Sign(":"));
                self.accept(":");
                return Expression::Lambda(Box::new(self.expression()));
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

    pub(super) fn arguments(&mut self) -> Vec<Argument> {
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
