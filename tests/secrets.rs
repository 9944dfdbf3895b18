//! `[secrets]` and `secret-env` on this machine: a server gets the value, and nothing else has it.
#![cfg(target_os = "linux")]

use crate::support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use support::project::Project;
use walkdir::WalkDir;

const SPEC: &str = "specs/tiny.toml";

/// A project whose model answers with what is in a secret.
fn project(from: &str) -> Option<Project> {
    let project = Project::new()?;
    project.append("goatbuild.toml", &format!("\n[secrets.greeting]\nfrom = {from}\n"));
    take(&project);
    Some(project)
}

fn take(project: &Project) {
    let spec = project.read(SPEC);
    project.write(SPEC, &format!("secret-env = {{ GREETING = \"greeting\" }}\n{spec}"));
}

/// Fails where one of these is in a file of the project's or of its state, or in what a process of either
/// was started with that is no server.
#[track_caller]
fn assert_nowhere(project: &Project, values: &[&str]) {
    let has = |bytes: &[u8]| {
        values.iter().any(|it| bytes.windows(it.len()).any(|found| found == it.as_bytes()))
    };
    let mut files = 0;
    for place in [project.root(), project.state()] {
        for entry in
            WalkDir::new(&place).into_iter().flatten().filter(|it| it.file_type().is_file())
        {
            // What it answers in its test is the secret, in these tests alone.
            if entry.file_name() == "smoke_tiny.log" {
                continue;
            }
            files += 1;
            assert!(
                !has(&fs::read(entry.path()).unwrap_or_default()),
                "{}",
                entry.path().display()
            );
        }
    }
    assert!(files > 10, "{files} files were looked at");
    for process in fs::read_dir("/proc").expect("a procfs").flatten() {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!has(&words), "{}", String::from_utf8_lossy(&words));
        let is_ours =
            fs::read_link(process.path().join("exe")).is_ok_and(|it| it.ends_with("goatbuild"));
        let variables = fs::read(process.path().join("environ")).unwrap_or_default();
        assert!(!is_ours || !has(&variables), "a supervisor has it");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .permissions()
        .mode()
        & 0o777
}

#[test]
fn a_server_has_the_value_and_nothing_else_does() {
    const FIRST: &str = "hush-0c7f1b-first";
    const SECOND: &str = "hush-0c7f1b-second";
    let Some(project) = project("{ env = \"GOAT_GREETING\" }") else { return };
    let with = |value| [("GOAT_GREETING", value)];
    // Nobody needs it to plan, and nobody applies without it.
    project
        .run("plan")
        .exits(0)
        .says(&["the variable GOAT_GREETING of the secret greeting is not set"]);
    let refused = project.run("apply").exits(1);
    refused.says(&[
        "goatbuild::target::lacks",
        "GOAT_GREETING",
        "deploy:tiny",
        "set it where goatbuild runs",
    ]);
    assert!(project.served("tiny").is_none());

    project.run_with("plan -o saved.json", &with(FIRST)).exits(0);
    project.run_with("apply saved.json", &with(FIRST)).exits(0);
    assert_eq!(project.ask("tiny").as_deref(), Some(FIRST));
    assert_nowhere(&project, &[FIRST]);
    for file in [
        project.path("saved.json"),
        project.path("cache/state.db"),
        project.environment().join("deployments.json"),
    ] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    // Another value is no other deployment, and no value isn't either.
    assert_eq!(
        project.run_with("plan", &with(SECOND)).exits(0).stdout,
        project.run("plan").exits(0).stdout
    );
    assert_eq!(project.plan("").ids("fresh").len(), 7);
    project.run("why deploy:tiny").exits(0).says(&["secret-env.GREETING", "greeting"]);

    // A new one that does not start: the old server, started again, has the same secret.
    project.append(SPEC, "\n[env]\nMODE = \"crash\"\n");
    let failed = project.run_with("apply", &with(FIRST)).exits(1);
    failed.says(&["the old server runs again"]);
    assert_eq!(project.ask("tiny").as_deref(), Some(FIRST));
    project.edit(SPEC, "\n[env]\nMODE = \"crash\"\n", "");
    assert_eq!(project.plan("").ids("run"), ["smoke:tiny"]);
    project.run("show tiny --command").exits(0).says(&["GREETING='(hidden)'"]);

    project.append("goatbuild.toml", "generation = 2\n");
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["changed secrets.greeting.generation"]);
    project.run_with("apply", &with(SECOND)).exits(0);
    assert_eq!(project.ask("tiny").as_deref(), Some(SECOND));
    assert_nowhere(&project, &[FIRST, SECOND]);
}

#[test]
fn a_value_may_be_in_a_file_or_be_printed_by_a_command_that_only_apply_runs() {
    let Some(project) = project("{ command = [\"sh\", \"-c\", \"date >> asked; cat ../token\"] }")
    else {
        return;
    };
    let token = project.directory().join("token");
    fs::write(&token, "hush-5e21-command\n").expect("a file");
    project.run("plan").exits(0).says(&["run  deploy:tiny"]);
    project.run("status").exits(0);
    project.run("check").exits(0);
    assert!(!project.path("asked").exists(), "only apply asks");
    project.apply("").ran();
    assert_eq!(project.ask("tiny").as_deref(), Some("hush-5e21-command"));
    assert_eq!(project.read("asked").lines().count(), 1);
    assert_eq!(project.apply("").ran(), [] as [&str; 0]);
    assert_eq!(project.read("asked").lines().count(), 1, "a server that stands needs none");

    // Where it is found is in no key; what is found there fails before the old server is stopped.
    project.edit(
        "goatbuild.toml",
        "{ command = [\"sh\", \"-c\", \"date >> asked; cat ../token\"] }",
        "{ file = \"../token\" }",
    );
    assert_eq!(project.plan("").ids("fresh").len(), 7);
    let instance = project.instance("tiny");
    project.append("goatbuild.toml", "generation = 2\n");
    fs::write(&token, "\n").expect("a file");
    project.run("apply").exits(1).says(&[
        "goatbuild::secret::unusable",
        "is empty",
        "/../token; nothing was stopped",
    ]);
    assert_eq!(project.instance("tiny"), instance);
    assert_eq!(project.ask("tiny").as_deref(), Some("hush-5e21-command"));
    fs::remove_file(&token).expect("removed");
    project.run("plan").exits(0).says(&["the secret greeting has no file"]);
    fs::write(&token, "hush-5e21-file").expect("a file");
    project.apply("").ran();
    assert_eq!(project.ask("tiny").as_deref(), Some("hush-5e21-file"));
}

#[test]
fn mistakes_are_told_in_their_places() {
    let Some(project) = Project::new() else { return };
    take(&project);
    project.run("plan").exits(65).says(&[
        "no secret `greeting`",
        "goatbuild::spec::dangling_name",
        "from = { env = \"GREETING\" }",
    ]);
    project.append("goatbuild.toml", "\n[secrets]\ngreetin = { from = { env = \"G\" } }\n");
    project.run("plan").exits(65).says(&["no secret `greeting`", "did you mean `greetin`?"]);
    for (secret, told) in [
        ("{}", "secrets.greeting.from"),
        ("{ from = {} }", "secrets.greeting.from.env"),
        ("{ from = { env = \"1X\" } }", "not starting with a digit"),
        ("{ from = { env = \"X\", file = \"y\" } }", "one of the two"),
        ("{ from = { command = [] } }", "a program and its arguments"),
        ("{ from = { vault = \"y\" } }", "secrets.greeting.from.vault"),
        ("{ from = { env = \"X\" }, generation = 0 }", "generation"),
        ("\"hush-in-the-open\"", "a table"),
    ] {
        let text = Project::undisturbed("goatbuild.toml");
        project.write("goatbuild.toml", &format!("{text}\n[secrets]\ngreeting = {secret}\n"));
        project.run("plan").exits(65).says(&[told]);
    }
    // Each environment says where it finds it, in place of the others.
    let text = Project::undisturbed("goatbuild.toml");
    let both = "\n[secrets]\ngreeting.from.env = \"X\"\n[environment.ci.secrets]\ngreeting.from.file = \"y\"\n";
    project.write("goatbuild.toml", &format!("{text}{both}"));
    project.run("plan").exits(0).says(&["the variable X of the secret"]);
    project.run("plan --env ci").exits(0).says(&["has no file", "/y"]);
    // What programs around the server go by is nobody's secret: Docker's client would take it, too.
    let spec = project.read(SPEC);
    project.write(SPEC, &spec.replace("{ GREETING", "{ DOCKER_HOST"));
    project.run("plan").exits(65).says(&["secret-env.DOCKER_HOST", "programs around the server"]);
    project.write(SPEC, &spec);
    // A variable is set once, and not one that goatbuild sets or an engine writes down.
    project.append(SPEC, "\n[env]\nGREETING = \"hello\"\n");
    project.run("plan").exits(65).says(&["secret-env.GREETING", "`env` does not set as well"]);
}

#[test]
fn a_secret_in_the_open_is_warned_of_and_never_printed() {
    const OPEN: &str = "hush-in-the-open";
    let Some(project) = Project::new() else { return };
    project.append(SPEC, &format!("\n[env]\nHF_TOKEN = \"{OPEN}\"\nHF_TOKEN_PATH = \"/t\"\nTOKENIZERS_PARALLELISM = \"false\"\n"));
    let plan = project.run("plan").exits(0);
    plan.says(&["`env` holds HF_TOKEN in the open", "secret-env"]);
    project.apply("").ran();
    project.edit(SPEC, OPEN, "hush-in-the-open-2");
    for command in [
        "plan",
        "plan --json",
        "plan --format markdown",
        "why deploy:tiny",
        "show tiny",
        "show tiny --command",
        "status",
        "status --json",
        "graph --plain",
        "plan -o saved.json",
        "apply",
    ] {
        let ran = project.run(command).exits(0);
        assert!(
            !ran.stdout.contains(OPEN) && !ran.stderr.contains(OPEN),
            "{command}: {}{}",
            ran.stdout,
            ran.stderr
        );
    }
    assert!(!project.read("saved.json").contains(OPEN));
    project.edit(SPEC, "hush-in-the-open-2", "hush-in-the-open-3");
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["changed env.HF_TOKEN"]);
    let reason = &plan.step("deploy:tiny")["reasons"][0];
    assert_eq!(
        (reason["old"].as_str(), reason["new"].as_str()),
        (Some("(hidden)"), Some("(hidden)"))
    );
    // A plan that was saved before is none of the next value.
    project.run("plan -o saved.json").exits(0);
    project.edit(SPEC, "hush-in-the-open-3", "hush-in-the-open-4");
    project.run("apply saved.json").exits(3);
}
