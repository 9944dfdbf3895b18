//! Bases of Debian 12 and 13, judged by dpkg, which nobody here wrote, and by the programs that run on them.
#![cfg(target_os = "linux")]

use crate::support;

use std::collections::BTreeSet;
use std::process::Command;

use goatbuild::event::Reporter;
use goatbuild::oci::{Layout, unpack_layers};
use support::peers;
use support::project::{Project, ran, wants_network};

/// What scripts and engines take for granted: `ldd` is one for bash, `git submodule` wants sed and grep.
const SYSTEM: &str = r"set -eo pipefail; cd /tmp
ldd /bin/ls | grep --count libc.so
find /etc -maxdepth 1 -name passwd
echo from sed | sed s/from/by/
echo gzip | gzip | gzip --decompress
tar --create --directory /etc passwd | tar --list
sh -c 'echo xargs | xargs'
readlink /var/run /var/lock
";

const SAID: &str = "1\n/etc/passwd\nby sed\ngzip\npasswd\nxargs\n/run\n/run/lock\n0";

/// Has the model `tiny` answer what a script says that bash runs in its image.
fn answers_by(project: &Project, script: &str) {
    let server = project.read("model/server.py");
    let run = format!(
        "import os, subprocess\n\
         done = subprocess.run(['bash', '-c', {script:?}], capture_output=True, text=True)\n\
         os.environ['GREETING'] = f'{{done.stdout}}{{done.stderr}}{{done.returncode}}'\n"
    );
    project.write("model/server.py", &(run + &server));
}

#[test]
fn a_base_of_bookworm_has_the_programs_that_no_system_is_without() {
    let Some(project) = Project::new() else { return };
    answers_by(&project, SYSTEM);
    project.apply("").ran();
    assert_eq!(project.ask("tiny").as_deref(), Some(SAID));
}

#[test]
fn a_base_of_trixie_is_whole_to_dpkg_and_serves() {
    let project = Project::written();
    project.edit(
        "images/tiny.toml",
        "\"bookworm\", packages = [\"python3\"]",
        "\"trixie\", packages = [\"python3\", \"ca-certificates\", \"git\"]",
    );
    answers_by(&project, &format!("{SYSTEM}git init --quiet here; cd here; git submodule status"));
    let locked = project.run("lock");
    if locked.code != 0 && wants_network(&locked.stderr) {
        peers::skipped("Debian's archive", &locked.stderr);
        return;
    }
    locked.exits(0);
    project.apply("--yes").ran();
    assert_eq!(project.ask("tiny").as_deref(), Some(SAID));

    let layout = Layout::open(&project.path("cache/oci")).unwrap();
    let root = project.directory().join("root");
    let image = layout.tagged("tiny").unwrap();
    unpack_layers(&layout, &image, &root, &Reporter::silent()).unwrap();
    let release = std::fs::read_to_string(root.join("usr/lib/os-release")).unwrap();
    assert!(release.contains("VERSION_CODENAME=trixie"), "{release}");
    if !Command::new("dpkg").arg("--version").output().is_ok_and(|it| it.status.success()) {
        peers::skipped("dpkg", "it is not installed");
        return;
    }
    let admin = format!("--admindir={}", root.join("var/lib/dpkg").display());
    let audited = ran(Command::new("dpkg").args([&admin, "--audit"])).done();
    assert_eq!(audited, "", "nothing is half-installed or lacks what it depends on");
    let format = "--showformat=${db:Status-Abbrev}${Package} ${Version}\\n";
    let told = ran(Command::new("dpkg-query").args([&admin, "-W", format])).done();
    let lock: toml::Table = project.read("goatbuild.lock").parse().unwrap();
    let packages = lock["image"]["tiny"]["debian"]["packages"].as_array().unwrap();
    let wanted: BTreeSet<String> = packages
        .iter()
        .map(|it| {
            format!("ii {} {}", it["name"].as_str().unwrap(), it["version"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told.lines().map(str::to_owned).collect::<BTreeSet<_>>(), wanted);
}
