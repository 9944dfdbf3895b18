//! What can be wrong with a project's files.

mod package;
mod told;

use std::fmt;

use miette::{Diagnostic, LabeledSpan, Severity, SourceCode};
use thiserror::Error;

use super::source::Place;
pub use package::PackageProblem;

/// One mistake, without its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Problem {
    /// A file isn't TOML; in the parser's words.
    #[error("not valid TOML: {message}")]
    Syntax {
        /// The parser's words.
        message: String,
    },
    /// A key that nothing reads.
    #[error("unknown field `{field}`")]
    UnknownField {
        /// The whole path of the key.
        field: String,
        /// The known field that looks most like it.
        nearest: Option<String>,
        /// All fields that may stand there.
        known: Vec<String>,
    },
    /// A value of another type than the field has.
    #[error("`{field}` should be {expected}, but is {found}")]
    WrongType {
        /// The field.
        field: String,
        /// The type it has, in words.
        expected: &'static str,
        /// The type of the value, in words.
        found: &'static str,
    },
    /// A value of the right type that the field can't take.
    #[error("`{field}` can't be {found}")]
    BadValue {
        /// The field.
        field: String,
        /// The value, as TOML.
        found: String,
        /// What it can be, in words.
        expected: String,
    },
    /// A field that has no default and isn't there.
    #[error("`{field}` is missing")]
    MissingField {
        /// The field.
        field: String,
        /// What to write.
        example: String,
    },
    /// The name of something that doesn't exist.
    #[error("there is no {kind} `{name}`")]
    DanglingName {
        /// What it should be the name of.
        kind: &'static str,
        /// The name.
        name: String,
        /// The existing name that looks most like it.
        nearest: Option<String>,
        /// How to make one.
        make: String,
    },
    /// A file or key that can't be a name.
    #[error("`{name}` can't be the name of {kind}")]
    BadName {
        /// What it should be the name of, with its article.
        kind: &'static str,
        /// The text.
        name: String,
        /// What such a name looks like.
        expected: &'static str,
    },
    /// Two files of one name.
    #[error("there are two files for the {kind} `{name}`")]
    DuplicateName {
        /// What both describe.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Two models with one gateway alias: the gateway would balance between them.
    #[error("two models have the gateway alias `{alias}`")]
    DuplicateAlias {
        /// The alias.
        alias: String,
    },
    /// An adapter with the gateway alias of a model or of another adapter.
    #[error("the adapter `{adapter}` has a gateway alias that is taken: `{alias}`")]
    DuplicateAdapter {
        /// The adapter.
        adapter: String,
        /// The alias.
        alias: String,
    },
    /// A model that other machines could reach, and anybody on them ask.
    #[error("`serve.host` is {host}, and nothing asks who it is that reaches it there")]
    OpenHost {
        /// The address.
        host: String,
    },
    /// Two local models with one port.
    #[error("two local models have the port {port}")]
    DuplicatePort {
        /// The port.
        port: u16,
    },
    /// Two models whose URLs would be one.
    #[error("two models on {title} would have the address `{label}`")]
    DuplicateAddress {
        /// What people call their target.
        title: &'static str,
        /// The label that both would have.
        label: String,
        /// How the target makes addresses of names.
        how: &'static str,
    },
    /// Two volumes at one path.
    #[error("the volumes `{first}` and `{second}` are both mounted at `{mount}`")]
    DuplicateMount {
        /// The path.
        mount: String,
        /// The volume that has it.
        first: String,
        /// The volume that can't have it; possibly a built-in one.
        second: String,
    },
    /// A flag that the engine doesn't take so; reported by the engine's own check.
    #[error("{message}")]
    Flag {
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// A variable that goatbuild sets itself.
    #[error("goatbuild sets the variable {name} itself")]
    OwnVariable {
        /// The variable.
        name: String,
        /// What it sets, and what to do.
        help: String,
    },
    /// A file that isn't text.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// The weights that a model is made of aren't there; found out by looking, not by reading.
    #[error("the directory `{path}` {what}")]
    NoWeights {
        /// As written, relative to the project.
        path: String,
        /// `does not exist` or `has no files`.
        what: &'static str,
    },
    /// Weights that are not there but as what Git keeps in their place.
    #[error("`{path}` is a pointer of Git LFS, and not the file that it stands for{}", also(*others))]
    Pointers {
        /// The first of them, relative to the project.
        path: String,
        /// How many more there are beside it.
        others: usize,
        /// Their directory.
        directory: String,
    },
    /// An own package that can't be built as it is.
    #[error(transparent)]
    Package(PackageProblem),
    /// Where the first of two equal things is written; only ever a companion.
    #[error("the first one is here")]
    First,
}

fn also(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => ", like another one beside it".to_owned(),
        others => format!(", like {others} others beside it"),
    }
}

/// One mistake and where it is.
#[derive(Debug, Clone)]
pub struct SpecError {
    /// What is wrong.
    pub problem: Problem,
    /// Where.
    pub place: Place,
    /// The other place, where two don't go together.
    first: Option<Box<SpecError>>,
}

impl SpecError {
    /// The mistake `problem` at `place`.
    pub fn new(problem: Problem, place: Place) -> Self {
        Self { problem, place, first: None }
    }

    /// Adds where the first of two equal things is written.
    #[must_use]
    pub fn with_first(mut self, place: Place) -> Self {
        self.first = Some(Box::new(Self::new(Problem::First, place)));
        self
    }

    /// Where it is, and where the other place is of two that don't go together.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.place).chain(self.first.iter().map(|first| &first.place))
    }

    /// What errors are ordered by: place, then mistake.
    fn order(&self) -> (&std::path::Path, usize, usize, &Problem) {
        let span = self.place.span();
        (&self.place.file().path, span.start, span.end, &self.problem)
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(formatter)
    }
}

impl std::error::Error for SpecError {}

impl Diagnostic for SpecError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        if self.problem == Problem::First {
            return None;
        }
        Some(Box::new(format!("goatbuild::spec::{}", self.problem.code())))
    }

    fn severity(&self) -> Option<Severity> {
        Some(if self.problem == Problem::First { Severity::Advice } else { Severity::Error })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&**self.place.file())
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some(self.problem.label()), self.place.span());
        Some(Box::new(std::iter::once(label)))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let first: &dyn Diagnostic = self.first.as_deref()?;
        Some(Box::new(std::iter::once(first)))
    }
}

/// Every mistake in a project's files: at least one, by file and place, each once.
#[derive(Debug, Clone)]
pub struct SpecErrors {
    errors: Vec<SpecError>,
}

impl SpecErrors {
    /// Takes `errors` if there are any.
    pub fn collect(mut errors: Vec<SpecError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by(|one, other| one.order().cmp(&other.order()));
        errors.dedup_by(|one, other| one.order() == other.order());
        Err(Self { errors })
    }

    /// The mistakes.
    pub fn errors(&self) -> &[SpecError] {
        &self.errors
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => write!(formatter, "the project has a mistake"),
            count => write!(formatter, "the project has {count} mistakes"),
        }
    }
}

impl std::error::Error for SpecErrors {}

impl Diagnostic for SpecErrors {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new("goatbuild::spec"))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|error| error as &dyn Diagnostic)))
    }
}

/// The candidate that looks most like `name`, if one looks like it at all.
pub fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> Option<&'a str> {
    /// Jaro-Winkler; below it, suggestions look random.
    const LEAST: f64 = 0.85;
    /// What two letters in each other's place count for, which by themselves leave little of names
    /// as short as `oci`.
    const SWAP: f64 = 0.86;
    let mut best: Option<(f64, &'a str)> = None;
    for candidate in candidates {
        let candidate = candidate.as_ref();
        let (typed, there) = (name.to_lowercase(), candidate.to_lowercase());
        let mut similarity = strsim::jaro_winkler(&typed, &there);
        let edits = (strsim::osa_distance(&typed, &there), strsim::levenshtein(&typed, &there));
        if edits == (1, 2) && typed.len() > 2 {
            similarity = similarity.max(SWAP);
        }
        if similarity > LEAST && best.is_none_or(|(highest, _)| similarity > highest) {
            best = Some((similarity, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}
