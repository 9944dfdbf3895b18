//! A maintainer script as commands and words.

/// A list of commands, one after the other.
pub(super) type Block = Vec<Command>;

/// A command, and the line on which it begins.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Assignments before words; `[ … ]` is a command by that name.
    Simple {
        assigned: Vec<(String, Word)>,
        words: Vec<Word>,
    },
    Pipeline(Block),
    /// Left, whether the right is run on success, right.
    AndOr(Box<Command>, bool, Box<Command>),
    Not(Box<Command>),
    /// Conditions with what is run under them, and what is run otherwise.
    If(Vec<(Block, Block)>, Block),
    For(String, Option<Vec<Word>>, Block),
    /// Whether it is run while the condition fails.
    While(bool, Block, Block),
    Case(Word, Vec<(Vec<Word>, Block)>),
    Group(Block),
    Subshell(Block),
    Function(String, Box<Command>),
    Redirected(Box<Command>, Vec<Redirect>),
}

#[derive(Debug, Clone)]
pub(super) struct Redirect {
    pub(super) kind: RedirectKind,
    /// The descriptor; none where it is the usual one.
    pub(super) descriptor: Option<u32>,
    pub(super) word: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RedirectKind {
    Read,
    Write,
    Append,
    Duplicate,
    /// A document that stands in the script.
    Here,
}

/// What becomes one or more arguments.
pub(super) type Word = Vec<Part>;

#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Whether it stands in quotes, and is neither split nor a pattern.
    pub(super) quoted: bool,
    pub(super) kind: PartKind,
}

#[derive(Debug, Clone)]
pub(super) enum PartKind {
    Text(String),
    /// A variable, and what is done with its value: `:-`, `%`, `#`, … and a word.
    Variable(String, Option<(String, Word)>),
    Length(String),
    Command(Block),
    /// An arithmetic expression, as it stands there.
    Arithmetic,
}

/// A word that is this text.
pub(super) fn text(text: &str) -> Word {
    vec![Part { quoted: true, kind: PartKind::Text(text.to_owned()) }]
}
