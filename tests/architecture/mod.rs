//! What may import what. A reader who knows a module's floor knows all that it can touch.

mod circles;
mod early;
mod functions;
mod kinds;
mod map;
mod names;
mod sources;
mod targets;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sources::{Source, code, named, sources};

/// The floors, lowest first, and the rooms on each: the top-level modules. A room imports freely from
/// the floors below its own, and nothing else: the core alone knows no order of its rooms.
const FLOORS: &[(&str, &[&str])] = &[
    (
        "core",
        &[
            "spec",
            "lock",
            "digest",
            "fingerprint",
            "graph",
            "plan",
            "event",
            "step",
            "step_id",
            "engine",
            "platform",
            "words",
        ],
    ),
    (
        "this machine",
        &["blocking", "bounded", "clock", "disk", "durable", "exhausted", "leftovers"],
    ),
    ("downloads", &["fetch"]),
    (
        "protocols and formats",
        &["oci", "debian", "python", "runtime", "hub", "openai", "draw", "import"],
    ),
    ("images", &["wheel", "container"]),
    ("parts", &["engines", "targets", "gateways", "store"]),
    ("a project, and a run of it", &["project", "exec", "served"]),
    ("what its steps work with", &["workspace"]),
    ("what is done with it", &["locking", "steps", "garbage"]),
    ("what commands do, what people see", &["ops", "ui"]),
    ("command line", &["cli"]),
    ("exit code", &["main"]),
];

/// Steps that share a description with another step, `steps::` left out.
const STEPS: &[(&str, &[&str])] = &[
    // Both serve the same thing: one for good, one to fill its caches.
    ("warmup", &["deploy"]),
    // The deployment names the caches that its warm-up filled, by key, and an image that the target
    // built by that step's fact; and it starts what can also be shown.
    ("deploy", &["warmup", "image_there", "started", "candidate"]),
    // Both try out what answers, in the same way.
    ("smoke", &["asked"]),
    ("asked", &["failed_starts"]),
    ("candidate", &["asked", "deploy"]),
    // What would be run is what a deployment would be made of.
    ("programs", &["deploy", "image_there", "names", "warmup", "weights"]),
    // Both make a layer, and say so with the same facts.
    ("wheels", &["base", "downloads"]),
    ("python", &["base", "downloads"]),
    // What was fetched may be damaged by the time it is used.
    ("base", &["downloads"]),
    // A layer of an image is fetched and described as in the steps that make layers.
    ("image", &["base", "bottom", "build", "wheels"]),
    // What a package is built in is the bottom of its image with wheels.
    ("build", &["base", "bottom", "wheels"]),
    ("root", &["bottom", "error"]),
    ("backend", &["error", "root"]),
    // What fails when an image is put together is told before, where it is known.
    ("based", &["bottom", "image", "wheels"]),
    // Whether a package can be built here is known before it is.
    ("check", &["based", "build"]),
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
fn imports_only_go_down() {
    let mut floors = BTreeMap::new();
    for (floor, (_, rooms)) in FLOORS.iter().enumerate() {
        floors.extend(rooms.iter().map(|room| (*room, floor)));
    }
    let mut wrong = Vec::new();
    for source in sources() {
        let from = source.module();
        if from == "lib" {
            continue;
        }
        let Some(floor) = floors.get(from) else {
            wrong.push(format!("src/{}: `{from}` is on no floor", source.path.display()));
            continue;
        };
        for to in named(&source.code, "crate::") {
            let Some(other) = floors.get(to) else { continue };
            let is_core = (*floor, *other) == (0, 0);
            if other >= floor && from != to && !is_core {
                let (ours, theirs) = (FLOORS[*floor].0, FLOORS[*other].0);
                let path = source.path.display();
                wrong.push(format!("src/{path} ({ours}) imports crate::{to} ({theirs})"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_core_is_silent_and_pure() {
    let core = FLOORS[0].1;
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

/// What is done in one file, so that it is done in one way; where else it may be written, and why.
const ONE_WAY: &[(&str, &str, &[&str])] = &[
    ("spawn_blocking", "blocking.rs", &[]),
    ("NamedTempFile", "durable.rs", &[]),
    (".persist(", "durable.rs", &[]),
    ("fs::rename(", "durable.rs", &[]),
    // A spool without a name, which nobody else ever reads.
    ("tempfile_in(", "durable.rs", &["debian/tree.rs"]),
];

#[test]
fn what_is_done_in_one_way_is_done_in_one_file() {
    let sources = sources();
    for (word, home, others) in ONE_WAY {
        let all = sources.iter().filter(|source| source.code.contains(word));
        let found: Vec<_> = all.map(|source| source.path.to_str().unwrap()).collect();
        let mut allowed = [&[*home], *others].concat();
        allowed.sort_unstable();
        assert_eq!(found, allowed, "`{word}` belongs into {home}");
    }
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
    let mut used = Vec::new();
    for (source, from) in steps.iter().zip(&names) {
        let others = [named(&source.code, "super::"), named(&source.code, "crate::steps::")];
        for to in others.concat() {
            if names.contains(&to) && to != *from && !allowed(STEPS, from, to) {
                wrong.push(format!("steps/{from}.rs imports steps/{to}.rs"));
            }
            used.push((*from, to));
        }
    }
    for (from, others) in STEPS {
        let left = others.iter().filter(|to| !used.contains(&(from, to)));
        wrong.extend(left.map(|to| format!("steps/{from}.rs does not import {to} any more")));
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
