//! What a broken Docker gets, with a double of its command line: faults that a real one cannot be made
//! to have. It answers what it is told to, and refuses everything else.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use super::support::installed;
use super::support::project::Project;
use super::{applied, assert_serves};
use crate::support::engines::Engine;

/// What a healthy daemon says of itself.
const INFO: &str = r#"{"ServerVersion":"28.2.2","OSType":"linux","OperatingSystem":"Debian","SecurityOptions":[]}"#;

/// What every command line begins with, and what follows.
const HEALTHY: [(&str, &str); 5] = [
    ("info --format", "echo \"$INFO\""),
    ("context inspect", "echo unix:///var/run/docker.sock"),
    ("container ls", "exit 0"),
    ("image inspect", "echo sha256:$CONFIG"),
    ("container create", "echo 0123abcd"),
];

/// Puts the double before everything else on the project's path, as `docker`; `podman` is not there.
fn double(project: &mut Project, runtime: &str, answers: &[(&str, &str)]) {
    let bin = project.root().with_file_name("bin");
    fs::create_dir_all(&bin).expect("a directory");
    let mut cases = String::new();
    for (begin, answer) in answers.iter().chain(&HEALTHY) {
        let _ = writeln!(cases, "  \"{begin}\"*) {answer} ;;");
    }
    let image = goatbuild::oci::Layout::open(&project.root().join("cache/oci")).expect("a layout");
    let image = image.tagged("tiny").expect("an image");
    let config = image.manifest.config().digest().to_string().replace("sha256:", "");
    let script = format!(
        "#!/bin/sh\nINFO='{INFO}'\nCONFIG={config}\ncase \"$*\" in\n{cases}\
         *) echo \"the double does not know: $*\" >&2; exit 64 ;;\nesac\n"
    );
    for (name, text) in [("docker", script.as_str()), ("podman", "#!/bin/sh\nexit 125\n")] {
        fs::write(bin.join(name), text).expect("a script");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    project.variable("PATH", &installed::path_with(&bin));
    let text = project.read("goatbuild.toml");
    let (before, rest) = text.split_once("runtime = \"").expect("a setting");
    let rest = rest.split_once('"').expect("its end").1;
    project.write("goatbuild.toml", &format!("{before}runtime = \"{runtime}\"{rest}"));
}

const DOWN: (&str, &str) = (
    "info --format",
    "echo '{\"ServerErrors\":[\"Cannot connect to the Docker daemon. Is it running?\"]}'; exit 1",
);

#[test]
fn without_its_daemon_docker_is_refused_before_anything_is_done_and_auto_goes_on_without() {
    let Some(mut project) = Project::new() else { return };
    double(&mut project, "docker", &[DOWN]);
    let words = [
        "`[target.local] runtime` can't be had: Docker does not answer",
        "Is it running?",
        "help: does `docker info` work for this user?",
    ];
    project.run("apply").exits(1).says(&words);
    assert!(project.served("tiny").is_none() && !project.volumes().exists());
    project.run("check").exits(1).says(&["✗ local runtime", "Docker does not answer"]);
    project.run("apply --only image:tiny").exits(0);
    project.run("plan").exits(0).says(&["Docker does not answer", "deploy:tiny"]);

    double(&mut project, "auto", &[DOWN]);
    project.run("check").exits(0).says(&["the embedded runtime (Docker does not answer: "]);
    let words = ["served here by the embedded runtime (Docker does not answer, Podman does not"];
    project.run("apply").exits(0).says(&words);
    assert_serves(&project, Engine::embedded(), "hello");
}

#[test]
fn a_daemon_that_hangs_is_given_up_on() {
    let Some(mut project) = Project::new() else { return };
    double(&mut project, "auto", &[("info --format", "exec sleep 60")]);
    let began = Instant::now();
    project
        .run("check")
        .exits(0)
        .says(&["the embedded runtime (Docker does not answer: `docker info`"]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn an_image_that_is_not_taken_stops_nothing() {
    let Some(mut project) = applied(Engine::embedded()) else { return };
    let before = project.served("tiny");
    let none = ("image inspect", "echo 'Error: No such image' >&2; exit 1");
    let full = "head -c 1000 > /dev/null; echo 'write: no space left on device' >&2; exit 1";
    double(&mut project, "docker", &[none, ("image load", full)]);
    let words =
        ["Docker could not take over the image", "no space left on device", "a disk is full"];
    project.run("apply").exits(1).says(&words);
    assert_eq!(project.served("tiny"), before);
    assert_serves(&project, Engine::embedded(), "hello");

    // Takes it, and has another one.
    let other = ("image inspect", "echo sha256:0000");
    double(&mut project, "docker", &[other, ("image load", "cat > /dev/null")]);
    project
        .run("apply")
        .exits(1)
        .says(&["Docker has sha256:0000 as localhost/goatbuild/table-4c19d2/tiny:"]);
    assert_serves(&project, Engine::embedded(), "hello");
}

#[test]
fn a_container_that_does_not_start_is_removed_and_the_old_server_serves_again() {
    let Some(mut project) = applied(Engine::embedded()) else { return };
    let removed = project.root().with_file_name("removed");
    let remove = format!("echo \"$*\" >> {}", removed.display());
    let refused = "echo 'Error response from daemon: cgroups: no such device' >&2; exit 1";
    double(
        &mut project,
        "docker",
        &[("container start", refused), ("container stop", "exit 0"), ("container rm", &remove)],
    );
    project.run("apply").exits(1).says(&["Docker could not start the server", "no such device"]);
    let removed = fs::read_to_string(removed).expect("it was removed");
    assert_eq!(removed.trim(), "container rm --force --volumes 0123abcd");
    assert_serves(&project, Engine::embedded(), "hello");
}

#[test]
fn podman_without_its_little_init_goes_without() {
    let Some(mut project) = applied(Engine::embedded()) else { return };
    let created = project.root().with_file_name("created");
    let create = format!(
        "echo \"$*\" >> {}; case \"$*\" in *--init*) echo 'lookup init binary: catatonit' >&2; exit 125;; esac; exit 1",
        created.display()
    );
    double(&mut project, "docker", &[("container create", &create)]);
    project.run("apply").exits(1);
    let created = fs::read_to_string(created).expect("it was asked");
    let with: Vec<bool> = created.lines().map(|line| line.contains("--init")).collect();
    assert_eq!(with, [true, false]);
}

/// moby/moby#28920, in the words of the daemon there.
#[test]
fn a_disk_of_the_daemon_that_is_full_is_called_that() {
    const FULL: &str = "echo 'Error response from daemon: ApplyLayer exit status 1 stdout:  stderr: write /var/log/lastlog: no space left on device' >&2; exit 1";
    let Some(mut project) = Project::new() else { return };
    let load = format!("cat >/dev/null; {FULL}");
    let absent = ("image inspect", "echo 'Error: No such image: it' >&2; exit 1");
    double(&mut project, "docker", &[absent, ("image load", &load)]);
    let words = ["no space left on device", "a disk is full"];
    project.run("apply").exits(1).says(&words);
    double(&mut project, "docker", &[("container create", FULL)]);
    project.run("apply").exits(1).says(&words);
    assert!(project.served("tiny").is_none());
}
