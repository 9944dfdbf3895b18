//! Same inputs, same bytes: on any machine, in any directory, for any user.
#![cfg(target_os = "linux")]

use crate::support;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use support::project::{Project, Ran, ran};
use support::quickstart::quickstart;

const BUILD: [&str; 5] = ["apply", "--json", "--locked", "--only", "image:mlx"];

/// The lock's `[built]`: step → facts.
fn golden(quickstart: &Project) -> BTreeMap<String, Value> {
    let lock: Value = toml::from_str(&quickstart.read("goatbuild.lock")).unwrap();
    let built = lock["built"].as_object().unwrap();
    built.iter().map(|(step, built)| (step.clone(), built["facts"].clone())).collect()
}

#[track_caller]
fn assert_built(quickstart: &Project, ended: &Ran) {
    let finished = ended.finished();
    assert_eq!(finished["errors"], json!([]), "the quickstart's digests are golden values");
    let golden = golden(quickstart);
    let mut ran: Vec<&str> =
        finished["ran"].as_array().unwrap().iter().map(|step| step.as_str().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, golden.keys().collect::<Vec<_>>(), "all was built, and nothing else");
    // Steps are compared with the lock as they end. What they stored has to be that, too.
    let layout = goatbuild::oci::Layout::open(&quickstart.path("cache/oci")).unwrap();
    let image = layout.tagged("mlx").unwrap();
    assert_eq!(golden["image:mlx"]["digest"], image.digest.to_string());
    layout.verify(image.digest, &goatbuild::event::Reporter::silent()).unwrap();
}

#[test]
fn whoever_builds_wherever_makes_the_golden_digests() {
    let Some(plain) = quickstart("project") else { return };
    assert_built(&plain, &plain.run(&BUILD));

    let Some(other) = quickstart("a path with spaces/süß/deep/er/and/deeper/still") else {
        return;
    };
    let mut command = other.command(&BUILD);
    command
        .env("TZ", "Pacific/Kiritimati")
        .env("LANG", "tr_TR.UTF-8")
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("HOME", "/nonexistent")
        .env("USER", "somebody")
        .env("TMPDIR", other.directory());
    assert_built(&other, &on_one_core(masked(&command)));
}

/// The same command in a shell with another umask.
fn masked(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 077 && exec \"$0\" \"$@\""]).arg(command.get_program());
    shell.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Runs a command that sees one core; it inherits that from a thread that has no more.
fn on_one_core(mut command: Command) -> Ran {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let thread = std::thread::spawn(move || {
        let mine = nix::unistd::Pid::from_raw(0);
        let all = sched_getaffinity(mine).unwrap();
        let first = (0..CpuSet::count()).find(|core| all.is_set(*core).unwrap()).unwrap();
        let mut one = CpuSet::new();
        one.set(first).unwrap();
        sched_setaffinity(mine, &one).unwrap();
        ran(&mut command)
    });
    thread.join().unwrap()
}

#[test]
fn a_build_that_differs_from_the_lock_fails_and_names_the_step() {
    let Some(quickstart) = quickstart("project") else { return };
    let step = "wheels:mlx/tokenizers";
    let fact = golden(&quickstart)[step]["diff-id"].as_str().unwrap().to_owned();
    let last = if fact.ends_with('0') { "1" } else { "0" };
    let wrong = format!("{}{last}", &fact[..fact.len() - 1]);
    let lock = quickstart.read("goatbuild.lock").replace(&fact, &wrong);
    std::fs::write(quickstart.path("goatbuild.lock"), &lock).unwrap();

    let ended = quickstart.run(&["apply", "--json"]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let finished = ended.finished();
    assert_eq!(finished["failed"], json!([step]), "{finished}");
    let code = &finished["errors"][0]["code"];
    assert_eq!(code, "goatbuild::build::not_reproducible", "{finished}");
    let blocked = finished["blocked"].to_string();
    assert!(blocked.contains("image:mlx") && blocked.contains("deploy:"), "{finished}");
    assert_eq!(quickstart.read("goatbuild.lock"), lock, "the lock stays as it was");
    assert_eq!(quickstart.processes(), 0, "nothing is served");

    // A second try does not take what the first one made.
    let again = quickstart.run(&["apply", "--json"]);
    assert_eq!(again.code, 1, "{}", again.stderr);
    let code = &again.finished()["errors"][0]["code"];
    assert_eq!(code, "goatbuild::build::not_reproducible", "{}", again.stdout);
    assert_eq!(quickstart.read("goatbuild.lock"), lock);
}
