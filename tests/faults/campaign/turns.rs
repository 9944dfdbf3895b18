//! What is killed: commands, each with something to do.

use std::fs;

use serde_json::Value;

use crate::support::project::Project;

/// A kind of turn.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// How often it comes, compared with the others.
    pub(super) weight: u64,
    /// What is killed.
    pub(super) command: &'static str,
    /// Gives that something to do; the number is another one in each turn.
    pub(super) prepare: fn(&Project, u32),
}

const APPLY: &str = "apply --json";

const SPEC: &str = "specs/tiny.toml";

pub(super) const KINDS: [Kind; 13] = [
    Kind { name: "redeploy", weight: 18, command: APPLY, prepare: redeploy },
    Kind { name: "weights", weight: 10, command: APPLY, prepare: weights },
    Kind { name: "build", weight: 4, command: "apply --json --replace image:tiny", prepare: build },
    Kind { name: "unpack", weight: 8, command: APPLY, prepare: unpack },
    Kind { name: "warm-up", weight: 8, command: APPLY, prepare: warm_up },
    Kind { name: "crash", weight: 8, command: APPLY, prepare: crash },
    Kind { name: "mute", weight: 8, command: APPLY, prepare: mute },
    Kind { name: "gateway", weight: 6, command: APPLY, prepare: gateway },
    Kind { name: "no cache", weight: 4, command: APPLY, prepare: no_cache },
    Kind { name: "smoke", weight: 4, command: "apply --json --replace smoke:tiny", prepare: none },
    Kind { name: "destroy", weight: 10, command: "destroy tiny --yes", prepare: none },
    Kind { name: "gc", weight: 8, command: "gc --keep-runs 0", prepare: garbage },
    Kind { name: "lock", weight: 6, command: "lock", prepare: unlocked },
];

impl Kind {
    /// What a killed command was at: its steps of that moment, or how much of its time it had.
    pub(super) fn phase(&self, events: &[Value], share: u32) -> String {
        if !self.command.starts_with("apply") {
            let quarter = share / 250 + 1;
            return format!("{}, quarter {quarter}", self.name);
        }
        let mut open: Vec<&str> = Vec::new();
        let mut last = None;
        for event in events {
            let step = event["id"].as_str().unwrap_or_default();
            let kind = step.split(':').next().unwrap_or_default();
            match event["event"].as_str() {
                Some("step_started") => open.push(kind),
                Some("step_finished") => {
                    open.retain(|it| *it != kind);
                    last = Some(kind);
                }
                Some("apply_finished") => return "apply, after its last step".to_owned(),
                _ => {}
            }
        }
        open.sort_unstable();
        match (open.is_empty(), last) {
            (false, _) => format!("apply, in {}", open.join(" and ")),
            (true, Some(step)) => format!("apply, behind {step}"),
            (true, None) if events.is_empty() => "apply, before its steps".to_owned(),
            (true, None) => "apply, before its first step".to_owned(),
        }
    }
}

fn none(_: &Project, _: u32) {}

fn redeploy(project: &Project, turn: u32) {
    project.serve_env(&[("START_SECONDS", "0.1"), ("TURN", &turn.to_string())]);
}

/// The server is another one, and so are the weights, of which it is a part.
fn weights(project: &Project, turn: u32) {
    project.append("model/server.py", &format!("# {turn}\n"));
}

/// Nothing of the image is there, and nothing tells of it.
fn build(project: &Project, _: u32) {
    let _ = fs::remove_dir_all(project.path("cache/oci"));
    no_cache(project, 0);
}

/// Nothing is served, and the image lies nowhere.
fn unpack(project: &Project, _: u32) {
    project.run("destroy tiny --yes").exits(0);
    fs::remove_dir_all(project.state().join("roots")).expect("removed");
}

fn warm_up(project: &Project, turn: u32) {
    project.serve_env(&[("COMPILE", "once"), ("TURN", &turn.to_string())]);
    project.edit(SPEC, "name = \"command\"", "name = \"command\"\ncompiles = true");
}

/// The new server ends at once, and the old one comes back.
fn crash(project: &Project, turn: u32) {
    project.serve_env(&[("MODE", "crash"), ("TURN", &turn.to_string())]);
}

/// The new server fails its smoke test, and the old one comes back.
fn mute(project: &Project, turn: u32) {
    project.serve_env(&[("MODE", "mute"), ("TURN", &turn.to_string())]);
}

fn gateway(project: &Project, turn: u32) {
    project.append(SPEC, &format!("\n[gateway]\nalias = \"tiny-{turn}-local\"\n"));
}

/// Nothing is remembered of what was done.
fn no_cache(project: &Project, _: u32) {
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(project.path("cache").join(name));
    }
}

fn garbage(project: &Project, turn: u32) {
    for at in 0..20 {
        let name = format!("{turn:032x}{at:032x}");
        project.write(&format!("cache/oci/blobs/sha256/{name}"), "nobody's");
        project.write(&format!("cache/wheels/{name}.whl"), "nobody's");
    }
}

fn unlocked(project: &Project, _: u32) {
    let _ = fs::remove_file(project.path("images/tiny.pylock.toml"));
}
