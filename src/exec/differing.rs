//! Why an outcome is refused that contradicts what is known.

use miette::Diagnostic;
use thiserror::Error;

use crate::step::StepId;

/// What a build made twice and differently.
#[derive(Debug, Error, Diagnostic)]
#[error("{step} was built again and differs: {fact} was {known} and is {built}")]
#[diagnostic(
    code(goatbuild::build::not_reproducible),
    help(
        "the same inputs must give the same bytes: this is a bug in goatbuild, or a damaged cache. What was known before was kept"
    )
)]
pub struct NotReproducible {
    /// The step.
    pub step: StepId,
    /// The first fact that differs.
    pub fact: String,
    /// Its value in the cache or in the lock.
    pub known: String,
    /// Its value now.
    pub built: String,
}

/// What others' programs made twice and differently.
#[derive(Debug, Error, Diagnostic)]
#[error("{step} was built again and differs: {fact} was {known} and is {built}")]
#[diagnostic(
    code(goatbuild::build::differs),
    help(
        "its build is not reproducible: mend that, or take what this machine makes of it with `goatbuild apply --replace {step}`. What was known before was kept"
    )
)]
pub struct BuiltOtherwise {
    /// The step.
    pub step: StepId,
    /// The first fact that differs.
    pub fact: String,
    /// Its value in the cache or in the lock.
    pub known: String,
    /// Its value now.
    pub built: String,
}
