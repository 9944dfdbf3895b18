//! From the first deployment to the last.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use super::support::engines::Engine;
use super::support::eventually;
use super::support::project::Project;
use super::{SPEC, applied, assert_serves, own_image, project, set_env};

/// The container or process that serves, as the state tells.
fn container(project: &Project) -> String {
    let served = project.served("tiny").expect("it is served");
    served["instance"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_deployment_outlives_the_command_is_seen_and_goes_without_a_trace() {
    for engine in Engine::all() {
        let Some(project) = applied(engine) else { return };
        assert_serves(&project, engine, "hello");
        assert_eq!(project.apply("").ran(), Vec::<String>::new(), "{}", engine.name);
        let kind = if engine.name == "embedded" { "process" } else { "container goatbuild-tiny-" };
        project.run("status").exits(0).says(&["running", "as specified", kind]);
        let log = || project.run("logs tiny").exits(0).stdout;
        eventually("the log has what the server says", || log().contains("starting"));
        let chosen = project.run("check").exits(0).stdout.to_lowercase();
        assert!(
            chosen.contains(&format!("local runtime: {}", engine.name))
                || chosen.contains(&format!("local runtime: the {}", engine.name)),
            "{chosen}"
        );
        let port = project.port("tiny");
        project.run("destroy tiny --yes").exits(0).says(&["stopped"]);
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{}", engine.name);
        let left = engine.containers(&project.state().join("table-4c19d2/default"));
        assert_eq!(left, Vec::<String>::new());
        project.run("status").exits(0).says(&["absent"]);
    }
}

#[test]
fn an_edit_replaces_the_server_on_the_same_port() {
    for engine in Engine::all() {
        let Some(project) = applied(engine) else { return };
        let port = project.port("tiny");
        set_env(&project, "GREETING = \"ciao, \\\"a b\\\"\"");
        assert_eq!(project.plan("").why("deploy:tiny"), ["changed env.GREETING"]);
        assert_eq!(project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
        assert_serves(&project, engine, "ciao, \"a b\"");
        assert_eq!(project.port("tiny"), port, "{}", engine.name);
    }
}

#[test]
fn a_server_that_does_not_get_up_is_quoted_and_the_old_one_serves_again() {
    for engine in Engine::all() {
        let Some(project) = applied(engine) else { return };
        let port = project.port("tiny");
        set_env(&project, "MODE = \"crash\"");
        project.run("apply").exits(1).says(&[
            "the server ended before it answered (the old server runs again)",
            "no kernel image is available",
        ]);
        assert_serves(&project, engine, "hello");
        project.append("specs/tiny.toml", "\n[serve]\nstartup-timeout = \"2s\"\n");
        project.edit(SPEC, "crash", "deaf");
        project.run("apply").exits(1).says(&[
            "answered HTTP 503 to GET /health, never 200, within 2 s (the old server runs again)",
            "starting deaf",
        ]);
        assert_serves(&project, engine, "hello");
        assert_eq!(project.port("tiny"), port, "{}", engine.name);
    }
}

#[test]
fn a_program_that_is_not_in_the_image_is_named_and_the_old_server_serves_again() {
    for engine in Engine::all() {
        let Some(project) = applied(engine) else { return };
        project.edit(SPEC, "\"python3\"", "\"python2\"");
        project.run("apply").exits(1).says(&["python2"]);
        assert_serves(&project, engine, "hello");
    }
}

#[test]
fn a_server_that_ends_behind_our_back_is_drift_and_serves_again_on_its_port() {
    let Some(project) = applied(Engine::embedded()) else { return };
    project.kill("tiny");
    assert_eq!(project.plan("").why("deploy:tiny"), ["drift process"]);
    for engine in Engine::with_containers() {
        let Some(project) = applied(engine) else { return };
        let port = project.port("tiny");
        for (deed, found) in [
            (&["kill"][..], "ended with status 137"),
            (&["rm", "--force"], "removed"),
            (&["pause"], "paused"),
            (&["restart", "-t", "0"], "started again by somebody else"),
        ] {
            let (verb, options) = deed.split_first().expect("a verb");
            let container = container(&project);
            let mut words = vec!["container", verb];
            words.extend(options);
            words.push(&container);
            engine.ask(&words);
            let plan = project.plan("");
            assert_eq!(plan.why("deploy:tiny"), ["drift container"], "{verb}");
            assert_eq!(plan.step("deploy:tiny")["reasons"][0]["new"], found, "{}", engine.name);
            project.run("status").exits(0).says(&["stopped", found]);
            assert_eq!(project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
            assert_serves(&project, engine, "hello");
            assert_eq!(project.port("tiny"), port, "{}", engine.name);
        }
    }
}

#[test]
fn an_image_that_was_removed_there_is_handed_over_again() {
    for engine in Engine::with_containers() {
        let Some(project) = project(engine) else { return };
        own_image(&project, "removed");
        project.apply("").ran();
        let served = project.served("tiny").expect("it is served");
        let image = served["recipe"]["image"].as_str().expect("an id").to_owned();
        engine.ask(&["container", "rm", "--force", &container(&project)]);
        engine.ask(&["image", "rm", "--force", &image]);
        assert_eq!(project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
        assert_serves(&project, engine, "hello");
    }
}

#[test]
fn kill_9_at_any_moment_and_the_next_apply_ends_with_one_server_on_the_same_port() {
    for engine in Engine::with_containers() {
        let Some(project) = applied(engine) else { return };
        let port = project.port("tiny");
        for (turn, delay) in [0, 60, 150, 300, 450, 600, 800, 1200].into_iter().enumerate() {
            let (mut greeting, mut delay) = (format!("turn {turn}"), delay);
            let is_killed = |greeting: &str, delay| {
                set_env(&project, &format!("GREETING = \"{greeting}\""));
                kill_once(&project, "deploy:tiny", || {
                    std::thread::sleep(Duration::from_millis(delay));
                    true
                })
            };
            while !is_killed(&greeting, delay) {
                // It was done before: another one is killed sooner.
                assert_ne!(delay, 0, "{}: {greeting}", engine.name);
                greeting += "!";
                delay /= 2;
            }
            if turn % 2 == 1 {
                project.apply("");
                assert_serves(&project, engine, &greeting);
                assert_eq!(project.port("tiny"), port, "{} after {delay} ms", engine.name);
                assert_eq!(project.apply("").ran(), Vec::<String>::new());
            }
        }
    }
}

/// Starts an apply, and kills it once a step began and this is so; says whether it was not done before.
fn kill_once(project: &Project, step: &str, holds: impl FnMut() -> bool) -> bool {
    let mut apply = project.command("apply --json").stdout(Stdio::piped()).spawn().expect("starts");
    let lines = BufReader::new(apply.stdout.take().expect("output")).lines();
    let began = format!("\"id\":\"{step}\"");
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line.contains("step_started") && line.contains(&began)), "{step}");
    eventually(step, holds);
    apply.kill().expect("is killed");
    apply.wait().expect("ends").signal() == Some(9)
}

#[test]
fn caches_are_warmed_in_a_container_that_does_not_outlive_a_killed_apply() {
    for engine in Engine::all() {
        let Some(project) = project(engine) else { return };
        project.edit(SPEC, "name = \"command\"", "name = \"command\"\ncompiles = true");
        set_env(&project, "COMPILE = \"once\"\nMODE = \"deaf\"");
        let state = project.state().join("table-4c19d2/default");
        let log = || std::fs::read_to_string(state.join("logs/tiny.log")).unwrap_or_default();
        let is_killed = kill_once(&project, "warmup:tiny", || {
            // One that was made, and not started, has nobody to remove it, and occupies nothing.
            !engine.running(&state).is_empty() || log().contains("starting")
        });
        assert!(is_killed, "{}: it was done before", engine.name);
        eventually("no engine is left", || engine.containers(&state).is_empty());
        set_env(&project, "COMPILE = \"once\"");
        let ran = project.apply("").ran();
        assert!(ran.contains(&"warmup:tiny".to_owned()), "{ran:?}");
        assert_serves(&project, engine, "hello");
        assert_eq!(project.apply("").ran(), Vec::<String>::new(), "{}", engine.name);
    }
}

#[test]
fn a_model_moves_from_one_runtime_to_another_for_a_stated_reason() {
    let engines = Engine::all();
    let Some(mut project) = applied(engines[0]) else { return };
    let port = project.port("tiny");
    let pairs = engines.iter().zip(engines.iter().skip(1).chain(&engines[..1]));
    for (from, to) in pairs.filter(|(from, to)| from.name != to.name) {
        project.served_by(to);
        assert_eq!(project.plan("").why("deploy:tiny"), ["changed target.local.runtime"]);
        let applied = project.apply("");
        assert_eq!(applied.ran(), ["deploy:tiny", "smoke:tiny"], "{} to {}", from.name, to.name);
        assert_serves(&project, to, "hello");
        assert_eq!(project.port("tiny"), port);
        let left = from.containers(&project.state().join("table-4c19d2/default"));
        assert_eq!(left, Vec::<String>::new(), "{} to {}", from.name, to.name);
    }
}

#[test]
fn the_old_server_comes_back_with_the_runtime_that_it_had() {
    let engines = Engine::with_containers();
    for engine in &engines {
        let Some(mut project) = applied(Engine::embedded()) else { return };
        project.served_by(engine);
        set_env(&project, "MODE = \"crash\"");
        project.run("apply").exits(1).says(&["(the old server runs again)"]);
        assert_serves(&project, Engine::embedded(), "hello");
        let left = engine.containers(&project.state().join("table-4c19d2/default"));
        assert_eq!(left, Vec::<String>::new());
        assert_eq!(project.served("tiny").expect("served")["recipe"]["runtime"], "embedded");
    }
}

#[test]
fn a_container_is_bound_to_a_path_and_that_its_volume_left_it_is_noticed() {
    for engine in Engine::all() {
        let Some(project) = applied(engine) else { return };
        let volume = project.volumes().join("table-4c19d2-model-cache");
        let aside = volume.with_file_name("aside");
        let why = |project: &Project| project.plan("").why("deploy:tiny");
        std::fs::rename(&volume, &aside).unwrap();
        assert_eq!(why(&project), ["drift volume model-cache"], "{}", engine.name);
        project.run("status").says(&["volume model-cache deleted"]);
        // Back in its place, it is the one that is mounted.
        std::fs::rename(&aside, &volume).unwrap();
        assert_eq!(project.apply("").ran(), Vec::<String>::new(), "{}", engine.name);
        let copied = std::process::Command::new("cp").arg("-a").args([&volume, &aside]).status();
        assert!(copied.unwrap().success());
        std::fs::remove_dir_all(&volume).unwrap();
        std::fs::rename(&aside, &volume).unwrap();
        assert_eq!(why(&project), ["drift volume model-cache"], "{}", engine.name);
        assert_eq!(project.apply("").ran(), ["deploy:tiny", "smoke:tiny"], "{}", engine.name);
        assert_serves(&project, engine, "hello");
        assert_eq!(project.apply("").ran(), Vec::<String>::new(), "{}", engine.name);
    }
}

#[test]
fn a_secret_is_in_the_server_and_in_no_argument() {
    const VALUE: &str = "hush-9d20-container";
    for engine in Engine::all() {
        let Some(project) = project(engine) else { return };
        project.append("goatbuild.toml", "\n[secrets]\ngreeting.from.env = \"GOAT_GREETING\"\n");
        let spec = project.read(SPEC);
        project.write(SPEC, &format!("secret-env = {{ GREETING = \"greeting\" }}\n{spec}"));
        project.run_with("apply", &[("GOAT_GREETING", VALUE)]).exits(0);
        assert_serves(&project, engine, VALUE);
        let state = std::fs::read(project.environment().join("deployments.json")).expect("a file");
        assert!(!String::from_utf8_lossy(&state).contains(VALUE), "{}", engine.name);
        // The program that a container is made with stays as its monitor with Podman.
        for process in std::fs::read_dir("/proc").expect("a procfs").flatten() {
            let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&words).contains(VALUE), "{}", engine.name);
        }
    }
}
