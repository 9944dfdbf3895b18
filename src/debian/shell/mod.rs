//! Maintainer scripts, followed without being run.
//!
//! A script is read as `dash` reads it, and its commands are handed one by one to a [`World`], which does
//! what they stand for to a tree of files, or refuses. Nothing is ever executed. What isn't known before a
//! program ran (see [`Value`]) is carried along: where a branch hangs on it, both ways are followed, and a
//! change that hangs on it is refused.

mod builtins;
mod condition;
mod either;
mod ends;
mod expand;
mod loops;
mod parse;
mod pattern;
#[cfg(test)]
mod random_scripts;
#[cfg(test)]
mod random_tests;
mod run;
mod simple;
mod state;
mod syntax;
#[cfg(test)]
mod tests;
mod value;
mod words;

pub(super) use pattern::matches;
pub(super) use value::{Doubt, Status, Value};

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A command as it is run.
pub(super) struct Call<'c> {
    /// Its first word.
    pub(super) name: &'c str,
    /// The other ones.
    pub(super) arguments: &'c [Value],
    /// What it is given to read, where that isn't nothing.
    pub(super) input: Option<&'c Value>,
    /// Why it isn't known whether it is run at all, where that is so.
    pub(super) doubt: Option<&'c Doubt>,
}

impl Call<'_> {
    /// The command as people read it.
    pub(super) fn shown(&self) -> String {
        let mut shown = self.name.to_owned();
        for argument in self.arguments {
            let _ = write!(shown, " {}", argument.known().unwrap_or("…").replace('\n', " "));
        }
        shown
    }
}

/// What a command gave.
pub(super) struct Answer {
    /// How it ended.
    pub(super) status: Status,
    /// What it printed.
    pub(super) output: Value,
    /// Variables that it sets: debconf's `RET`.
    pub(super) sets: Option<(&'static str, Value)>,
}

impl Answer {
    /// A command that printed nothing.
    pub(super) fn ended(status: Status) -> Self {
        Self { status, output: Value::is(""), sets: None }
    }

    /// A command that went well and printed nothing.
    pub(super) fn ok() -> Self {
        Self::ended(Status::OK)
    }

    /// A command that went well.
    pub(super) fn printed(output: Value) -> Self {
        Self { status: Status::OK, output, sets: None }
    }

    /// A command of which only a run would tell how it ends and what it prints.
    pub(super) fn unknown(doubt: &Doubt) -> Self {
        Self { status: Status::Unknown(doubt.clone()), output: doubt.value(), sets: None }
    }
}

/// What a script is followed in.
pub(super) trait World {
    /// Whether a path is what this test of `test` asks for.
    fn tests(&mut self, test: char, path: &str) -> Result<bool, Doubt>;

    /// The text of a file; none where there is no such file.
    fn reads(&mut self, path: &str) -> Result<Option<String>, Doubt>;

    /// The paths that a pattern stands for, in order.
    fn finds(&mut self, pattern: &str) -> Result<Vec<String>, Doubt>;

    /// Does what a command does; fails with why it can't be done.
    fn runs(&mut self, call: &Call<'_>) -> Result<Answer, String>;

    /// Writes a file, or adds to it.
    fn writes(
        &mut self,
        path: &Value,
        text: &Value,
        append: bool,
        doubt: Option<&Doubt>,
    ) -> Result<(), String>;
}

/// Where a script does what can't be done without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// The line, from 1.
    pub(super) line: usize,
    /// What stands there, or what is wrong with it.
    pub(super) text: String,
    /// Whether that hangs on files that aren't there yet.
    undecided: bool,
}

impl Refused {
    fn at(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into(), undecided: false }
    }
}

/// Follows a script with these arguments and variables, as far as the files that are there let it.
pub(super) fn follow(
    script: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
    world: &mut dyn World,
) -> Result<(), Refused> {
    let first = script.lines().next().unwrap_or_default();
    let mut program = first.trim_start_matches("#!").split_whitespace();
    let shell = program.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    if !first.starts_with("#!") || !["sh", "dash", "bash"].contains(&shell) {
        return Err(Refused::at(1, first.chars().take(80).collect::<String>()));
    }
    let exits_on_failure = program.any(|flags| flags.starts_with('-') && flags.contains('e'));
    let block = parse::read(script)?;
    let variables: BTreeMap<String, Value> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), Value::is(*value))).collect();
    match run::run(&block, arguments, exits_on_failure, variables, world) {
        Err(Refused { undecided: true, .. }) => Ok(()),
        followed => followed,
    }
}
