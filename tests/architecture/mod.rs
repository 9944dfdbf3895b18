//! What may import what. A reader who knows a module's room knows all that it can touch.

mod sources;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sources::{Source, code, named, sources};

/// The rooms, lowest first. A module imports freely from the rooms below its own.
const ROOMS: &[(&str, &[&str])] = &[
    (
        "core",
        &["spec", "lock", "fingerprint", "graph", "plan", "event", "step", "step_id", "platform"],
    ),
    (
        "protocols and formats",
        &[
            "fetch",
            "oci",
            "wheel",
            "debian",
            "python",
            "runtime",
            "container",
            "hub",
            "openai",
            "draw",
            "blocking",
            "clock",
            "disk",
            "leftovers",
        ],
    ),
    (
        "parts, effects, a project at work",
        &[
            "engines",
            "targets",
            "store",
            "exec",
            "gateways",
            "project",
            "workspace",
            "locking",
            "steps",
            "garbage",
            "ui",
        ],
    ),
    ("command line", &["cli"]),
    ("exit code", &["main"]),
];

/// Imports within a room, beyond the core's own: each one is a decision.
const WITHIN: &[(&str, &[&str])] = &[
    // A wait is told with the time at which it ends.
    ("fetch", &["clock"]),
    // Hashes and digests are spelled in hexadecimal once.
    ("oci", &["fetch"]),
    // A file that is here is shared, and one that is fetched needs room.
    ("hub", &["fetch", "disk"]),
    ("openai", &["fetch"]),
    ("debian", &["fetch"]),
    ("python", &["fetch"]),
    // An image is handed over as an archive; a volume is bound like in a sandbox.
    ("container", &["oci", "runtime"]),
    // A wheel becomes a layer.
    ("wheel", &["oci"]),
    // Outcomes are written down.
    ("exec", &["store"]),
    // Engines know which flags they take.
    ("project", &["engines"]),
    // What the lock says of an engine, and what the engine says to that.
    ("workspace", &["store", "targets", "gateways", "engines", "project"]),
    ("locking", &["workspace", "engines"]),
    ("steps", &["workspace", "targets", "engines", "gateways"]),
    // What is needed is asked of everything that keeps something.
    ("garbage", &["workspace", "store", "targets"]),
    // Values to show, no behaviour: a report, attempts, what is live, what locking changed.
    ("ui", &["exec", "store", "targets", "locking", "garbage"]),
];

/// Steps that share a description with another step, `steps::` left out.
const STEPS: &[(&str, &[&str])] = &[
    // Both serve the same thing: one for good, one to fill its caches.
    ("warmup", &["deploy"]),
    // The deployment names the caches that its warm-up filled, by key, and an image that Modal
    // built by that step's fact; and it starts what can also be shown.
    ("deploy", &["warmup", "modal_image", "started", "candidate"]),
    // Both try out what answers, in the same way.
    ("smoke", &["asked"]),
    ("candidate", &["asked", "deploy"]),
    // What would be run is what a deployment would be made of.
    ("programs", &["deploy", "modal_image", "warmup", "weights"]),
    // Both make a layer, and say so with the same facts.
    ("wheels", &["base", "downloads"]),
    ("python", &["base", "downloads"]),
    // What was fetched may be damaged by the time it is used.
    ("base", &["downloads"]),
    // A layer of an image is fetched and described as in the steps that make layers.
    ("image", &["base", "wheels"]),
];

/// What the core must not touch, and the one place where it may.
const IMPURE: &[&str] = &[
    "tokio",
    "reqwest",
    "rusqlite",
    "tempfile",
    "walkdir",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::io::std",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "println!",
    "print!",
    "dbg!",
];

fn allowed(table: &[(&str, &[&str])], from: &str, to: &str) -> bool {
    table.iter().any(|(module, others)| *module == from && others.contains(&to))
}

#[test]
fn imports_never_go_upward() {
    let mut rooms = BTreeMap::new();
    for (level, (_, modules)) in ROOMS.iter().enumerate() {
        rooms.extend(modules.iter().map(|module| (*module, level)));
    }
    let mut wrong = Vec::new();
    for source in sources() {
        let from = source.module();
        if from == "lib" {
            continue;
        }
        let Some(level) = rooms.get(from) else {
            wrong.push(format!("src/{}: `{from}` has no room", source.path.display()));
            continue;
        };
        for to in named(&source.code, "crate::") {
            let Some(other) = rooms.get(to) else { continue };
            let within = level == other && (*level == 0 || from == to || allowed(WITHIN, from, to));
            if other > level || (other == level && !within) {
                let (below, above) = (ROOMS[*level].0, ROOMS[*other].0);
                wrong.push(format!(
                    "src/{} ({below}) imports crate::{to} ({above})",
                    source.path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_exception_is_left_over() {
    let mut used = Vec::new();
    for source in sources() {
        let from = source.module().to_owned();
        for to in named(&source.code, "crate::") {
            used.push((from.clone(), to.to_owned()));
        }
    }
    for (from, others) in WITHIN {
        for to in *others {
            assert!(
                used.iter().any(|(one, other)| one == from && other == to),
                "{from} does not import {to} any more"
            );
        }
    }
}

#[test]
fn the_core_is_silent_and_pure() {
    let core = ROOMS[0].1;
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| core.contains(&source.module())) {
        for impure in IMPURE {
            let touches = source.code.match_indices(impure).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
            });
            let grouped = impure
                .strip_prefix("std::")
                .is_some_and(|module| named(&source.code, "use std::").contains(&module));
            if touches || grouped {
                wrong.push(format!("src/{}: {impure}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "the core must not touch:\n{}", wrong.join("\n"));
}

#[test]
fn steps_know_each_other_only_where_they_share_something() {
    let sources = sources();
    let steps: Vec<&Source> = sources
        .iter()
        .filter(|source| source.module() == "steps" && !source.path.ends_with("mod.rs"))
        .collect();
    let names: Vec<&str> =
        steps.iter().map(|source| source.path.file_stem().unwrap().to_str().unwrap()).collect();
    let mut wrong = Vec::new();
    for (source, from) in steps.iter().zip(&names) {
        let others = [named(&source.code, "super::"), named(&source.code, "crate::steps::")];
        for to in others.concat() {
            if names.contains(&to) && to != *from && !allowed(STEPS, from, to) {
                wrong.push(format!("steps/{from}.rs imports steps/{to}.rs"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_small_and_named_after_what_is_in_them() {
    for source in sources() {
        let path = source.path.display();
        for word in ["utils", "util", "helpers", "common", "manager", "misc"] {
            let named = source.path.iter().any(|part| part.to_string_lossy().contains(word));
            assert!(!named, "src/{path} says nothing of what is in it");
        }
        assert!(source.lines < 600, "src/{path} has {} lines: it holds two things", source.lines);
        if source.lines > 400 {
            eprintln!("src/{path} has {} lines", source.lines);
        }
    }
}

/// A file that no module names is not compiled, and its tests say nothing.
#[test]
fn every_file_of_tests_is_part_of_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut left = Vec::new();
    for entry in walkdir::WalkDir::new(&root).into_iter().flatten() {
        let path = entry.path();
        let (Some(name), Some("rs")) = (
            path.file_stem().and_then(|name| name.to_str()),
            path.extension().and_then(|extension| extension.to_str()),
        ) else {
            continue;
        };
        if path == root.join("main.rs") {
            continue;
        }
        let (name, directory) = match name {
            "mod" => (path.parent().unwrap().file_name().unwrap().to_str().unwrap(), path.parent()),
            _ => (name, Some(path)),
        };
        let parent = directory.and_then(Path::parent).unwrap();
        let parent = parent.join(if parent == root { "main.rs" } else { "mod.rs" });
        let lines = fs::read_to_string(&parent).unwrap_or_default();
        if !lines.lines().any(|line| line.ends_with(&format!("mod {name};"))) {
            left.push(format!("{} in {}", path.display(), parent.display()));
        }
    }
    assert!(left.is_empty(), "no `mod` names\n{}", left.join("\n"));
}

/// So that no test finds a uv or a Docker that happens to be installed.
#[test]
fn tests_take_the_binary_and_the_path_from_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut wrong = Vec::new();
    for entry in walkdir::WalkDir::new(&root).into_iter().flatten() {
        let path = entry.path().strip_prefix(&root).unwrap();
        // The runtime's supervisor looks for no program.
        let own = ["architecture/mod.rs", "support/installed.rs", "runtime/fixture.rs"];
        if path.extension().is_none_or(|extension| extension != "rs")
            || own.iter().any(|own| path == Path::new(own))
        {
            continue;
        }
        let code = code(&fs::read_to_string(entry.path()).unwrap());
        for word in ["CARGO_BIN_EXE_goatbuild", "var(\"PATH\")", "var_os(\"PATH\")"] {
            if code.contains(word) {
                wrong.push(format!("tests/{}: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "tests/support/installed.rs has both:\n{}", wrong.join("\n"));
}
