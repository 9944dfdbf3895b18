//! Files with mistakes: they stop what needs them, and nothing else.

use super::built;
use crate::support::project::Project;

const OTHER: &str = "specs/other.toml";

/// Two models that are served, of which `other` is about to get mistakes.
fn two() -> Option<Project> {
    let project = built()?;
    let spec = project.read("specs/tiny.toml");
    project.write(OTHER, &spec);
    project.run(&["apply"]).exits(0);
    assert!(project.read("litellm.yaml").contains("other-local"));
    Some(project)
}

/// What is on disk of which nothing may go.
fn kept(project: &Project) -> [String; 3] {
    let state = project.environment().join("deployments.json");
    let state = std::fs::read_to_string(state).expect("reads");
    [project.read("litellm.yaml"), project.read("goatbuild.lock"), state]
}

/// Asserts that all goes on that doesn't need these models, and that all else is refused.
#[track_caller]
fn goes_on_without(project: &Project, broken: &[&str], words: &[&str]) {
    let before = kept(project);
    for command in [&["plan"][..], &["apply"], &["apply", "--prune"], &["check"], &["gc", "-n"]] {
        project.run(command).fails(65, words);
    }
    for name in broken {
        for command in ["plan", "apply", "test", "graph"] {
            project.run(&[command, name]).fails(65, words);
        }
        project.run(&["plan", "tiny", name]).fails(65, words);
        project.run(&["apply", "--only", &format!("deploy:{name}")]).fails(65, words);
    }
    let left_out: Vec<&str> = broken.iter().copied().chain(["left out: "]).collect();
    for command in [
        &["plan", "tiny"][..],
        &["graph", "tiny"],
        &["test", "tiny"],
        &["show", "tiny", "--command"],
    ] {
        project.run(command).exits(0).tells(&left_out);
    }
    project.run(&["plan", "--only", "deploy:tiny"]).exits(0).tells(&left_out);
    project.run(&["why", "deploy:tiny"]).exits(0).tells(&left_out);
    project.run(&["show", "tiny"]).exits(0);
    project.run(&["apply", "tiny"]).ran_nothing().tells(&left_out);
    project.run(&["apply", "--only", "image:tiny"]).ran_nothing().tells(&left_out);
    let status = project.run(&["status"]);
    let status = status.exits(0).tells(&["which `goatbuild check` shows"]);
    assert!(status.stdout.contains("as specified"), "{}", status.stdout);
    for name in broken {
        let line = status.stdout.lines().find(|line| line.contains(name));
        assert!(line.is_some_and(|line| !line.contains("no spec")), "{name}: {}", status.stdout);
    }
    project.run(&["logs", "tiny"]).exits(0);
    project.run(&["unlock"]).exits(0);
    project.run(&["plan", "tiyn"]).fails(64, &["there is no model `tiyn`"]);
    assert_eq!(kept(project), before);
}

#[test]
fn a_mistake_in_one_spec_stops_nobody_who_asks_for_another_model() {
    let Some(project) = two() else { return };
    let spec = project.read(OTHER);
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("no TOML", format!("{spec}\n[[[").into(), "other.toml"),
        ("an unknown field", format!("imagee = 1\n{spec}").into(), "unknown field `imagee`"),
        ("no such image", spec.replace("\"tiny\"", "\"tin\"").into(), "there is no image `tin`"),
        ("no UTF-8", [spec.as_bytes(), b"# \xff\n"].concat(), "not UTF-8 text"),
        ("no such target", format!("target = \"modal\"\n{spec}").into(), "target.modal"),
        ("no weights", spec.replace("path:model", "path:modell").into(), "`modell` does not exist"),
    ];
    for (what, bytes, word) in cases {
        eprintln!("{what}");
        project.write(OTHER, &bytes);
        if what == "no weights" {
            // What is missing on disk is no mistake to `check`, and none of a command that plans nothing.
            let before = kept(&project);
            project.run(&["plan"]).fails(65, &[word]);
            project.run(&["plan", "other"]).fails(65, &[word]);
            project.run(&["apply", "tiny"]).ran_nothing().tells(&["left out", "other"]);
            assert_eq!(kept(&project), before);
        } else {
            goes_on_without(&project, &["other"], &[word]);
        }
        project.run(&["logs", "other"]).exits(0);
    }

    // Two at once, one of them through its image.
    project.write(OTHER, &format!("imagee = 1\n{spec}"));
    project.write("specs/third.toml", &spec.replace("\"tiny\"", "\"own\""));
    project.write("images/own.toml", "base = 3\n");
    goes_on_without(&project, &["other", "third"], &["unknown field `imagee`", "own.toml"]);
    let status = project.run(&["status"]);
    status.exits(0).tells(&["image own and models other, third"]);

    // What two have that only one can have is a mistake of both, and of nobody else.
    std::fs::remove_file(project.path("images/own.toml")).expect("removes");
    let taken = format!("{spec}\n[gateway]\nalias = \"taken\"\n");
    project.write("specs/third.toml", &taken);
    project.write(OTHER, &taken);
    goes_on_without(&project, &["other", "third"], &["two models have the gateway alias `taken`"]);
    std::fs::remove_file(project.path("specs/third.toml")).expect("removes");

    // What is served can be stopped.
    project.write(OTHER, "[[[");
    project.run(&["destroy", "other", "--yes"]).exits(0).tells(&["other: stopped"]);
    assert!(!project.read("litellm.yaml").contains("other-local"));
    assert!(project.read("litellm.yaml").contains("tiny-local"));
    project.write(OTHER, &spec);
    project.run(&["apply", "tiny"]).ran_nothing();
}

#[test]
fn a_mistake_in_the_projects_own_file_stops_nobody_who_looks_or_stops() {
    let Some(project) = two() else { return };
    let toml = project.read("goatbuild.toml");
    for (mistake, word) in [
        ("[projectt]\nx = 1\n", "unknown field `projectt`"),
        ("\n[target.local]\nruntime = 3\n", "runtime"),
        ("\n[environment.x\n", "goatbuild.toml"),
    ] {
        project.write("goatbuild.toml", &format!("{toml}{mistake}"));
        let before = kept(&project);
        for command in [&["plan"][..], &["plan", "tiny"], &["apply", "tiny"], &["check"]] {
            project.run(command).fails(65, &[word]);
        }
        let status = project.run(&["status"]);
        let status = status.exits(0).tells(&["what can be read of goatbuild.toml"]);
        assert!(status.stdout.contains("tiny") && status.stdout.contains("other"), "{status:?}");
        project.run(&["logs", "other"]).exits(0);
        project.run(&["unlock"]).exits(0);
        assert_eq!(kept(&project), before);
    }
    project.run(&["destroy", "other", "--yes"]).exits(0).tells(&["other: stopped"]);
    assert!(!project.read("litellm.yaml").contains("other-local"));
    project.write("goatbuild.toml", "[project]\nname = \"x\"\n");
    project.run(&["status"]).fails(65, &["goatbuild.toml"]);
    project.write("goatbuild.toml", &toml);
}
