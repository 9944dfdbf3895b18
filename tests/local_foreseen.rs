//! What this machine won't be able to do is said by `plan`, and keeps `apply` from beginning.
#![cfg(target_os = "linux")]

use crate::support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::project::{Project, free_port, ran};
use support::{installed, peers};

/// What a plan warns of, as `model: message`.
#[track_caller]
fn warnings(project: &Project, arguments: &str) -> Vec<String> {
    let warnings = project.plan(arguments).0["warnings"].clone();
    let text = |warning: &Value, key: &str| warning[key].as_str().expect("text").to_owned();
    let told = |it: &Value| format!("{}: {}", text(it, "model"), text(it, "message"));
    warnings.as_array().expect("a list").iter().map(told).collect()
}

const STAGING: &str = "\n[environment.staging.gateway.litellm]\nconfig = \"staging.yaml\"\n";

#[test]
fn a_port_that_another_environment_or_program_has_is_told_before_anything_is_done() {
    let Some(project) = Project::new() else { return };
    let port = free_port();
    project.append("specs/tiny.toml", &format!("\n[serve]\nport = {port}\n"));
    project.append("goatbuild.toml", STAGING);
    assert_eq!(warnings(&project, ""), [""; 0]);
    project.apply("").ran();
    // Its own server gives the port up.
    project.serve_env(&[("GREETING", "ciao")]);
    assert_eq!(warnings(&project, ""), [""; 0]);
    project.apply("").ran();

    let taken = format!("port {port} is in use by tiny, which environment default serves");
    assert_eq!(
        warnings(&project, "--env staging"),
        [format!("tiny: deploy:tiny can't run: {taken}")]
    );
    let apply = project.run("apply --env staging");
    apply.fails(1, &[&taken, "goatbuild destroy tiny` there frees it", "nothing was stopped"]);
    assert!(!project.state().join("table-4c19d2/staging/deployments.json").exists());
    assert_eq!(project.ask("tiny").as_deref(), Some("ciao"));

    project.kill("tiny");
    let other = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port");
    let taken = format!("tiny: deploy:tiny can't run: port {port} is in use by another program");
    for environment in ["", "--env staging"] {
        assert_eq!(warnings(&project, environment), [&*taken], "{environment}");
    }
    drop(other);
    project.apply("").ran();
}

#[test]
fn a_command_that_leaves_no_place_for_the_port_is_told() {
    let Some(project) = Project::new() else { return };
    project.edit("specs/tiny.toml", "\"{port}\"", "\"45871\"");
    let told = ["tiny: deploy:tiny can't run: `command` of tiny has no `{port}`"];
    assert_eq!(warnings(&project, ""), told);
    project.run("apply").fails(1, &["has no `{port}`", "`[serve] port`"]);
    assert_eq!(project.servers(), 0);
    // One that listens there in any case says so.
    project.append("specs/tiny.toml", "\n[serve]\nport = 45871\n");
    assert_eq!(warnings(&project, ""), [""; 0]);
    // It may take it from its environment; what nothing shows is in doubt, and not refused.
    project.edit("specs/tiny.toml", "\"45871\"", "\"$PORT\"");
    let told = "tiny: `command` of tiny has no `{port}`, and neither it nor `env` has 45871";
    assert_eq!(warnings(&project, ""), [told]);
    project.serve_env(&[("PORT", "45871")]);
    assert_eq!(warnings(&project, ""), [""; 0]);
}

#[test]
fn a_gpu_that_this_machine_lacks_is_told_and_keeps_nobody() {
    if Path::new("/dev/nvidiactl").exists() || Path::new("/dev/dxg").exists() {
        peers::skipped("a machine without a GPU", "this one has one");
        return;
    }
    let Some(project) = Project::new() else { return };
    project.append("specs/tiny.toml", "\n[hardware]\ngpu = \"H100\"\n");
    let told = "tiny: this machine shows no NVIDIA GPU, and the spec asks for H100";
    assert_eq!(warnings(&project, ""), [told]);
    project.apply("").ran();
    assert_eq!(warnings(&project, ""), [""; 0], "it serves");
}

/// A pointer as Git LFS writes it: the example of its `docs/spec.md`.
const POINTER: &str = "version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
";

#[test]
fn pointers_of_git_lfs_among_weights_are_no_weights() {
    let Some(project) = Project::new() else { return };
    project.write("specs/other.toml", &project.read("specs/tiny.toml"));
    project.edit("specs/other.toml", "path:model", "path:weights/other");
    project.write("weights/other/server.py", &project.read("model/server.py"));
    for name in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        project.write(&format!("weights/other/{name}"), POINTER);
    }
    let told = "`weights/other/model-00001-of-00002.safetensors` is a pointer of Git LFS, and not the file that it stands for, like another one beside it";
    for command in ["plan", "apply"] {
        project
            .run(command)
            .exits(65)
            .tells(&[told, "git lfs pull --include \"weights/other/**\""]);
    }
    assert_eq!(project.plan("tiny").step("deploy:tiny")["action"], json!("run"));
    // What only speaks of pointers is a file like others.
    for name in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        project.write(&format!("weights/other/{name}"), &format!("see\n{POINTER}"));
    }
    assert_eq!(project.plan("").step("deploy:other")["action"], json!("run"));
}

/// `user_namespaces(7)` and `pid_namespaces(7)`: in a user namespace whose limit is 0, nobody gets another
/// pid namespace; and whoever is mapped to another user there is not root.
#[test]
fn servers_that_share_their_processes_with_a_user_s_others_are_told_before_they_start() {
    let Some(project) = Project::new() else { return };
    let shared = "processes: warning: shared with this machine, since a pid namespace is refused";
    let plan = project.run("plan");
    assert!(!plan.stderr.contains(shared), "{}", plan.stderr);
    let limited = "echo 0 > /proc/sys/user/max_pid_namespaces && exec unshare --user \
                   --map-user=1000 --map-group=1000 \"$0\" plan";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", limited]);
    command.arg(installed::goatbuild().get_program());
    project.prepare(&mut command);
    ran(&mut command).exits(0).tells(&["served here by the embedded runtime", shared]);
}
