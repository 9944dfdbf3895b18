//! Our image, read by skopeo and umoci: programs that nobody here wrote.
#![cfg(target_os = "linux")]

use crate::support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use goatbuild::digest::Digest;
use goatbuild::event::Reporter;
use goatbuild::oci::{Layout, unpack_layers};
use serde_json::Value;
use support::debian::DebianRoot;
use support::project::{Project, ran};
use support::quickstart::built;

fn layout(quickstart: &Project) -> Layout {
    Layout::open(&quickstart.path("cache/oci")).unwrap()
}

#[test]
fn skopeo_inspects_and_copies_the_image_as_it_is() {
    let (Some(skopeo), Some(quickstart)) = (DebianRoot::of("skopeo"), built()) else { return };
    let skopeo = |arguments: &[&str]| {
        let mut command = skopeo.command("usr/bin/skopeo");
        command.arg("--insecure-policy").args(arguments).env("HOME", quickstart.directory());
        ran(command.current_dir(quickstart.root())).done()
    };
    let ours = layout(&quickstart).tagged("mlx").unwrap();
    let seen: Value = serde_json::from_str(&skopeo(&["inspect", "oci:cache/oci:mlx"])).unwrap();
    assert_eq!(seen["Digest"], ours.digest.to_string(), "{seen}");
    assert_eq!(seen["Architecture"], "amd64");
    assert_eq!(seen["Layers"].as_array().unwrap().len(), ours.manifest.layers().len());
    assert_eq!(seen["Created"], "1970-01-01T00:00:00Z");

    // skopeo verifies every blob against its digest, and every layer against its diff_id.
    let copied = quickstart.directory().join("copied");
    skopeo(&["copy", "oci:cache/oci:mlx", &format!("oci:{}:mlx", copied.display())]);
    assert_eq!(Layout::open(&copied).unwrap().tagged("mlx").unwrap().digest, ours.digest);
    let plain = quickstart.directory().join("plain");
    skopeo(&["copy", "oci:cache/oci:mlx", &format!("dir:{}", plain.display())]);
    let manifest = fs::read(plain.join("manifest.json")).unwrap();
    assert_eq!(Digest::of(&manifest), ours.digest);
    let mut blobs = vec![ours.manifest.config().digest().to_string()];
    blobs.extend(ours.manifest.layers().iter().map(|layer| layer.digest().to_string()));
    for digest in blobs {
        let path = layout(&quickstart).blobs().path(digest.parse().unwrap());
        let name = digest.trim_start_matches("sha256:");
        let blob = fs::read(path).unwrap();
        assert!(blob == fs::read(copied.join("blobs/sha256").join(name)).unwrap(), "{digest}");
        assert!(blob == fs::read(plain.join(name)).unwrap(), "{digest}");
    }
}

#[test]
fn umoci_unpacks_the_same_tree_as_we_do() {
    let (Some(umoci), Some(quickstart)) = (DebianRoot::of("umoci"), built()) else { return };
    let bundle = quickstart.directory().join("bundle");
    let mut command = umoci.command("usr/bin/umoci");
    command.args(["unpack", "--rootless", "--image", "cache/oci:mlx"]).arg(&bundle);
    ran(command.current_dir(quickstart.root())).done();
    let layout = layout(&quickstart);
    let ours = quickstart.directory().join("rootfs");
    let image = layout.tagged("mlx").unwrap();
    unpack_layers(&layout, &image, &ours, &Reporter::silent()).unwrap();

    let (theirs, ours) = (tree(&bundle.join("rootfs")), tree(&ours));
    assert!(theirs.len() > 5000, "{} paths", theirs.len());
    let differing: Vec<_> = theirs
        .iter()
        .map(|(path, node)| (path, Some(node), ours.get(path)))
        .chain(ours.iter().map(|(path, node)| (path, theirs.get(path), Some(node))))
        .filter(|(_, theirs, ours)| theirs != ours)
        .take(10)
        .collect();
    assert!(differing.is_empty(), "umoci's and ours: {differing:#?}");
}

/// What stands at a path: its kind and mode, and what is in it.
#[derive(Debug, PartialEq, Eq)]
enum Node {
    Directory(u32),
    File(u32, Digest),
    Link(std::path::PathBuf),
}

fn tree(root: &Path) -> BTreeMap<String, Node> {
    let mut nodes = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        // Bits that lend an owner's rights, as `su` has them, aren't unpacked here.
        let mode = || entry.metadata().unwrap().permissions().mode() & 0o1777;
        let node = if entry.path_is_symlink() {
            Node::Link(fs::read_link(entry.path()).unwrap())
        } else if entry.file_type().is_dir() {
            Node::Directory(mode())
        } else {
            Node::File(mode(), Digest::of(&fs::read(entry.path()).unwrap()))
        };
        let path = entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned();
        nodes.insert(path, node);
    }
    nodes
}
