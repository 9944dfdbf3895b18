//! `auth = "api-key"` on this machine: who has the key is answered, and nobody else.

use std::fs;

use walkdir::WalkDir;

use super::support::engines::Engine;
use super::support::project::Project;
use super::{KEY, MODELS, SPEC, serve, status, with_key};

const SECOND: &str = "hush-3b7e90-rotated";

fn keyed() -> Option<Project> {
    let mut project = Project::new()?;
    with_key(&mut project);
    serve(&project, "auth = \"api-key\"");
    Some(project)
}

/// Fails where one of these is in a file of the project's or of its state, or on a command line.
#[track_caller]
fn assert_nowhere(project: &Project, values: &[&str]) {
    let has = |bytes: &[u8]| {
        values.iter().any(|it| bytes.windows(it.len()).any(|found| found == it.as_bytes()))
    };
    for place in [project.root(), project.state()] {
        for entry in WalkDir::new(&place).into_iter().flatten() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            assert!(!has(&bytes), "{}", entry.path().display());
        }
    }
    for process in fs::read_dir("/proc").expect("a procfs").flatten() {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!has(&words), "{}", String::from_utf8_lossy(&words));
    }
}

#[test]
fn who_has_the_key_is_answered_and_it_is_written_down_nowhere() {
    let Some(project) = keyed() else { return };
    // Whoever plans needs none, and whoever applies is told before anything is done.
    let without = [("GOAT_KEY", "")];
    project
        .run_with("plan", &without)
        .exits(0)
        .says(&["the variable GOAT_KEY of the secret key is not set"]);
    project.run_with("apply", &without).exits(1).says(&["goatbuild::target::lacks", "GOAT_KEY"]);
    assert!(project.served("tiny").is_none());

    project.run("plan -o saved.json").exits(0);
    project.run("apply saved.json").exits(0).says(&["Authorization: Bearer $GOAT_KEY"]);
    let address = format!("127.0.0.1:{}", project.port("tiny"));
    for (key, answer) in [(None, 401), (Some("another"), 401), (Some(KEY), 200)] {
        assert_eq!(status(&address, MODELS, key), Some(answer), "{key:?}");
    }
    assert!(project.read("litellm.yaml").contains("api_key: os.environ/GOAT_KEY"));
    for command in ["test tiny", "status", "why deploy:tiny", "plan --json", "show tiny --command"]
    {
        project.run(command).exits(0);
    }
    project.run("status").exits(0).says(&["as specified", "auth api-key"]);
    assert_nowhere(&project, &[KEY]);
    assert_eq!(project.apply("").ran(), [""; 0]);

    // Another value is no change; that it was replaced is one.
    let second = [("GOAT_KEY", SECOND)];
    project.run_with("plan --detailed-exitcode", &second).exits(0);
    project.run_with("test tiny", &second).exits(1).says(&["HTTP 401", "generation"]);
    project.edit("goatbuild.toml", "generation = 1", "generation = 2");
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed secrets.key.generation"]);
    project.run_with("apply", &second).exits(0);
    assert_eq!(status(&address, MODELS, Some(KEY)), Some(401));
    assert_eq!(status(&address, MODELS, Some(SECOND)), Some(200));
    assert_nowhere(&project, &[KEY, SECOND]);

    // And without.
    serve(&project, "auth = \"none\"");
    let plan = project.plan("");
    assert!(plan.why("deploy:tiny").contains(&"changed serve.auth".to_owned()));
    project.run_with("apply", &second).exits(0);
    assert_eq!(status(&address, MODELS, None), Some(200));
    assert!(!project.read("litellm.yaml").contains("os.environ/GOAT_KEY"));
}

#[test]
fn a_server_that_answers_anybody_is_stopped_and_the_old_one_serves_again() {
    let Some(project) = keyed() else { return };
    project.apply("").ran();
    let instance = project.instance("tiny");
    let address = format!("127.0.0.1:{}", project.port("tiny"));
    let spec = project.read(SPEC);
    project.write(SPEC, &format!("env = {{ MODE = \"open\" }}\n{spec}"));
    project.run("apply").exits(1).says(&[
        "goatbuild::local::open",
        "to a request without the key (the old server runs again)",
        "401 or 403",
    ]);
    assert_ne!(project.instance("tiny"), instance);
    assert_eq!(status(&address, MODELS, None), Some(401));
    // Where nothing served before, nothing does.
    project.run("destroy tiny --yes").exits(0);
    project.run("apply").exits(1).says(&["goatbuild::local::open"]);
    assert_eq!(status(&address, MODELS, None), None);
}

#[test]
fn defaults_ask_for_a_key_where_there_is_one() {
    let Some(mut project) = Project::new() else { return };
    project.append("goatbuild.toml", "\n[defaults]\nserve.auth = \"api-key\"\n");
    project.apply("").ran();
    with_key(&mut project);
    assert!(project.plan("").why("deploy:tiny").contains(&"changed serve.auth".to_owned()));
    serve(&project, "auth = \"proxy\"");
    project
        .run("plan")
        .exits(65)
        .says(&["only \"none\" or \"api-key\" for a model on this machine"]);
    serve(&project, "");
    project.edit("goatbuild.toml", "api-key-secret = \"key\"", "api-key-secret = \"other\"");
    project.run("plan").exits(65).says(&["secrets.other.from", "where this machine finds it"]);
}

#[test]
fn every_runtime_hands_the_key_on_to_warm_up_and_to_serve() {
    for engine in Engine::all() {
        let Some(mut project) = keyed() else { return };
        project.served_by(engine);
        let spec = project.read(SPEC);
        project.write(SPEC, &format!("env = {{ COMPILE = \"once\" }}\n{spec}"));
        project.edit(SPEC, "name = \"command\"", "name = \"command\"\ncompiles = true");
        let ran = project.apply("").ran();
        assert!(ran.contains(&"warmup:tiny".to_owned()), "{}: {ran:?}", engine.name);
        let address = format!("127.0.0.1:{}", project.port("tiny"));
        for (key, answer) in [(None, 401), (Some(KEY), 200)] {
            assert_eq!(status(&address, MODELS, key), Some(answer), "{}", engine.name);
        }
        assert_nowhere(&project, &[KEY]);
        // Docker and Podman share this machine's network here, and so its addresses.
        serve(&project, "auth = \"api-key\"\nhost = \"::\"");
        project.apply("").ran();
        let address = format!("[::1]:{}", project.port("tiny"));
        assert_eq!(status(&address, MODELS, Some(KEY)), Some(200), "{}", engine.name);
        project.run("status").exits(0).says(&["running", "as specified"]);
    }
}
