//! Real wheels, installed by the real pip, against our layer.
//!
//! Needs the network, or a directory of wheels for pip's Python in `GOATBUILD_PEER_WHEELS`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use flate2::read::MultiGzDecoder;

use super::*;
use crate::testing::peers::skipped;

const WHEELS: [&str; 3] = ["attrs==25.3.0", "charset-normalizer==3.4.2", "markupsafe==3.0.2"];

/// What installers rightly differ in: their own name, and the list that holds its hash.
fn differs_by_design(path: &str) -> bool {
    ["INSTALLER", "RECORD", "REQUESTED", "direct_url.json"]
        .iter()
        .any(|name| path.contains(".dist-info/") && path.ends_with(name))
}

fn python(arguments: &[&str]) -> Option<String> {
    let output = Command::new("python3").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_tree_is_the_one_that_pip_installs() {
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("wheels");
    let wheels = std::env::var("GOATBUILD_PEER_WHEELS").map_or(own, Into::into);
    let wheels = wheels.to_str().unwrap();
    if !Path::new(wheels).exists() {
        let mut download =
            vec!["-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"];
        download.extend(["--retries", "0", "-d", wheels]);
        download.extend(WHEELS);
        if python(&download).is_none() {
            skipped("the package index", &format!("pip can't download {WHEELS:?}"));
            return;
        }
    }
    let version = python(&["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).unwrap();
    let scheme = Scheme { python: version.trim().parse().unwrap(), epoch: 0 };
    for entry in std::fs::read_dir(wheels).unwrap() {
        let entry = entry.unwrap();
        let filename = entry.file_name().into_string().unwrap();
        let file = WheelFile::alone(entry.path(), filename.clone());
        let mut layer = Vec::new();
        build_layer(&[file], &scheme, &mut layer, &Reporter::silent()).unwrap();
        let prefix = directory.path().join(&filename);
        let installed = python(&[
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--no-compile",
            "--no-warn-script-location",
            "--ignore-installed",
            "--prefix",
            prefix.to_str().unwrap(),
            entry.path().to_str().unwrap(),
        ]);
        assert!(installed.is_some(), "pip installs {filename}");
        let (ours, theirs) = (of_layer(&layer), of_directory(&prefix));
        let paths =
            |tree: &BTreeMap<String, (bool, Vec<u8>)>| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(paths(&ours), paths(&theirs), "{filename}");
        for (path, (executable, content)) in &ours {
            let (pip_executable, pip_content) = &theirs[path];
            assert_eq!(executable, pip_executable, "{filename}: {path}");
            // Launchers have another text, and name another interpreter.
            if !path.starts_with("bin/") {
                assert!(content == pip_content, "{filename}: {path}");
            }
        }
        println!("{filename}: {} files as pip has them", ours.len());
        let _ = std::fs::remove_dir_all(prefix);
    }
}

fn of_layer(layer: &[u8]) -> BTreeMap<String, (bool, Vec<u8>)> {
    let mut archive = ::tar::Archive::new(MultiGzDecoder::new(layer));
    let mut tree = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let Some(path) = path.strip_prefix("opt/goatbuild/") else { continue };
        if entry.header().entry_type().is_file() && !differs_by_design(path) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let executable = entry.header().mode().unwrap() & 0o111 != 0;
            tree.insert(path.to_owned(), (executable, content));
        }
    }
    tree
}

fn of_directory(prefix: &Path) -> BTreeMap<String, (bool, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt as _;
    walkdir::WalkDir::new(prefix)
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| {
            let path = entry.path().strip_prefix(prefix).unwrap().to_str().unwrap().to_owned();
            let executable = entry.metadata().unwrap().permissions().mode() & 0o111 != 0;
            (!differs_by_design(&path))
                .then(|| (path, (executable, std::fs::read(entry.path()).unwrap())))
        })
        .collect()
}
