//! What reading carries along: layers, places, and what it collects.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;

use super::effective::{Effective, Origin};
use super::problem::{Problem, SpecError};
use super::source::{Place, SourceFile};

/// Where a layer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// An override of the chosen environment.
    Environment,
    /// The file itself.
    Own,
    /// `[defaults]`.
    Defaults,
}

impl Origin {
    pub(super) fn of(rank: Rank, place: &Place) -> Self {
        match rank {
            Rank::Own => Self::Spec(place.clone()),
            Rank::Defaults => Self::Defaults(place.clone()),
            Rank::Environment => Self::Environment(place.clone()),
        }
    }
}

/// One of several tables that are read as if they were one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) table: &'a DeTable<'a>,
    pub(super) file: &'a Arc<SourceFile>,
    pub(super) rank: Rank,
}

/// A place that costs nothing until it is needed.
#[derive(Debug, Clone)]
pub(super) struct Spot<'a> {
    pub(super) file: &'a Arc<SourceFile>,
    pub(super) span: Range<usize>,
}

impl Spot<'_> {
    pub(super) fn place(&self) -> Place {
        Place::new(Arc::clone(self.file), self.span.clone())
    }
}

/// A string and where it is written.
#[derive(Debug, Clone)]
pub(super) struct Text<'a> {
    pub(super) value: &'a str,
    pub(super) spot: Spot<'a>,
}

/// What one reading collects beside its result.
#[derive(Debug, Default)]
pub(super) struct Context {
    errors: RefCell<Vec<SpecError>>,
    /// Defaults that the spec takes back, as whole paths.
    unset: RefCell<BTreeSet<String>>,
    /// Every value read, when somebody wants to see them.
    trace: Option<RefCell<Vec<Effective>>>,
}

impl Context {
    pub(super) fn traced() -> Self {
        Self { trace: Some(RefCell::default()), ..Self::default() }
    }

    pub(super) fn report(&self, problem: Problem, spot: &Spot<'_>) {
        self.errors.borrow_mut().push(SpecError::new(problem, spot.place()));
    }

    /// Takes back that a field is missing.
    pub(super) fn forget_missing(&self, path: &str) {
        let is_it = |error: &SpecError| matches!(&error.problem, Problem::MissingField { field, .. } if field == path);
        self.errors.borrow_mut().retain(|error| !is_it(error));
    }

    pub(super) fn push(&self, error: SpecError) {
        self.errors.borrow_mut().push(error);
    }

    pub(super) fn unset(&self, path: &str) {
        self.unset.borrow_mut().insert(path.to_owned());
    }

    /// Says whether the default at a path is taken back; asks for the path only when some are.
    pub(super) fn is_unset(&self, path: impl FnOnce() -> String) -> bool {
        let unset = self.unset.borrow();
        !unset.is_empty() && unset.contains(&path())
    }

    /// Where values that are read are noted, if somebody wants to see them.
    pub(super) fn trace(&self) -> Option<&RefCell<Vec<Effective>>> {
        self.trace.as_ref()
    }

    pub(super) fn finish(self) -> (Vec<SpecError>, Vec<Effective>) {
        (self.errors.into_inner(), self.trace.map(RefCell::into_inner).unwrap_or_default())
    }
}
