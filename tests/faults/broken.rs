//! Files with mistakes: they stop what needs them, and nothing else.

use super::project::Project;

const OTHER: &str = "specs/other.toml";

/// Two models that are served, of which `other` is about to get mistakes.
fn two() -> Project {
    let project = Project::built();
    let spec = project.read("specs/tiny.toml");
    project.write(OTHER, &spec);
    project.run(&["apply"]).succeeds();
    assert!(project.read("litellm.yaml").contains("other-local"));
    project
}

/// What is on disk of which nothing may go.
fn kept(project: &Project) -> [String; 3] {
    let state = project.state().join("faults-000001/default/deployments.json");
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
    let left_out: Vec<&str> = broken.iter().copied().chain(["left out, for mistakes"]).collect();
    for command in [
        &["plan", "tiny"][..],
        &["graph", "tiny"],
        &["test", "tiny"],
        &["show", "tiny", "--command"],
    ] {
        project.run(command).succeeds().says(&left_out);
    }
    project.run(&["plan", "--only", "deploy:tiny"]).succeeds().says(&left_out);
    project.run(&["why", "deploy:tiny"]).succeeds().says(&left_out);
    project.run(&["show", "tiny"]).succeeds();
    project.run(&["apply", "tiny"]).ran_nothing().says(&left_out);
    project.run(&["apply", "--only", "image:small"]).ran_nothing().says(&left_out);
    let status = project.run(&["status"]);
    let status = status.succeeds().says(&["which `goatbuild check` shows"]);
    assert!(status.stdout.contains("as specified"), "{}", status.stdout);
    for name in broken {
        let line = status.stdout.lines().find(|line| line.contains(name));
        assert!(line.is_some_and(|line| !line.contains("no spec")), "{name}: {}", status.stdout);
    }
    project.run(&["logs", "tiny"]).succeeds();
    project.run(&["unlock"]).succeeds();
    project.run(&["plan", "tiyn"]).fails(64, &["there is no model `tiyn`"]);
    assert_eq!(kept(project), before);
}

#[test]
fn a_mistake_in_one_spec_stops_nobody_who_asks_for_another_model() {
    let project = two();
    let spec = project.read(OTHER);
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("no TOML", format!("{spec}\n[[[").into(), "other.toml"),
        ("an unknown field", format!("imagee = 1\n{spec}").into(), "unknown field `imagee`"),
        ("no such image", spec.replace("\"small\"", "\"smal\"").into(), "there is no image `smal`"),
        ("no UTF-8", [spec.as_bytes(), b"# \xff\n"].concat(), "not UTF-8 text"),
        ("no such target", spec.replace("\"local\"", "\"modal\"").into(), "target.modal"),
        ("no weights", spec.replace("path:model", "path:modell").into(), "`modell` does not exist"),
    ];
    for (what, bytes, word) in cases {
        eprintln!("{what}");
        project.write(OTHER, bytes);
        if what == "no weights" {
            // What is missing on disk is no mistake to `check`, and none of a command that plans nothing.
            let before = kept(&project);
            project.run(&["plan"]).fails(65, &[word]);
            project.run(&["plan", "other"]).fails(65, &[word]);
            project.run(&["apply", "tiny"]).ran_nothing().says(&["left out", "other"]);
            assert_eq!(kept(&project), before);
        } else {
            goes_on_without(&project, &["other"], &[word]);
        }
        project.run(&["logs", "other"]).succeeds();
    }

    // Two at once, one of them through its image.
    project.write(OTHER, format!("imagee = 1\n{spec}"));
    project.write("specs/third.toml", spec.replace("\"small\"", "\"own\""));
    project.write("images/own.toml", "base = 3\n");
    goes_on_without(&project, &["other", "third"], &["unknown field `imagee`", "own.toml"]);
    let status = project.run(&["status"]);
    status.succeeds().says(&["image own and models other, third"]);

    // What two have that only one can have is a mistake of both, and of nobody else.
    std::fs::remove_file(project.path("images/own.toml")).expect("removes");
    let taken = format!("{spec}\n[gateway]\nalias = \"taken\"\n");
    project.write("specs/third.toml", &taken);
    project.write(OTHER, &taken);
    goes_on_without(&project, &["other", "third"], &["two models have the gateway alias `taken`"]);
    std::fs::remove_file(project.path("specs/third.toml")).expect("removes");

    // What is served can be stopped.
    project.write(OTHER, "[[[");
    project.run(&["destroy", "other", "--yes"]).succeeds().says(&["other: stopped"]);
    assert!(!project.read("litellm.yaml").contains("other-local"));
    assert!(project.read("litellm.yaml").contains("tiny-local"));
    project.write(OTHER, &spec);
    project.run(&["apply", "tiny"]).ran_nothing();
}

#[test]
fn a_mistake_in_the_projects_own_file_stops_nobody_who_looks_or_stops() {
    let project = two();
    let toml = project.read("goatbuild.toml");
    for (mistake, word) in [
        ("[projectt]\nx = 1\n", "unknown field `projectt`"),
        ("\n[target.local]\nruntime = 3\n", "runtime"),
        ("\n[environment.x\n", "goatbuild.toml"),
    ] {
        project.write("goatbuild.toml", format!("{toml}{mistake}"));
        let before = kept(&project);
        for command in [&["plan"][..], &["plan", "tiny"], &["apply", "tiny"], &["check"]] {
            project.run(command).fails(65, &[word]);
        }
        let status = project.run(&["status"]);
        status.succeeds().says(&["what can be told of goatbuild.toml"]);
        assert!(status.stdout.contains("tiny") && status.stdout.contains("other"), "{status:?}");
        project.run(&["logs", "other"]).succeeds();
        project.run(&["unlock"]).succeeds();
        assert_eq!(kept(&project), before);
    }
    project.run(&["destroy", "other", "--yes"]).succeeds().says(&["other: stopped"]);
    assert!(!project.read("litellm.yaml").contains("other-local"));
    project.write("goatbuild.toml", "[project]\nname = \"x\"\n");
    project.run(&["status"]).fails(65, &["goatbuild.toml"]);
    project.write("goatbuild.toml", &toml);
}
