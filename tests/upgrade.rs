//! Projects, locks and state of November 2026, looked at by this version: it finds nothing to do but
//! what CHANGELOG.md says.
//!
//! `tests/data/2026-11` was written by the goatbuild of commit 5146a8d. `modal` is the project of this
//! repository after an apply on the double of Modal. `local` served three models here, two of them in a
//! second environment too: weights of a hub and of a directory, a warm-up, other names than the model's.
//! Paths that stood in there begin with `@DIRECTORY@`.

#![cfg(target_os = "linux")]

use crate::support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::project::{ran, wants_network};
use support::{installed, peers};
use tempfile::TempDir;

/// A project as an earlier version left it.
struct Left(TempDir);

impl Left {
    fn new(name: &str) -> Self {
        let left = Self(tempfile::tempdir().expect("a directory"));
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/2026-11").join(name);
        for entry in walkdir::WalkDir::new(&from).into_iter().map(Result::unwrap) {
            let path = entry.path().strip_prefix(&from).expect("a path below");
            if entry.file_type().is_file() && path != Path::new("state.sql") {
                left.write(path, &fs::read_to_string(entry.path()).expect("text"));
            }
        }
        let kept = fs::read_to_string(from.join("state.sql")).expect("statements");
        fs::create_dir_all(left.root().join("cache")).expect("a directory");
        left.remember(&left.here(&kept));
        left
    }

    fn here(&self, text: &str) -> String {
        text.replace("@DIRECTORY@", self.0.path().to_str().expect("UTF-8"))
    }

    fn write(&self, path: &Path, text: &str) {
        let to = match path.strip_prefix("state") {
            Ok(environment) => {
                let directory = self.state().join("table-4c19d2").join(environment);
                directory.with_extension("").join("deployments.json")
            }
            Err(_) => self.root().join(path),
        };
        fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
        fs::write(to, self.here(text)).expect("written");
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("project")
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// What a command says as JSON; nobody is there to be asked.
    #[track_caller]
    fn run(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.said(arguments)).expect("JSON")
    }

    /// What a command says.
    #[track_caller]
    fn said(&self, arguments: &str) -> String {
        self.told(arguments).0
    }

    /// What a command says, and what it tells besides.
    #[track_caller]
    fn told(&self, arguments: &str) -> (String, String) {
        let ran = ran(&mut self.command(arguments));
        assert_eq!(ran.code, 0, "{arguments}: {}", ran.stderr);
        (ran.stdout, ran.stderr)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(installed::GOATBUILD);
        command
            .env_clear()
            .envs([("CI", "true"), ("MODAL_SERVER_URL", "http://127.0.0.1:9")])
            .envs([("MODAL_TOKEN_ID", "ak-test"), ("MODAL_TOKEN_SECRET", "as-test")])
            .env("HOME", self.0.path())
            .env("GOATBUILD_STATE_DIR", self.state())
            .args(arguments.split_whitespace())
            .current_dir(self.root());
        command
    }

    /// Changes what is remembered.
    fn remember(&self, statement: &str) {
        let state = rusqlite::Connection::open(self.root().join("cache/state.db")).expect("a file");
        state.execute_batch(statement).expect("the statement");
    }

    /// The steps of a plan that aren't fresh, each with its reasons as `kind field: old → new`.
    #[track_caller]
    fn to_do(&self, arguments: &str) -> BTreeMap<String, Vec<String>> {
        let plan = self.run(&format!("plan --json {arguments}"));
        let steps = plan["steps"].as_array().expect("steps").iter();
        let stale = steps.filter(|step| step["action"] != "fresh");
        stale.map(|step| (text(&step["id"]).to_owned(), reasons(step))).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn reasons(step: &Value) -> Vec<String> {
    let reasons = step["reasons"].as_array().expect("reasons").iter();
    let word = |reason: &Value| {
        let [kind, field, old, new] = ["kind", "field", "old", "new"].map(|key| text(&reason[key]));
        format!("{kind} {field}: {old} → {new}")
    };
    reasons.map(word).collect()
}

#[test]
fn models_on_this_machine_have_nothing_to_do() {
    let left = Left::new("local");
    for environment in ["", "--env staging"] {
        let to_do = left.to_do(&format!("--no-refresh {environment}"));
        assert_eq!(to_do, BTreeMap::new(), "{environment}");
        // Their servers have ended since, and their files are gone; nothing else is found.
        let lost: BTreeMap<String, Vec<String>> = [
            ("base:tiny", "evicted image:tiny:  → "),
            ("deploy:second", "drift process: running → ended"),
            ("deploy:third", "drift process: running → ended"),
            ("deploy:tiny", "drift process: running → ended"),
            ("image:tiny", "evicted deploy:second:  → "),
            ("smoke:second", "input deploy:second:  → "),
            ("smoke:third", "input deploy:third:  → "),
            ("smoke:tiny", "input deploy:tiny:  → "),
            ("warmup:tiny", "drift warmup: present → gone"),
            ("weights:acme/tiny", "drift weights: present → gone"),
            ("weights:model", "drift weights: present → gone"),
            ("wheels:tiny/pip", "evicted image:tiny:  → "),
        ]
        .map(|(id, reason)| (id.to_owned(), vec![reason.to_owned()]))
        .into();
        assert_eq!(left.to_do(environment), lost, "{environment}");
        let status = left.run(&format!("status --json {environment}"));
        let models = status["models"].as_array().expect("models");
        assert_eq!(models.len(), 3, "{status}");
        assert!(models.iter().all(|model| model["verdict"] == "stopped"), "{status}");
    }
}

/// Until then, keys of models on this machine held settings that mean nothing here; what is remembered of
/// them is the same whatever those are by now.
#[test]
fn settings_that_mean_nothing_here_make_no_difference_to_what_was_deployed_with_them() {
    let left = Left::new("local");
    for (model, setting) in [
        ("tiny", "max-inputs = 3"),
        ("second", "timeout = \"7m\""),
        ("third", "scaledown-window = \"7m\""),
    ] {
        let spec = left.root().join(format!("specs/{model}.toml"));
        let written = fs::read_to_string(&spec).expect("a spec");
        let edited = if written.contains("[serve]\n") {
            written.replace("[serve]\n", &format!("[serve]\n{setting}\n"))
        } else {
            format!("{written}\n[serve]\n{setting}\n")
        };
        fs::write(&spec, edited).expect("written");
    }
    assert_eq!(left.to_do("--no-refresh"), BTreeMap::new());
    for model in ["tiny", "second", "third"] {
        let why = left.to_do("");
        assert_eq!(why[&format!("deploy:{model}")], ["drift process: running → ended"]);
    }
}

/// What changed since then: clients call models by the hub's id first, and the programs that serve end
/// with their engines.
#[test]
fn models_on_modal_are_deployed_again_for_two_reasons_and_have_nothing_else_to_do() {
    let left = Left::new("modal");
    let to_do = left.to_do("--no-refresh");
    let specs = fs::read_dir(left.root().join("specs")).expect("specs");
    let specs: Vec<PathBuf> = specs.map(|entry| entry.expect("a spec").path()).collect();
    assert_eq!((specs.len(), to_do.len()), (6, 3 * 6 + 1), "{to_do:?}");
    assert_eq!(to_do["weights:tiktoken/o200k_base"], ["first :  → "]);
    for spec in specs {
        let model = spec.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let written = fs::read_to_string(&spec).expect("a spec");
        let repository = written.split("\"hf:").nth(1).and_then(|rest| rest.split('"').next());
        let repository = repository.expect("a repository of a hub");
        let renamed = format!("changed serve.served-name: {model} → {repository}, {model}");
        let deploy = format!("deploy:{model}");
        assert_eq!(to_do[&deploy], again(&deploy, &[RUNTIME, &renamed]));
        for kind in ["smoke", "gateway"] {
            let behind = format!("input deploy:{model}:  → ");
            assert_eq!(to_do[&format!("{kind}:{model}")], [behind], "{kind}:{model}");
        }
        // Who wants the name of before says so.
        let kept = format!("[serve]\nserved-name = \"{model}\"\n");
        fs::write(&spec, written.replace("[serve]\n", &kept)).expect("written");
    }
    let to_do = left.to_do("--no-refresh");
    assert_eq!(to_do.len(), 3 * 6 + 1, "{to_do:?}");
    let deployed = to_do.iter().filter(|(step, _)| step.starts_with("deploy:"));
    deployed.for_each(|(step, reasons)| assert_eq!(*reasons, again(step, &[RUNTIME]), "{step}"));
}

/// Models of gpt-oss came to have the vocabulary that their chat loads.
const VOCABULARY: &str =
    "changed env.TIKTOKEN_ENCODINGS_BASE:  → 446a9538cb6c348e3516120d7c08b09f57c36495";

/// What a model's deployment is done anew for.
fn again<'a>(step: &str, more: &[&'a str]) -> Vec<&'a str> {
    let vocabulary = step.starts_with("deploy:gpt-oss-").then_some(VOCABULARY);
    vocabulary.into_iter().chain(more.iter().copied()).collect()
}

/// The programs came to end with their engines.
const RUNTIME: &str = "changed modal.runtime: 1 → 2";

/// The guard came to ask more of requests, and only some models have one.
#[test]
fn only_models_with_a_guard_are_deployed_again_for_another_guard() {
    let left = Left::new("modal");
    let project = left.root().join("goatbuild.toml");
    let settings = fs::read_to_string(&project).expect("settings");
    let secret = "[target.modal]\napi-key-secret = \"k\"\n";
    fs::write(&project, settings.replace("[target.modal]\n", secret)).expect("written");
    for entry in fs::read_dir(left.root().join("specs")).expect("specs") {
        let spec = entry.expect("a spec").path();
        let model = spec.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let auth = if model == "qwen3-4b" { "auth = \"api-key\"\n" } else { "" };
        let kept = format!("[serve]\n{auth}served-name = \"{model}\"\n");
        let written = fs::read_to_string(&spec).expect("a spec");
        fs::write(&spec, written.replace("[serve]\n", &kept)).expect("written");
    }
    left.remember(
        r#"update applied set fingerprint = replace(fingerprint, '["serve.auth","proxy"]',
        '["serve.auth","api-key"],["target.modal.api-key-secret","k"],["target.modal.api-key-variable","GOATBUILD_API_KEY"],["secrets.k.generation","1"]')
        where step = 'deploy:qwen3-4b'"#,
    );
    let to_do = left.to_do("--no-refresh");
    for (step, reasons) in to_do.iter().filter(|(step, _)| step.starts_with("deploy:")) {
        let guarded: &[&str] = &["changed modal.guard:  → 2", RUNTIME];
        let wanted = if step == "deploy:qwen3-4b" { guarded } else { &[RUNTIME] };
        assert_eq!(*reasons, again(step, wanted), "{step}");
    }
}

/// Locks of 24 to 30 November 2026 say of files where Xet keeps them, which nobody reads any more.
#[test]
fn a_lock_that_says_where_xet_keeps_files_is_the_same_lock() {
    for (name, files) in [("local", 4), ("modal", 24)] {
        let left = Left::new(name);
        let path = left.root().join("goatbuild.lock");
        let written = fs::read_to_string(&path).expect("a lock");
        let before = left.run("plan --json --no-refresh");
        let mut said = 0;
        let mut say = |line: &str| match line.strip_suffix('"') {
            Some(file) if file.contains("git-blob:") || file.contains(" sha256:") => {
                said += 1;
                format!("{file} xet:{said:064x}\"\n")
            }
            _ => format!("{line}\n"),
        };
        let old: String = written.lines().map(&mut say).collect();
        assert_eq!(said, files, "{name}");
        fs::write(&path, &old).expect("written");
        for arguments in ["--no-refresh", "--no-refresh --locked", "--no-refresh --offline"] {
            let plan = left.run(&format!("plan --json {arguments}"));
            assert_eq!(plan, before, "{name}: {arguments}");
        }
        assert_eq!(fs::read_to_string(&path).expect("a lock"), old, "nothing to write");
    }
}

/// Bases came to have all that Debian calls essential; those that are locked stay what they are.
#[test]
fn a_base_without_what_is_essential_is_told_of_in_a_line_and_stays_as_it_is() {
    // What base-files, python3 and their like depended on in these locks; `modal` has another builder.
    let lacks = "its base was locked without bash, sed, grep, findutils, gzip and others that are \
                 essential to Debian, and the links /var/run and /var/lock: `goatbuild lock --upgrade";
    for (name, arguments, image) in [
        ("local", "plan --no-refresh", "tiny"),
        ("local", "plan --no-refresh --locked third", "tiny"),
        ("local", "plan --no-refresh --json --env staging", "tiny"),
        ("modal", "plan --no-refresh", ""),
        ("modal", "plan --no-refresh --env oci llama-3.1-8b", "standard"),
    ] {
        let left = Left::new(name);
        let lock = || fs::read_to_string(left.root().join("goatbuild.lock")).expect("a lock");
        let before = lock();
        let told = left.told(arguments).1;
        let told: Vec<&str> = told.lines().filter(|line| line.contains("essential")).collect();
        let line = format!("· {image}: {lacks} {image}` adds them");
        let wanted = if image.is_empty() { Vec::new() } else { vec![line.as_str()] };
        assert_eq!(told, wanted, "{name}: {arguments}");
        assert_eq!(lock(), before, "{name}: {arguments}");
    }
}

/// And nothing else moves with it: not the wheels, for the name of a package of the base.
#[test]
fn a_base_gets_what_is_essential_when_it_is_locked_anew_or_edited() {
    for (arguments, edit) in [
        ("lock --upgrade base-files", ["", ""]),
        ("lock", ["[\"python3\"", "[\"libgomp1\", \"python3\""]),
    ] {
        let left = Left::new("local");
        let read = |path: &str| fs::read_to_string(left.root().join(path)).expect("text");
        let image = read("images/tiny.toml").replacen(edit[0], edit[1], 1);
        fs::write(left.root().join("images/tiny.toml"), image).expect("written");
        let wheels = read("images/tiny.pylock.toml");
        let locked = ran(&mut left.command(arguments));
        if locked.code != 0 && wants_network(&locked.stderr) {
            peers::skipped("Debian's archive", &locked.stderr);
            return;
        }
        let told = locked.exits(0).stderr;
        assert!(told.contains(": + bash ") && !told.contains("essential"), "{arguments}: {told}");
        let lock = read("goatbuild.lock");
        assert!(lock.contains("\nlayout = 2\n"), "{arguments}: {lock}");
        assert_eq!(read("images/tiny.pylock.toml"), wheels, "{arguments}");
        let told = left.told("plan --no-refresh").1;
        assert!(!told.contains("essential"), "{arguments}: {told}");
    }
}

#[test]
fn a_base_that_was_locked_then_is_built_to_the_same_bytes() {
    let left = Left::new("local");
    let built = ran(&mut left.command("apply --yes --only base:tiny"));
    if built.code != 0 && wants_network(&built.stderr) {
        peers::skipped("Debian's archive", &built.stderr);
        return;
    }
    built.exits(0);
    // As that version wrote it into the lock.
    let layer = "6376eeb6ec08de0a4ba658bbf17e602b2e531241ec1018cf0016ab13d819c2f2";
    assert!(left.root().join("cache/oci/blobs/sha256").join(layer).exists());
}

/// As a version of goatbuild finds it that raised the version of two kinds of steps.
#[test]
fn a_step_that_goatbuild_itself_changed_is_told_with_what_that_costs() {
    let left = Left::new("modal");
    for (kind, version) in [("deploy", 2), ("gateway", 1)] {
        left.remember(&format!(
            "update applied set fingerprint = replace(fingerprint, '{kind}\",\"version\":{version}', \
             '{kind}\",\"version\":0') where step like '{kind}:%'; \
             update rows set key = 'gb1-{}' where step like '{kind}:%';",
            "0".repeat(40)
        ));
    }
    let said = left.said("plan --no-refresh");
    let goatbuild = concat!("goatbuild ", env!("CARGO_PKG_VERSION"));
    for line in [
        format!("! {goatbuild} changed step deploy: 6 steps run again, on GPUs at $32.50/h"),
        format!("{goatbuild} changed this kind of step: version 0 → 2"),
    ] {
        assert!(said.contains(&line), "{line} is not in\n{said}");
    }
    let one = left.said("plan --no-refresh qwen3-4b --format markdown");
    let told = "changed step deploy: 1 step runs again, on GPUs at ";
    assert!(one.contains(told) && one.contains("version 0 "), "{one}");
    let json = left.to_do("--no-refresh");
    assert!(
        json["deploy:qwen3-4b"].contains(&"changed step version: 0 → 2".to_owned()),
        "{json:?}"
    );
}
