//! What commands said: `plan --json`, `apply --json`, and any other.

use std::process::{Command, Output};

use serde_json::Value;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command, however it ends.
pub(crate) fn ran(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

impl Ran {
    /// Fails the test unless the command ended with this exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Fails the test unless both streams together hold all of `parts`.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        holds(&format!("{}\n{}", self.stdout, self.stderr), parts);
        self
    }

    /// Fails the test unless what is no result, on stderr, holds all of `parts`.
    #[track_caller]
    pub(crate) fn tells(self, parts: &[&str]) -> Self {
        holds(&self.stderr, parts);
        self
    }

    /// Fails the test unless the command ended with this exit code and told all of `parts`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, parts: &[&str]) -> Self {
        self.exits(code).tells(parts)
    }

    /// Fails the test unless an apply found everything fresh.
    #[track_caller]
    pub(crate) fn ran_nothing(self) -> Self {
        self.exits(0).says(&[" 0 steps ran"])
    }

    /// What it printed; it has to have succeeded.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        self.exits(0).stdout
    }

    /// The last event of an `apply --json`.
    #[track_caller]
    pub(crate) fn finished(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        let event: Value = serde_json::from_str(last).unwrap_or_default();
        assert_eq!(event["event"], "apply_finished", "{}\n{}", self.stdout, self.stderr);
        event
    }
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    // Diagnostics are wrapped to the terminal's width.
    let flat = flatten(text);
    for part in parts {
        assert!(flat.contains(&flatten(part)), "`{part}` is missing in:\n{text}");
    }
}

fn flatten(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| !["│", "|"].contains(word));
    words.collect::<Vec<_>>().join(" ")
}

/// What `plan --json` said.
#[derive(Debug)]
pub(crate) struct Plan(pub(crate) Value);

impl Plan {
    /// The ids with this action, sorted.
    pub(crate) fn ids(&self, action: &str) -> Vec<String> {
        let steps = self.0["steps"].as_array().expect("steps").iter();
        let of = steps.filter(|step| step["action"] == action);
        let mut ids: Vec<String> = of.map(|step| text(&step["id"])).collect();
        ids.sort();
        ids
    }

    /// The step of this id.
    #[track_caller]
    pub(crate) fn step(&self, id: &str) -> &Value {
        let mut steps = self.0["steps"].as_array().expect("steps").iter();
        steps.find(|step| step["id"] == id).unwrap_or_else(|| panic!("no {id} in {}", self.0))
    }

    /// The step's reasons as `kind field`, in order.
    #[track_caller]
    pub(crate) fn why(&self, id: &str) -> Vec<String> {
        let reasons = self.step(id)["reasons"].as_array().expect("reasons").iter();
        let words = |reason: &Value| {
            format!("{} {}", text(&reason["kind"]), reason["field"].as_str().unwrap_or_default())
        };
        reasons.map(|reason| words(reason).trim_end().to_owned()).collect()
    }
}

/// What `apply --json` said.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) code: i32,
    pub(crate) events: Vec<Value>,
    pub(crate) stderr: String,
}

impl Applied {
    /// The last event.
    #[track_caller]
    pub(crate) fn end(&self) -> &Value {
        let end = self.events.last().filter(|event| event["event"] == "apply_finished");
        end.unwrap_or_else(|| panic!("no apply_finished in {:?}: {}", self.events, self.stderr))
    }

    /// A list of ids of the last event, sorted.
    #[track_caller]
    pub(crate) fn ids(&self, list: &str) -> Vec<String> {
        let mut ids: Vec<String> =
            self.end()[list].as_array().expect("a list").iter().map(text).collect();
        ids.sort();
        ids
    }

    /// The steps that ran, sorted; fails the test unless the apply succeeded.
    #[track_caller]
    pub(crate) fn ran(&self) -> Vec<String> {
        assert_eq!(self.code, 0, "{:#?}\n{}", self.events.last(), self.stderr);
        self.ids("ran")
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string")).to_owned()
}
