//! `goatbuild service`: what it writes, as systemd itself reads it, and what systemd makes of it.
#![cfg(target_os = "linux")]

mod manager;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::debian::DebianRoot;
use crate::support::installed;
use crate::support::peers::skipped;
use crate::support::project::{Project, copy_all, ran};

/// Makes this look like a machine that systemd runs: `sd_booted(3)` looks for this directory alone.
const BOOTED: &str =
    "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec \"$0\" \"$@\"";

/// A project whose user has a home of his own, on a machine that systemd runs.
fn at_home() -> Option<Project> {
    let mut project = Project::written();
    let home = project.directory().to_str().expect("UTF-8").to_owned();
    project.variable("HOME", &home);
    project.variable("XDG_CONFIG_HOME", "");
    project.wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", BOOTED]
        .map(str::to_owned)
        .to_vec();
    let mut tried = Command::new(&project.wrapper[0]);
    project.prepare(tried.args(&project.wrapper[1..]).arg("true"));
    let tried = ran(&mut tried);
    if tried.code != 0 {
        skipped("a mount namespace", &tried.stderr);
        return None;
    }
    project.wrapper.push(installed::GOATBUILD.to_owned());
    Some(project)
}

fn units(project: &Project) -> PathBuf {
    project.directory().join(".config/systemd/user")
}

/// The names in a directory, and below it.
fn names(directory: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(directory).min_depth(1).sort_by_file_name();
    let entries = entries.into_iter().flatten().filter(|entry| !entry.file_type().is_dir());
    let name = |path: &Path| path.strip_prefix(directory).unwrap().display().to_string();
    entries.map(|entry| name(entry.path())).collect()
}

/// What the one service of a project is called.
fn service(project: &Project) -> String {
    let names = names(&units(project));
    let mut names = names.iter().filter_map(|name| name.strip_suffix(".service"));
    names.find(|name| !name.ends_with("-again") && !name.contains('/')).expect("a unit").to_owned()
}

/// systemd's own reading of units, from Debian's package; its complaints, if it has any.
#[track_caller]
fn verify(files: &[PathBuf]) -> Option<String> {
    let root = DebianRoot::of("systemd")?;
    let mut command = root.command("usr/bin/systemd-analyze");
    let home = tempfile::tempdir().expect("a directory");
    let libraries = format!("{}-linux-gnu/systemd", std::env::consts::ARCH);
    let libraries = ["lib", "usr/lib"].map(|lib| root.path(lib).join(&libraries));
    command
        .env("LD_LIBRARY_PATH", std::env::join_paths(libraries).expect("paths"))
        .env("SYSTEMD_UNIT_PATH", format!("{}:", root.path("usr/lib/systemd/user").display()))
        .env("XDG_RUNTIME_DIR", home.path())
        .args(["verify", "--user", "--man=no"])
        .args(files);
    let ran = ran(&mut command);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    Some(if ran.code == 0 { said } else { format!("{} (ended with {})", said, ran.code) })
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let Some(project) = at_home() else { return };
    // Whatever a directory may be called: specifiers, variables, quotes, escapes, blanks.
    let strange = project.directory().join("100% $HOME ${PATH} \"q\" 'q' \\n;\ttwo  #x Ä");
    copy_all(&project.root(), &strange, &[]).expect("a copy");
    let at = strange.to_str().expect("UTF-8");
    project.run(&["-C", at, "service", "install", "--every", "5"]).exits(0);
    let units = units(&project);
    let files: Vec<_> = names(&units).into_iter().filter(|name| !name.contains('/')).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    let files: Vec<PathBuf> = files.iter().map(|name| units.join(name)).collect();
    let Some(said) = verify(&files) else { return };
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("goatbuild")).collect();
    assert!(ours.is_empty() && !said.contains("ended with"), "{said}");
    // It does find what is wrong.
    let file = units.join(format!("{}.service", service(&project)));
    let text = fs::read_to_string(&file).expect("a unit");
    for (right, wrong) in
        [("KillMode=process", "KillMode=proces"), ("ExecStart=\"/", "ExecStart=\"%/")]
    {
        assert!(text.contains(right), "{text}");
        fs::write(&file, text.replacen(right, wrong, 1)).expect("written");
        let said = verify(std::slice::from_ref(&file)).expect("it was there");
        assert!(said.contains("goatbuild"), "{wrong} is no mistake: {said}");
    }
}

#[test]
fn what_is_installed_is_told_with_what_comes_next_and_is_removed_again() {
    let Some(mut project) = at_home() else { return };
    let printed = project.run("service install --dry-run --every 10").done();
    assert_eq!(names(&units(&project)), [""; 0]);
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(0)).unwrap().unwrap().name;
    for _ in 0..2 {
        project.run("service install --every 10").exits(0).says(&[
            "wrote",
            &format!("serves tiny as {user}"),
            "systemctl --user daemon-reload",
            "systemctl --user start goatbuild-table-4c19d2-",
            "-again.timer",
            &format!("loginctl enable-linger {user}"),
        ]);
    }
    let name = service(&project);
    let expected = [
        format!("default.target.wants/{name}.service"),
        format!("{name}-again.service"),
        format!("{name}-again.timer"),
        format!("{name}.service"),
        format!("timers.target.wants/{name}-again.timer"),
    ];
    assert_eq!(names(&units(&project)), expected);
    let linked = units(&project).join(&expected[0]).canonicalize().expect("it leads somewhere");
    let text = fs::read_to_string(linked).expect("a unit");
    assert!(printed.contains(&text), "{printed}");
    // Where uv and Docker are is known there.
    assert!(text.contains(&format!("Environment=\"PATH={}\"", installed::path())), "{text}");
    let state = project.state().display().to_string();
    assert!(text.contains(&format!("Environment=\"GOATBUILD_STATE_DIR={state}\"")), "{text}");
    project.run("service status").says(&[&format!("✓ unit: {name}"), "✗ boot", "· systemd"]);
    // Another shell may find its programs elsewhere.
    project.variable("PATH", &installed::path_with(project.directory()));
    project.run("service status").says(&[&format!("✓ unit: {name}")]);
    // Without the timer, it is gone, and said to be.
    project.run("service install").exits(0).says(&[
        &format!("removed {}", units(&project).join(&expected[2]).display()),
        &format!("systemctl --user stop {name}-again.timer systemctl --user daemon-reload"),
    ]);
    let again = project.run("service install").done();
    assert!(!again.contains("removed") && !again.contains(".timer"), "{again}");
    assert_eq!(names(&units(&project)), [&expected[0][..], &expected[3][..]]);
    fs::write(units(&project).join(&expected[3]), text.replace("30s", "3s")).expect("written");
    project.run("service status").exits(1).says(&["✗ unit", "says something else"]);
    project.run("service uninstall").exits(0).says(&["removed", "systemctl --user daemon-reload"]);
    assert_eq!(names(&units(&project)), [""; 0]);
    project.run("service uninstall").exits(0).says(&["there is no goatbuild-table-4c19d2-"]);
}

#[test]
fn no_two_services_meet() {
    let Some(project) = at_home() else { return };
    project.append("goatbuild.toml", "\n[environment.staging]\n");
    project.run("service install").exits(0);
    let name = service(&project);
    // Another environment, another project: services of their own.
    project.run("--env staging service install").exits(0);
    let other = project.directory().join("other");
    copy_all(&project.root(), &other, &[]).expect("a copy");
    let at = other.to_str().expect("UTF-8").to_owned();
    let file = other.join("goatbuild.toml");
    let text = fs::read_to_string(&file).expect("a file");
    fs::write(&file, text.replace("table-4c19d2", "chair-5d20e3")).expect("written");
    project.run(&["-C", &at, "service", "install"]).exits(0);
    let written = names(&units(&project));
    assert_eq!(
        written.iter().filter(|name| name.starts_with("default.")).count(),
        3,
        "{written:?}"
    );
    // The same project elsewhere has the same state: one of them serves.
    fs::write(&file, text).expect("written");
    let refused = project.run(&["-C", &at, "service", "install"]).exits(1);
    refused.says(&["goatbuild::service::other_directory", &name]);
    // What hands wrote is theirs.
    fs::write(units(&project).join(format!("{name}.service")), "[Unit]\n").expect("written");
    project.run("service install").fails(1, &["goatbuild::service::taken"]);
}

#[test]
fn what_would_not_work_at_boot_is_said() {
    let Some(mut project) = at_home() else { return };
    project.append("goatbuild.toml", "\n[secrets]\ntoken = { from = { env = \"GOAT_TOKEN\" } }\n");
    project.append("specs/tiny.toml", "\n");
    let spec = project.read("specs/tiny.toml");
    project.write("specs/tiny.toml", &format!("secret-env = {{ TOKEN = \"token\" }}\n{spec}"));
    project.variable("GOAT_TOKEN", "hush-hush");
    let said = project.run("service install").exits(0);
    let name = service(&project);
    let file = format!(".config/goatbuild/{name}.env");
    let said = said.says(&["systemd has no variable GOAT_TOKEN", "the secret token", &file]);
    let unit = fs::read_to_string(units(&project).join(format!("{name}.service"))).expect("a unit");
    assert!(!unit.contains("hush-hush") && !said.stderr.contains("hush-hush"), "{unit}");
    assert!(
        unit.contains(&format!("EnvironmentFile=-{}", project.directory().join(file).display()))
    );
    // The user's manager looks there only where it has the variable, too.
    project.variable("XDG_CONFIG_HOME", "/srv/settings");
    project.run("service install --dry-run").exits(0).says(&[
        &format!("XDG_CONFIG_HOME is /srv/settings, not {}/.config", project.directory().display()),
        "# /srv/settings/systemd/user/",
    ]);
    project.variable("XDG_CONFIG_HOME", "");
    let said = project.run("service install --dry-run").exits(0).stderr;
    assert!(!said.contains("XDG_CONFIG_HOME"), "{said}");
    // Elsewhere than on such a machine, something else has to run it.
    project.wrapper = vec![installed::GOATBUILD.to_owned()];
    if !Path::new("/run/systemd/system").exists() {
        let state = format!("@reboot env GOATBUILD_STATE_DIR={} ", project.state().display());
        let line =
            format!(" {} -C {} service start", installed::GOATBUILD, project.root().display());
        project
            .run("service install")
            .fails(1, &["goatbuild::service::no_systemd", &state, "PATH=", &line]);
    }
}

#[test]
fn the_state_is_where_it_was_whatever_directory_systemd_starts_in() {
    let Some(mut project) = at_home() else { return };
    project.variable("GOATBUILD_STATE_DIR", "kept/state");
    let printed = project.run("service install --dry-run").done();
    let state = project.root().canonicalize().expect("a directory").join("kept/state");
    let expected = format!("Environment=\"GOATBUILD_STATE_DIR={}\"\n", state.display());
    assert!(printed.contains(&expected), "{printed}");
}

#[test]
fn after_a_restart_of_the_machine_the_plan_says_so_and_the_model_is_served_again() {
    let Some(project) = Project::applied() else { return };
    let (_, port) = project.serving().expect("it serves");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("it is told");
    project.kill("tiny");
    // Written down before another boot; by now, its process id may be anybody's.
    let state = project.environment().join("deployments.json");
    let text = fs::read_to_string(&state).expect("a state");
    let served = project.served("tiny").expect("it is known");
    let own = format!("\"pid\":{},", served["instance"]["pid"]);
    assert!(text.contains(boot.trim()) && text.contains(&own), "{text}");
    let text = text.replace(boot.trim(), "0f0e0d0c-0b0a-4908-8706-050403020100");
    fs::write(&state, text.replace(&own, "\"pid\":1,")).expect("written");
    project.run("plan").exits(0).says(&[
        "deploy:tiny",
        "drift process: running → ended when this machine was restarted",
        "1 to run, 1 pending, 5 fresh",
    ]);
    project.run("status").exits(0).says(&["tiny  stopped"]);
    // All others are where they were: nothing is resolved, built or fetched.
    let started = project.run("service start --offline").exits(0);
    started.says(&["deploy:tiny", "2 steps ran, 5 fresh"]);
    assert_eq!(project.serving().expect("it serves").1, port);
    assert!(project.ask("tiny").is_some());
    // What is stopped is known on.
    project.run("service stop").exits(0).says(&["tiny: stopped"]);
    assert!(project.ask("tiny").is_none());
    project.run("service stop").exits(0);
    project.run("plan").exits(0).says(&["drift process: running → ended"]);
    project.run("service start").exits(0);
    project.run("apply").ran_nothing();
}
