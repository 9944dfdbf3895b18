//! What expressions of a script come to, as far as that can be told without running it.

/// Stands in a text for what only a run would tell.
pub(super) const GAP: char = '\u{fffc}';

/// The most that a value may weigh, in bytes of text: no setting that anybody writes is larger, and a script
/// of ten lines can double one for as long as it likes.
pub(super) const HEAVIEST: usize = 1 << 20;

/// What a value weighs beside its text.
const ITSELF: usize = 64;

/// A value, and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// What it is.
    pub what: What,
    /// The line it is written in, counted from 1.
    pub line: usize,
    /// The environment variable of whoever runs the script that it was read from.
    pub variable: Option<String>,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// `None`.
    None,
    /// `True` or `False`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text; what isn't known of it is one [`GAP`] each.
    Text(String),
    /// A list, a tuple or a set.
    List(Vec<Value>),
    /// Texts with a space between each, as a shell splits them.
    Joined(Vec<Value>),
    /// Pairs in the order they are written in.
    Dict(Vec<(Value, Value)>),
    /// A name of somebody else, with all that leads to it: `modal.Image.debian_slim`.
    Path(String),
    /// An attribute of what a call gives.
    Attribute(Box<Value>, String),
    /// A call of what isn't defined in the script.
    Call(Box<Call>),
    /// A function of the script, by its number.
    Function(usize),
    /// A class of the script, by its number.
    Class(usize),
    /// What a class of the script gives: its number, and its fields.
    Object(usize, Vec<(String, Value)>),
    /// A file beside the script, by its number.
    Module(usize),
    /// What only a run would tell.
    Unknown,
}

/// A call, with what it is called with.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called.
    pub callee: Value,
    /// What it is called with by order.
    pub positional: Vec<Value>,
    /// What it is called with by name.
    pub named: Vec<(String, Value)>,
    /// The line it is written in, counted from 1.
    pub line: usize,
}

impl Value {
    pub(super) fn new(what: What, line: usize) -> Self {
        Self { what, line, variable: None }
    }

    pub(super) fn unknown(line: usize) -> Self {
        Self::new(What::Unknown, line)
    }

    /// A text of which everything is known.
    pub fn text(&self) -> Option<&str> {
        match &self.what {
            What::Text(text) if !text.contains(GAP) => Some(text),
            _ => None,
        }
    }

    /// A number, in seconds say.
    pub fn number(&self) -> Option<f64> {
        match self.what {
            #[expect(clippy::cast_precision_loss, reason = "no setting is that large")]
            What::Integer(number) => Some(number as f64),
            What::Float(number) => Some(number),
            _ => None,
        }
    }

    /// A whole number.
    pub fn integer(&self) -> Option<i64> {
        match self.what {
            What::Integer(number) => Some(number),
            #[expect(clippy::cast_possible_truncation, reason = "it has no fraction")]
            What::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                Some(number as i64)
            }
            _ => None,
        }
    }

    /// `True` or `False`.
    pub fn boolean(&self) -> Option<bool> {
        match self.what {
            What::Boolean(truth) => Some(truth),
            _ => None,
        }
    }

    /// A text, or a number as it is written.
    pub fn text_or_number(&self) -> Option<String> {
        match &self.what {
            What::Integer(_) | What::Float(_) | What::Text(_) => {
                Some(self.written()).filter(|text| !text.contains(GAP))
            }
            _ => None,
        }
    }

    /// The items of a list.
    pub fn items(&self) -> Option<&[Value]> {
        match &self.what {
            What::List(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a dictionary.
    pub fn pairs(&self) -> &[(Value, Value)] {
        match &self.what {
            What::Dict(pairs) => pairs,
            _ => &[],
        }
    }

    /// What a dictionary has under a key.
    pub fn field(&self, key: &str) -> Option<&Value> {
        self.pairs().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// The call that it is.
    pub fn call(&self) -> Option<&Call> {
        match &self.what {
            What::Call(call) => Some(call),
            _ => None,
        }
    }

    /// The whole name of something that somebody else defined.
    pub fn path(&self) -> Option<&str> {
        match &self.what {
            What::Path(path) => Some(path),
            _ => None,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.what == What::None
    }

    /// Whether Python would take it for true; nothing where only a run would tell.
    pub(super) fn truth(&self) -> Option<bool> {
        match &self.what {
            What::None => Some(false),
            What::Boolean(truth) => Some(*truth),
            What::Integer(number) => Some(*number != 0),
            What::Float(number) => Some(*number != 0.0),
            What::Text(text) if text.chars().all(|it| it == GAP) && !text.is_empty() => None,
            What::Text(text) => Some(!text.is_empty()),
            What::List(items) | What::Joined(items) => Some(!items.is_empty()),
            What::Dict(pairs) => Some(!pairs.is_empty()),
            What::Object(..) | What::Function(_) | What::Class(_) | What::Module(_) => Some(true),
            What::Path(_) | What::Attribute(..) | What::Call(_) | What::Unknown => None,
        }
    }

    /// How much it is, in bytes of text, as far as that is less than [`HEAVIEST`].
    pub(super) fn weight(&self) -> usize {
        let mut weight = 0;
        let mut open = vec![self];
        while let Some(value) = open.pop() {
            weight += ITSELF;
            match &value.what {
                What::Text(text) | What::Path(text) => weight += text.len(),
                What::List(items) | What::Joined(items) => open.extend(items),
                What::Dict(pairs) => open.extend(pairs.iter().flat_map(|(key, it)| [key, it])),
                What::Attribute(of, name) => {
                    weight += name.len();
                    open.push(of);
                }
                What::Call(call) => {
                    open.push(&call.callee);
                    open.extend(&call.positional);
                    open.extend(call.named.iter().map(|(_, it)| it));
                }
                What::Object(_, fields) => open.extend(fields.iter().map(|(_, it)| it)),
                _ => {}
            }
            if weight + open.len() * ITSELF >= HEAVIEST {
                return HEAVIEST;
            }
        }
        weight
    }

    /// As `str()` writes it, with gaps where that isn't known.
    pub(super) fn written(&self) -> String {
        match &self.what {
            What::None => "None".to_owned(),
            What::Boolean(true) => "True".to_owned(),
            What::Boolean(false) => "False".to_owned(),
            What::Integer(number) => number.to_string(),
            What::Float(number) if number.fract() == 0.0 => format!("{number:.1}"),
            What::Float(number) => number.to_string(),
            What::Text(text) => text.clone(),
            What::List(items) => {
                let inner = |item: &Value| match &item.what {
                    What::Text(text) if !text.contains(GAP) => format!("'{text}'"),
                    _ => item.written(),
                };
                format!("[{}]", items.iter().map(inner).collect::<Vec<_>>().join(", "))
            }
            What::Joined(items) => items.iter().map(Value::written).collect::<Vec<_>>().join(" "),
            _ => GAP.to_string(),
        }
    }
}

impl Call {
    /// What it is called with: by name, or else at this place.
    pub fn argument(&self, name: &str, place: usize) -> Option<&Value> {
        self.named(name).or_else(|| self.positional.get(place))
    }

    /// What it is called with by this name.
    pub fn named(&self, name: &str) -> Option<&Value> {
        self.named.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The whole name of what is called, if it is somebody else's.
    pub fn path(&self) -> Option<&str> {
        self.callee.path()
    }

    /// The last part of the name of what is called.
    pub fn name(&self) -> Option<&str> {
        match &self.callee.what {
            What::Path(path) => path.rsplit('.').next(),
            What::Attribute(_, name) => Some(name),
            _ => None,
        }
    }

    /// What a method is called on.
    pub fn receiver(&self) -> Option<&Value> {
        match &self.callee.what {
            What::Attribute(receiver, _) => Some(receiver),
            _ => None,
        }
    }
}
