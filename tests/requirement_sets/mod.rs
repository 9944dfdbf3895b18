//! Real requirement sets: the files of our layers, compared one by one with what uv installs from the same
//! lock.
//!
//! Fetches some 2 GB twice, so it runs by name only:
//! `cargo test --test all requirement_sets -- --ignored --nocapture`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod tree;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use goatbuild::event::Reporter;
use goatbuild::fetch::{Fetcher, Patience};
use goatbuild::lock::pylock::{LockedWheel, PythonRequest, Sources};
use goatbuild::platform::{Architecture, MajorMinor, Runtime};
use goatbuild::python::{self, Upgrade, Uv};
use goatbuild::wheel::{self, Scheme, WheelFile, WheelRef};
use serde::Deserialize;

use self::tree::{Tree, tree};
use crate::support::peers;

#[derive(Deserialize)]
struct Sets {
    set: Vec<Set>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Set {
    name: String,
    /// Where it comes from.
    from: String,
    requirements: Vec<String>,
    as_of: Option<String>,
}

fn done(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Builds the layers of an image and unpacks them with `tar`, one over the other.
fn unpacked(wheels: &[LockedWheel], files: &[WheelFile], scheme: &Scheme, to: &Path) -> Tree {
    let sized =
        wheels.iter().map(|it| WheelRef { name: it.name.clone(), size: it.size.unwrap_or(0) });
    for slot in wheel::slots(&sized.collect::<Vec<_>>(), 100) {
        let slot: Vec<WheelFile> = slot.wheels.iter().map(|at| files[*at].clone()).collect();
        let path = to.join("layer.tar.gz");
        let mut layer = File::create(&path).expect("a file");
        wheel::build_layer(&slot, scheme, &mut layer, &Reporter::silent()).expect("a layer");
        done(Command::new("tar").args(["-xzf", "layer.tar.gz", "--no-same-owner"]).current_dir(to));
        fs::remove_file(&path).expect("removes");
    }
    wheel::collisions(files, scheme, &Reporter::silent()).expect("no two wheels own one path");
    tree(&to.join("opt/goatbuild"))
}

/// What uv makes of the lock, beside what an empty environment has.
fn installed(uv: &Uv, lock: &Path, scheme: &Scheme, to: &Path) -> Tree {
    let (venv, cache) = (to.join("venv"), to.join("uv-cache"));
    let mut make = Command::new(&uv.program);
    make.args(["venv", "--quiet", "--python", &scheme.python.to_string()]);
    done(make.arg(&venv).arg("--cache-dir").arg(&cache));
    let empty = tree(&venv);
    let mut sync = Command::new(&uv.program);
    sync.args(["pip", "sync", "--quiet", "--link-mode", "hardlink", "--python"]);
    done(sync.arg(venv.join("bin/python")).arg("--cache-dir").arg(&cache).arg(lock));
    let mut installed = tree(&venv);
    installed.retain(|path, _| !empty.contains_key(path));
    installed
}

#[tokio::test]
#[ignore = "fetches 2 GB twice, and takes minutes: run it by name"]
async fn layers_have_the_files_that_uv_installs_from_the_same_lock() {
    let venv = peers::venv("uv-0.13.9", &["uv==0.13.9"]).expect("uv");
    let uv = Uv { program: venv.join("bin/uv"), version: "0.13.9".to_owned() };
    let said = done(Command::new("python3").args([
        "-c",
        "import sys, os; print('%d.%d %s' % (*sys.version_info[:2], os.confstr('CS_GNU_LIBC_VERSION').split()[1]))",
    ]));
    let (python, glibc) = said.trim().split_once(' ').expect("two versions");
    let version = |text: &str| text.parse::<MajorMinor>().expect("a version");
    let runtime = Runtime {
        architecture: Architecture::Amd64,
        glibc: version(glibc),
        python: version(python),
    };
    let scheme = Scheme { python: runtime.python, epoch: 0 };
    let sets = fs::read_to_string("tests/requirement_sets/sets.toml").expect("text");
    let Sets { set: sets } = toml::from_str(&sets).expect("sets");
    let chosen = std::env::var("GOATBUILD_SET").unwrap_or_default();
    let fetcher = Fetcher::new(false, Patience::default());
    println!("| set | wheels | MB | files | of them allowed to differ | differ | seconds |");
    println!("|---|---|---|---|---|---|---|");
    let mut wrong = BTreeMap::new();
    for set in sets.iter().filter(|set| set.name.contains(&chosen)) {
        assert!(!set.from.is_empty(), "{}", set.name);
        let began = Instant::now();
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let path = directory.path();
        let request = PythonRequest {
            image: "set".to_owned(),
            requirements: set.requirements.clone(),
            overrides: Vec::new(),
            sources: Sources { as_of: set.as_of.clone(), ..Sources::default() },
            runtime,
        };
        let resolved = python::resolve(&uv, &fetcher, &request, None, &Upgrade::All, path).await;
        let resolved = resolved.unwrap_or_else(|error| panic!("{}: {error}", set.name));
        resolved.warnings.iter().for_each(|warning| eprintln!("{}: {warning}", set.name));
        let lock = path.join("pylock.toml");
        fs::write(&lock, resolved.lock.render()).expect("writes");
        let wheels = resolved.lock.choose(&runtime).expect("wheels");
        let (into, silent) = (path.join("wheels"), Reporter::silent());
        let paths = python::fetch_wheels(&fetcher, &wheels, &into, &silent);
        let paths = paths.await.expect("wheels");
        let files: Vec<WheelFile> = paths
            .into_iter()
            .zip(&wheels)
            .map(|(path, wheel)| WheelFile {
                path,
                filename: wheel.filename.clone(),
                adds: Vec::new(),
                scripts: wheel.scripts.clone(),
            })
            .collect();
        let root = path.join("root");
        fs::create_dir(&root).expect("a directory");
        let ours = unpacked(&wheels, &files, &scheme, &root);
        let theirs = installed(&uv, &lock, &scheme, path);
        let compared = tree::compare(&ours, &theirs);
        let size: u64 = wheels.iter().filter_map(|it| it.size).sum();
        println!(
            "| {} | {} | {} | {} | {} | {} | {:.0} |",
            set.name,
            wheels.len(),
            size / 1_000_000,
            ours.len(),
            compared.allowed,
            compared.wrong.len(),
            began.elapsed().as_secs_f64()
        );
        if !compared.wrong.is_empty() {
            wrong.insert(&set.name, compared.wrong);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
