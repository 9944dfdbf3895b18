//! What words become: expansions, fields, patterns.

use super::Refused;
use super::pattern::{quote, trimmed};
use super::run::Shell;
use super::simple::IFS;
use super::syntax::{Block, Part, PartKind, Word};
use super::value::{Doubt, Status, Value};

impl Shell<'_> {
    /// The value of a word that isn't split.
    pub(super) fn text(&mut self, word: &Word) -> Result<Value, Refused> {
        let mut value = Value::is("");
        for part in word {
            value.push(&self.part(part)?);
        }
        Ok(value)
    }

    /// A word as a pattern; the inner error is why it isn't known.
    pub(super) fn pattern(&mut self, word: &Word) -> Result<Result<String, Doubt>, Refused> {
        let mut pattern = String::new();
        for part in word {
            match self.part(part)? {
                Value::Is(text) if part.quoted => pattern.push_str(&quote(&text)),
                Value::Is(text) if text.contains("[:") => return Ok(Err(Doubt::Never(text))),
                Value::Is(text) => pattern.push_str(&text),
                Value::Later => return Ok(Err(Doubt::Later)),
                Value::Never(why) => return Ok(Err(Doubt::Never(why))),
            }
        }
        Ok(Ok(pattern))
    }

    pub(super) fn all_fields(&mut self, words: &[Word]) -> Result<Vec<Value>, Refused> {
        let mut all = Vec::new();
        for word in words {
            all.extend(self.fields(word)?);
        }
        Ok(all)
    }

    /// The arguments that a word becomes.
    fn fields(&mut self, word: &Word) -> Result<Vec<Value>, Refused> {
        let mut fields = Fields::default();
        if let Some(text) = braces(word) {
            return Err(self.refused(text));
        }
        for part in word {
            if matches!(&part.kind, PartKind::Variable(name, None) if name == "@") {
                for (at, argument) in self.state.arguments.clone().into_iter().enumerate() {
                    if at > 0 {
                        fields.close();
                    }
                    self.field(&mut fields, part, argument);
                }
                continue;
            }
            let value = self.part(part)?;
            self.field(&mut fields, part, value);
        }
        fields.close();
        let Fields { closed, pattern, is_pattern, .. } = fields;
        if is_pattern && closed.contains(&Value::Later) {
            return Ok(vec![Value::Later]);
        }
        if is_pattern && closed.len() > 1 {
            return Ok(vec![Value::Never(pattern)]);
        }
        if is_pattern && closed.len() == 1 && closed[0].known().is_some() {
            return Ok(match self.world.finds(&pattern) {
                Ok(paths) if paths.is_empty() => closed,
                Ok(paths) => paths.into_iter().map(Value::Is).collect(),
                Err(doubt) => vec![doubt.value()],
            });
        }
        Ok(closed)
    }

    /// Adds what a part of a word stands for.
    fn field(&self, fields: &mut Fields, part: &Part, value: Value) {
        match value {
            Value::Is(text) if part.quoted => {
                fields.pattern.push_str(&quote(&text));
                fields.add(&Value::Is(text));
            }
            Value::Is(text) => {
                fields.is_pattern |= text.contains(['*', '?'])
                    || text.find('[').is_some_and(|at| text[at..].contains(']'));
                fields.pattern.push_str(&text);
                if matches!(part.kind, PartKind::Text(_)) {
                    fields.add(&Value::Is(text));
                } else if let Some(marks) = self.state.variables.get(IFS) {
                    let is_later = *marks == Value::Later;
                    let split = Value::Never(format!("IFS: {text}"));
                    fields.add(if is_later { &Value::Later } else { &split });
                } else {
                    fields.split(&text);
                }
            }
            unknown => fields.add(&unknown),
        }
    }

    fn part(&mut self, part: &Part) -> Result<Value, Refused> {
        Ok(match &part.kind {
            PartKind::Text(text) => Value::is(text),
            PartKind::Arithmetic => Value::Never("$((…))".to_owned()),
            PartKind::Length(name) => match self.variable(name) {
                // dash counts bytes, bash letters.
                Some(Value::Is(text)) if !text.is_ascii() => Value::Never(format!("${{#{name}}}")),
                Some(Value::Is(text)) => Value::Is(text.len().to_string()),
                Some(unknown) => unknown,
                None => Value::is("0"),
            },
            PartKind::Variable(name, None) => self.variable(name).unwrap_or_else(|| Value::is("")),
            PartKind::Variable(name, Some((operator, word))) => {
                return self.changed(name, operator, word);
            }
            PartKind::Command(block) => return self.substituted(block),
        })
    }

    /// `${name:-word}` and its like.
    fn changed(&mut self, name: &str, operator: &str, word: &Word) -> Result<Value, Refused> {
        let value = self.variable(name);
        let trims = operator.starts_with(['#', '%']);
        let unset = match &value {
            None => true,
            Some(Value::Is(text)) => text.is_empty() && operator.starts_with(':'),
            Some(unknown) if !trims => return Ok(unknown.clone()),
            Some(_) => false,
        };
        let value = value.unwrap_or_else(|| Value::is(""));
        match (operator.trim_start_matches(':'), unset) {
            ("-", true) | ("+", false) => self.text(word),
            ("=", true) => {
                let text = self.text(word)?;
                self.state.variables.insert(name.to_owned(), text.clone());
                Ok(text)
            }
            ("+", true) => Ok(Value::is("")),
            ("?", true) => Err(self.refused(format!("{name} is not set"))),
            ("-" | "=" | "?", _) => Ok(value),
            (operator, _) => match (value, self.pattern(word)?) {
                (Value::Is(text), Ok(pattern)) => Ok(Value::is(trimmed(&text, operator, &pattern))),
                (Value::Is(_), Err(doubt)) => Ok(doubt.value()),
                (unknown, _) => Ok(unknown),
            },
        }
    }

    /// What a command prints, run in a shell of its own.
    fn substituted(&mut self, block: &Block) -> Result<Value, Refused> {
        let outer = std::mem::replace(&mut self.output, Value::is(""));
        let status = self.within(|shell| shell.block(block));
        let output = std::mem::replace(&mut self.output, outer);
        let status = status?;
        // Shells differ on what `$?` is for what stands behind it.
        if self.state.last != status {
            let doubts = [&status, &self.state.last].map(|it| match it {
                Status::Unknown(doubt) => Some(doubt.clone()),
                Status::Is(_) => None,
            });
            let doubt = Doubt::Never("$?".to_owned());
            let doubt = doubts.into_iter().fold(doubt, Doubt::or);
            self.state.last = Status::Unknown(doubt);
        }
        self.substituted = status;
        Ok(match output {
            Value::Is(text) => Value::is(text.trim_end_matches('\n')),
            unknown => unknown,
        })
    }

    fn variable(&self, name: &str) -> Option<Value> {
        let arguments = &self.state.arguments;
        match name {
            "@" | "*" => Some(Value::joined(arguments)),
            "#" => Some(match arguments.iter().find_map(Value::doubt) {
                Some(doubt) => doubt.value(),
                None => Value::Is(arguments.len().to_string()),
            }),
            "?" => Some(match &self.state.last {
                Status::Is(code) => Value::Is(code.to_string()),
                Status::Unknown(doubt) => doubt.value(),
            }),
            "$" | "!" | "-" => Some(Value::Never(format!("${name}"))),
            _ => match name.parse::<usize>() {
                // An argument that isn't known may have been several.
                Ok(number) if number > 0 => {
                    let before = arguments.iter().take(number);
                    let doubt = before.clone().find_map(Value::doubt);
                    doubt.map(|it| it.value()).or_else(|| arguments.get(number - 1).cloned())
                }
                _ => self.state.variables.get(name).cloned(),
            },
        }
    }
}

/// Arguments while a word becomes them.
#[derive(Default)]
struct Fields {
    closed: Vec<Value>,
    open: Option<Value>,
    /// The whole word as a pattern, and whether it has anything of one.
    pattern: String,
    is_pattern: bool,
}

impl Fields {
    fn add(&mut self, value: &Value) {
        self.open.get_or_insert_with(|| Value::is("")).push(value);
    }

    fn close(&mut self) {
        self.closed.extend(self.open.take());
    }

    /// Adds a value that isn't quoted, and is split at blanks.
    fn split(&mut self, text: &str) {
        if text.starts_with(|letter: char| letter.is_ascii_whitespace()) {
            self.close();
        }
        for (at, word) in text.split_ascii_whitespace().enumerate() {
            if at > 0 {
                self.close();
            }
            self.add(&Value::is(word));
        }
        if text.ends_with(|letter: char| letter.is_ascii_whitespace()) {
            self.close();
        }
    }
}

/// The plain text of a word of which bash makes several: `{a,b}`.
fn braces(word: &Word) -> Option<String> {
    let plain = word.iter().filter(|part| !part.quoted).filter_map(|part| match &part.kind {
        PartKind::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let text: String = plain.collect();
    let (_, rest) = text.split_once('{')?;
    let (_, rest) = rest.split_once(',')?;
    rest.contains('}').then_some(text)
}
