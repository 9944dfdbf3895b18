//! Images on Debian 13, which Modal builds with another version of its builder.

use serde_json::Value;

use super::Remote;
use super::support::peers;
use super::support::project::wants_network;

const IMAGE: &str = "images/tiny.toml";

/// What the client itself begins an image with, and installs into it, is what counts: the double hands on
/// the commands that `debian_slim` and `apt_install` of `modal/_image.py` made of it.
#[test]
fn an_image_on_trixie_is_begun_and_pinned_as_modals_client_does_it() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    let names = ["python3", "gcc", "libssl3t64", "libnuma1"];
    let base = format!("{{ debian = \"trixie\", packages = {names:?} }}");
    project.write(IMAGE, &format!("base = {base}\nrequirements = []\n"));
    let locked = project.run("lock");
    if locked.code != 0 && wants_network(&locked.stderr) {
        peers::skipped("Debian's archive", &locked.stderr);
        return;
    }
    locked.exits(0);
    let lock: toml::Table = project.read("goatbuild.lock").parse().unwrap();
    let packages = lock["image"]["tiny"]["debian"]["packages"].as_array().unwrap();
    let version = |name: &str| {
        let found = packages.iter().find(|it| it["name"].as_str() == Some(name));
        found.unwrap_or_else(|| panic!("no {name}"))["version"].as_str().unwrap().to_owned()
    };
    remote.modal.calls();
    project.apply("--yes").ran();
    let calls = remote.modal.calls();
    let built: Vec<&Value> = calls
        .iter()
        .filter(|call| call["rpc"] == "ImageGetOrCreate" && call["builder_version"] == "2026.10")
        .collect();
    let commands: Vec<&str> = built
        .iter()
        .flat_map(|call| call["commands"].as_array().unwrap())
        .map(|command| command.as_str().unwrap())
        .collect();
    assert!(commands.contains(&"FROM python:3.13-slim-trixie"), "{commands:#?}");
    let installs = |it: &&&str| it.contains("apt-get install") && it.contains("libnuma1");
    let install = commands.iter().find(installs).unwrap_or_else(|| panic!("{commands:#?}"));
    // Modal's own Debian has the others, in versions of its own.
    assert!(install.ends_with(&format!(" libnuma1={}", version("libnuma1"))), "{install}");
    // And bookworm's builder has no part in it.
    let older = |call: &&Value| call["builder_version"] == "2025.06";
    let of_it = calls.iter().filter(|call| call["rpc"] == "ImageGetOrCreate").filter(older);
    assert!(!of_it.into_iter().any(|call| call.to_string().contains("libnuma1")), "{calls:#?}");
}
