use std::path::Path;

use super::*;
use crate::debian::Mirrors;
use crate::digest::Digest;
use crate::fetch::Patience;
use crate::lock::{Built, LockFile};
use crate::platform::{Architecture, MajorMinor, Runtime};
use crate::project;
use crate::step::Fact;

fn open(root: &Path) -> Workspace {
    let sources = project::load(root).expect("a project");
    let settings = Settings {
        offline: true,
        locked: false,
        state: root.join("state"),
        program: root.join("goatbuild"),
        epoch: 0,
        patience: Patience::default(),
        mirrors: Mirrors::default(),
        files_mirror: None,
        credentials: Vec::new(),
        engines: crate::engines::built_in(),
        targets: crate::targets::built_in(),
        variable: |_| None,
        hub: || panic!("no hub is asked"),
    };
    let project = project::read(&sources, None).expect("a project without mistakes");
    Workspace::open(root.to_owned(), project, settings).expect("a workspace")
}

#[test]
fn commands_at_the_same_time_lose_nothing_that_the_other_locked() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("goatbuild.toml"), "[project]\nid = \"one-2f\"\n")
        .unwrap();
    let key = format!("gb1-{}", "0".repeat(40)).parse().expect("a key");
    let built = || Built { key, facts: [Fact::DIGEST.is(Digest::of(b"an image"))].into() };
    let name = |worker: usize, at: usize| StepId::from(format!("image:{worker}-{at}").as_str());
    // Each was opened before any of them wrote.
    let workspaces: Vec<Workspace> = (0..4).map(|_| open(directory.path())).collect();
    std::thread::scope(|scope| {
        for (worker, workspace) in workspaces.iter().enumerate() {
            scope.spawn(move || {
                for at in 0..10 {
                    let insert =
                        |lock: &mut LockFile| drop(lock.built.insert(name(worker, at), built()));
                    workspace.lock.change(insert).expect("the lock is written");
                }
            });
        }
    });
    let kept = open(directory.path()).lock.read(|lock| lock.built.len());
    assert_eq!(kept, 40);
}

/// A project with one model, and what is warned about it.
fn warnings(project: &str, spec: &str) -> Vec<String> {
    warnings_on("{ debian = \"bookworm\" }", project, spec, |_| ())
}

/// The same on another base, once `settle` has done what locking does.
fn warnings_on(
    base: &str,
    project: &str,
    spec: &str,
    settle: impl FnOnce(&Workspace),
) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let project = format!("[project]\nid = \"one-2f\"\n{project}[gateway.litellm]\nconfig = \"g\"");
    write("goatbuild.toml", &project);
    write("specs/m.toml", &format!("image = \"i\"\n[model]\nsource = \"path:m\"\n{spec}"));
    write("images/i.toml", &format!("base = {base}\n"));
    let workspace = open(directory.path());
    settle(&workspace);
    let warnings = workspace.check_engines(&[]).expect("no mistakes");
    warnings.into_iter().map(|it| format!("{}: {} ({})", it.model, it.message, it.help)).collect()
}

const TOOLS: &str = "[engine]\nenable-auto-tool-choice = true\ntool-call-parser = \"hermes\"\n";

#[test]
fn an_alias_that_clients_do_not_know_is_warned_about_and_one_that_they_send_tools_to() {
    assert_eq!(warnings("", TOOLS), [""; 0]);
    let found = warnings("", &format!("{TOOLS}[gateway]\nalias = \"small\"\n"));
    assert!(
        found.len() == 1 && found[0].starts_with("m: small doesn't end in `-local`"),
        "{found:?}"
    );
    assert!(found[0].contains("name it `small-local`"), "{found:?}");
    let found = warnings("", "");
    assert!(found.len() == 1 && found[0].starts_with("m: m-local can't call tools"), "{found:?}");
}

#[test]
fn what_clients_go_by_is_the_projects_to_say() {
    let ours = "[gateway]\nalias-suffix = \"@home\"\n";
    assert_eq!(warnings(ours, TOOLS), [""; 0], "the default alias has the suffix");
    let found = warnings(ours, &format!("{TOOLS}[gateway]\nalias = \"m-local\"\n"));
    assert!(found.len() == 1 && found[0].contains("doesn't end in `@home`"), "{found:?}");
    assert!(warnings(ours, "")[0].starts_with("m: m@home can't call tools"));
    let none = "[gateway]\nalias-suffix = \"\"\n";
    assert_eq!(warnings(none, ""), [""; 0]);
    assert_eq!(warnings(none, "[gateway]\nalias = \"small\"\n"), [""; 0]);
}

#[test]
fn extra_arguments_are_told_as_not_checked() {
    let spec = format!("{TOOLS}extra-args = [\"--new\", \"1\"]\n");
    let found = warnings("", &spec);
    assert!(
        found.len() == 1 && found[0].starts_with("m: `engine.extra-args` isn't checked: --new 1"),
        "{found:?}"
    );
}

#[test]
fn flags_for_an_engine_that_only_the_base_can_bring_are_warned_about() {
    let base = "\"docker.io/vllm/vllm-openai:v0.13.0\"";
    assert_eq!(warnings_on(base, "", TOOLS, |_| ()), [""; 0], "not locked yet");
    let found = warnings_on(base, "", TOOLS, |workspace| {
        let architecture = Architecture::Amd64;
        let version = |major, minor| MajorMinor { major, minor };
        let (glibc, python) = (version(2, 35), version(3, 12));
        let runtime = Runtime { architecture, glibc, python };
        let name = workspace.project.images.keys().next().expect("an image").clone();
        workspace
            .images
            .settle(name, LockedParts { runtime, wheels: Vec::new(), local: Vec::new() });
    });
    assert!(
        found.len() == 1 && found[0].starts_with("m: the flags of m can't be checked"),
        "{found:?}"
    );
}
