//! A base of Debian 13, judged by dpkg, which nobody here wrote, and by a server that runs on it.
#![cfg(target_os = "linux")]

use crate::support;

use std::collections::BTreeSet;
use std::process::Command;

use goatbuild::event::Reporter;
use goatbuild::oci::{Layout, unpack_layers};
use support::peers;
use support::project::{Project, ran, wants_network};

#[test]
fn a_base_of_trixie_is_whole_to_dpkg_and_serves() {
    let project = Project::written();
    project.edit(
        "images/tiny.toml",
        "\"bookworm\", packages = [\"python3\"]",
        "\"trixie\", packages = [\"python3\", \"ca-certificates\"]",
    );
    let locked = project.run("lock");
    if locked.code != 0 && wants_network(&locked.stderr) {
        peers::skipped("Debian's archive", &locked.stderr);
        return;
    }
    locked.exits(0);
    project.apply("--yes").ran();
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));

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
