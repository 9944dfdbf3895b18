//! What this program is made of: the rules of deny.toml, kept without cargo-deny's advisories.
//!
//! cargo-deny takes minutes to build and its advisories are on another host; licences, duplicate
//! versions, bans and sources can be read from what cargo itself knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::support::peers::skipped;

/// deny.toml, as far as it is kept here; `cargo deny` says what else there may be.
#[derive(Deserialize)]
struct Rules {
    graph: Graph,
    advisories: Advisories,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Advisories {
    ignore: Vec<Ignored>,
}

#[derive(Deserialize)]
struct Ignored {
    id: String,
    reason: String,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    allow: BTreeSet<String>,
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
    skip: Vec<Skipped>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

/// `name@0.22`, the older of two versions.
#[derive(Deserialize)]
struct Skipped {
    #[serde(rename = "crate")]
    spec: String,
    reason: String,
}

/// What cargo knows of this package and of all that it is built and tested with.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
    metadata: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    root: String,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rules() -> Rules {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    toml::from_str(&text).expect("cargo-deny's format")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The packages for the machine that tests, if the rules are for such machines.
fn packages() -> Option<Vec<Package>> {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    if !rules().graph.targets.iter().any(|target| target == host) {
        skipped("the rules of deny.toml", &format!("they are not for {host}"));
        return None;
    }
    // For this machine alone: what others need was not downloaded.
    let fixed = ["--format-version", "1", "--offline", "--locked", "--filter-platform", host];
    let said = cargo(&[&["metadata"][..], &fixed].concat());
    let Metadata { mut packages, resolve } = serde_json::from_str(&said).expect("metadata");
    let ids: BTreeSet<String> = resolve.nodes.into_iter().map(|node| node.id).collect();
    packages.retain(|package| ids.contains(&package.id));
    // Ours first.
    packages.sort_by_key(|package| package.id != resolve.root);
    assert!(packages.len() > 100 && packages[0].name == "goatbuild", "{}", packages.len());
    Some(packages)
}

/// Whether an SPDX expression can be met by what is allowed. `A/B` is how crates once wrote `A OR B`.
fn is_met(expression: &str, is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    let met = any(&mut rest, is_allowed);
    assert!(rest.is_empty(), "`{expression}` is no licence expression");
    met
}

fn any(rest: &mut &[&str], is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = all(rest, is_allowed);
    while let Some(after) = rest.strip_prefix(&["OR"]) {
        *rest = after;
        met |= all(rest, is_allowed);
    }
    met
}

fn all(rest: &mut &[&str], is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = one(rest, is_allowed);
    while let Some(after) = rest.strip_prefix(&["AND"]) {
        *rest = after;
        met &= one(rest, is_allowed);
    }
    met
}

fn one(rest: &mut &[&str], is_allowed: &dyn Fn(&str) -> bool) -> bool {
    match **rest {
        ["(", ..] => {
            *rest = &rest[1..];
            let met = any(rest, is_allowed);
            *rest = rest.strip_prefix(&[")"]).expect("a parenthesis that is closed");
            met
        }
        [license, "WITH", exception, ..] => {
            *rest = &rest[3..];
            is_allowed(&format!("{license} WITH {exception}"))
        }
        [license, ..] => {
            *rest = &rest[1..];
            is_allowed(license)
        }
        [] => panic!("an expression that ends too early"),
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_defines_them() {
    let allowed = |license: &str| ["MIT", "ISC", "GPL-3.0 WITH X"].contains(&license);
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 / BSL", false),
        ("MIT AND ISC", true),
        ("MIT AND GPL-3.0", false),
        // AND binds tighter.
        ("MIT OR ISC AND GPL-3.0", true),
        ("(MIT OR ISC) AND GPL-3.0", false),
        ("(GPL-3.0 OR ISC) AND MIT", true),
        ("GPL-3.0 WITH X", true),
        ("MIT WITH X", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn every_licence_is_allowed_and_every_allowance_is_needed() {
    let (Some(packages), Licenses { allow, exceptions }) = (packages(), rules().licenses) else {
        return;
    };
    let refused = |allow: &BTreeSet<String>, exceptions: &[&Exception]| -> Vec<String> {
        let is_refused = |package: &&Package| {
            let own = exceptions.iter().filter(|exception| exception.name == package.name);
            let own: BTreeSet<&String> = own.flat_map(|exception| &exception.allow).collect();
            let is_allowed =
                |license: &str| allow.contains(license) || own.iter().any(|own| *own == license);
            let license = package.license.as_deref().unwrap_or("none");
            !is_met(license, &is_allowed)
        };
        let refused = packages.iter().filter(is_refused);
        refused.map(|it| format!("{} {}: {:?}", it.name, it.version, it.license)).collect()
    };
    let exceptions: Vec<&Exception> = exceptions.iter().collect();
    assert_eq!(refused(&allow, &exceptions), [""; 0]);
    for license in &allow {
        let mut fewer = allow.clone();
        fewer.remove(license);
        assert_ne!(refused(&fewer, &exceptions), [""; 0], "nobody needs {license}");
    }
    for at in 0..exceptions.len() {
        let mut fewer = exceptions.clone();
        let exception = fewer.remove(at);
        assert_ne!(refused(&allow, &fewer), [""; 0], "{} needs no exception", exception.name);
    }
}

#[test]
fn no_crate_comes_twice_but_those_with_a_reason() {
    let Some(packages) = packages() else { return };
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    for Skipped { spec, reason } in rules().bans.skip {
        let (name, wanted) = spec.split_once('@').expect("a name and a version");
        // So that cargo-deny, to which this is a requirement, means the same.
        let is_compatible = wanted.strip_prefix("0.").unwrap_or(wanted);
        assert!(is_compatible.parse().is_ok_and(|it: u32| it > 0), "{spec}");
        assert!(!reason.is_empty(), "{spec}");
        let found = versions.get_mut(name).unwrap_or_else(|| panic!("{spec} is gone"));
        assert!(found.len() > 1, "there is one version of {name} now: {spec} says otherwise");
        let before = found.len();
        found.retain(|version| !version.starts_with(&format!("{wanted}.")));
        assert_eq!(before - found.len(), 1, "{spec} is gone");
    }
    versions.retain(|_, versions| versions.len() > 1);
    assert_eq!(versions, BTreeMap::new());
}

#[test]
fn nothing_banned_or_from_elsewhere_comes_in() {
    let Some(packages) = packages() else { return };
    let Rules { bans, advisories, .. } = rules();
    for package in &packages[1..] {
        let is_banned = bans.deny.iter().any(|banned| banned.name == package.name);
        assert!(!is_banned, "{}", package.name);
        let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
        assert_eq!(package.source.as_deref(), Some(crates_io), "{}", package.name);
    }
    // Of whom the reason tells goes some day.
    for Ignored { id, reason } in advisories.ignore {
        let about = reason.split([',', ' ', ':']).next().unwrap_or_default();
        assert!(packages.iter().any(|package| package.name == about), "{id} is about {about}");
    }
}

/// What nobody names is compiled for nothing. Those that are named nowhere for a reason are listed
/// where cargo-machete looks for them.
#[test]
fn every_dependency_is_used() {
    let Some(packages) = packages() else { return };
    let ours = &packages[0];
    let ignored = ours.metadata.as_ref().expect("metadata")["cargo-machete"]["ignored"].clone();
    let ignored: Vec<String> = serde_json::from_value(ignored).expect("names");
    let text = |directories: &[&str]| -> String {
        let files = directories.iter().flat_map(|name| walkdir::WalkDir::new(root().join(name)));
        let files = files.map(|entry| entry.expect("a file").into_path());
        files.filter(|path| path.extension().is_some_and(|it| it == "rs")).map(read).collect()
    };
    let (program, tests) = (text(&["src"]), text(&["src", "tests", "benches"]));
    for Dependency { name, kind } in &ours.dependencies {
        let word = if name == "md-5" { "md5".to_owned() } else { name.replace('-', "_") };
        let text = if kind.as_deref() == Some("dev") { &tests } else { &program };
        let is_used =
            [format!("{word}::"), format!("use {word};")].iter().any(|it| text.contains(it));
        assert_ne!(is_used, ignored.contains(name), "{name}");
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).expect("text")
}
