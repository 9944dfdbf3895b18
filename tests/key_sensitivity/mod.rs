//! What an edit re-runs, with the real binary: the plan says it, and the apply does just that.

#![cfg(target_os = "linux")]

mod base;
mod command_line;
mod compiled;
mod edits;
mod gateway;
mod hub;
mod json;
mod rows;
mod table;
mod upkeep;
mod warmup;

use crate::support;

use support::project::Project;

/// What a plan has to say, and then what the apply has to do: exactly this.
#[derive(Debug, Default)]
struct Expected<'a> {
    run: &'a [&'a str],
    pending: &'a [&'a str],
    ran: &'a [&'a str],
}

/// Plans and applies, and expects that nothing is left to do.
#[track_caller]
fn expect(project: &Project, expected: &Expected<'_>) {
    let sorted = |ids: &[&str]| {
        let mut ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        ids.sort();
        ids
    };
    let plan = project.plan("");
    assert_eq!(plan.ids("run"), sorted(expected.run), "to run: {}", plan.0);
    assert_eq!(plan.ids("pending"), sorted(expected.pending), "pending: {}", plan.0);
    assert_eq!(project.apply("").ran(), sorted(expected.ran), "ran");
    let after = project.plan("");
    assert_eq!(after.ids("fresh").len(), after.0["steps"].as_array().unwrap().len(), "{}", after.0);
}

/// An edit that starts the server anew at the same place, under the same name.
#[track_caller]
fn expect_redeployed(project: &Project) {
    let ran = &["deploy:tiny", "smoke:tiny"];
    expect(project, &Expected { run: &["deploy:tiny"], pending: &["smoke:tiny"], ran });
}

/// Such an edit: `auto` is the embedded runtime, too, where there is no other.
fn choose_runtime(project: &Project, from: &str, to: &str) {
    project.edit(
        "goatbuild.toml",
        &format!("runtime = \"{from}\""),
        &format!("runtime = \"{to}\""),
    );
}

#[track_caller]
fn expect_nothing(project: &Project) {
    expect(project, &Expected::default());
}

const SPEC: &str = "specs/tiny.toml";
