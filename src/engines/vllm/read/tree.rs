//! Statements and expressions, as far as definitions are made of them.

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
    /// `a == b` or `a in b`, by its sign.
    Compare(Box<Expression>, &'static str, Box<Expression>),
    /// What a `lambda` returns.
    Lambda(Box<Expression>),
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
    Function(Function),
    Return(Expression),
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
    /// `from module import name as other`.
    Import {
        module: String,
        names: Vec<(String, String)>,
    },
    /// `import module as name`; without `as`, the name is the first part.
    ImportModule {
        module: String,
        name: Option<String>,
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
pub(super) struct Function {
    pub(super) name: String,
    pub(super) decorators: Vec<Expression>,
    pub(super) parameters: Vec<String>,
    pub(super) body: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) bases: Vec<Expression>,
    pub(super) decorators: Vec<Expression>,
    pub(super) body: Vec<Statement>,
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

impl Function {
    /// Whether it is called on nothing, on its class, or on an object.
    pub(super) fn is_static(&self) -> bool {
        self.decorators.iter().any(|decorator| decorator.last_name() == Some("staticmethod"))
    }
}
