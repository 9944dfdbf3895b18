use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::volumes::{Standing, volumes};
use super::*;
use crate::digest::Digest;
use crate::fingerprint::{Fingerprint, Key};
use crate::lock::hub::{FileDigest, RemoteFile};
use crate::lock::{LockFile, LockedBase, LockedImage, LockedLayer, LockedPython, LockedRepository};
use crate::platform::{Architecture, Runtime};
use crate::store::Recent;

const REPOSITORY: &str = "acme/tiny";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// A digest's 64 digits.
fn digits(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn digest(digit: char) -> Digest {
    Digest::from_hex(&digits(digit)).unwrap()
}

fn key(value: u32) -> Key {
    Fingerprint::new("weights", value).key()
}

fn put(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// What was found, relative to `root`.
fn paths(root: &Path, found: Result<Vec<Garbage>, GarbageError>) -> Vec<String> {
    let found = found.unwrap_or_else(|error| panic!("{error}"));
    let path = |piece: Garbage| piece.path.strip_prefix(root).unwrap().display().to_string();
    found.into_iter().map(path).collect()
}

/// The lock of an image with a Python that is added to a base.
fn lock(base: LockedBase, python: Digest) -> LockFile {
    let version = |text: &str| text.parse().unwrap();
    let image = LockedImage {
        request: String::new(),
        runtime: Runtime {
            architecture: Architecture::Amd64,
            glibc: version("2.35"),
            python: version("3.12"),
        },
        debian: None,
        base: Some(base),
        python: Some(LockedPython {
            version: "3.12.14".to_owned(),
            build: "20260814".to_owned(),
            sha256: python,
        }),
    };
    LockFile { images: BTreeMap::from([("tiny".to_owned(), image)]), ..LockFile::default() }
}

fn base(digest: Digest, layers: &[Digest]) -> LockedBase {
    let layer = |digest: &Digest| LockedLayer { digest: *digest, size: 1, diff_id: *digest };
    LockedBase {
        reference: "docker.io/library/debian:bookworm".to_owned(),
        digest,
        index: None,
        python: None,
        layers: layers.iter().map(layer).collect(),
        settings: None,
    }
}

#[test]
fn pythons_and_parts_of_bases_stay_while_a_lock_names_them() {
    let cache = tempfile::tempdir().unwrap();
    for digit in ['a', 'b', 'c'] {
        let digits = digits(digit);
        for file in [
            format!("pythons/python-{digits}"),
            format!("pythons/python-{digits}.part"),
            format!("bases/{digits}.json"),
            format!("bases/{digits}.part"),
            format!("bases/{digits}.lock"),
            format!("bases/{digits}"),
        ] {
            put(cache.path(), &file, "x");
        }
    }
    put(cache.path(), "bases/notes", "whose this is isn't known");
    let mut needed = Needed::default();
    needed.add_lock(&lock(base(digest('b'), &[digest('c')]), digest('a')));
    let found = paths(cache.path(), downloads(cache.path(), &needed));
    let mut wanted = Vec::new();
    for digit in ['b', 'c'] {
        wanted.push(format!("pythons/python-{}", digits(digit)));
        wanted.push(format!("pythons/python-{}.part", digits(digit)));
    }
    for end in ["", ".json", ".lock", ".part"] {
        wanted.push(format!("bases/{}{end}", digits('a')));
    }
    assert_eq!(found, wanted);
}

/// Stores a document and gives its digest.
fn document(layout: &Layout, value: &Value) -> Digest {
    layout.blobs().put(value.to_string().as_bytes()).unwrap()
}

#[test]
fn an_index_keeps_its_manifest_and_that_its_configuration_and_layers() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open(directory.path()).unwrap();
    let chain = |name: &str| {
        let layer = layout.blobs().put(format!("layer of {name}").as_bytes()).unwrap();
        let config = document(&layout, &json!({ "os": name }));
        let manifest = json!({ "config": { "digest": config }, "layers": [{ "digest": layer }] });
        let manifest = document(&layout, &manifest);
        // The other platforms' manifests are not here.
        let others = json!([{ "digest": digest('9') }, { "digest": manifest }]);
        let index = document(&layout, &json!({ "manifests": others }));
        [index, manifest, config, layer]
    };
    let (kept, gone) = (chain("kept"), chain("gone"));
    let mut needed = Needed::default();
    needed.add_deployed(&format!(
        "{{\"root\": \"/s/roots/{}\"}}",
        kept[0].to_string().replace(':', "-")
    ));
    needed.add_parts(&layout).unwrap();
    let found: BTreeSet<String> =
        paths(&layout.root().join("blobs/sha256"), blobs(&layout, &needed)).into_iter().collect();
    assert_eq!(found, gone.iter().map(|it| it.hex()).collect());
}

fn listing(commit: &str, digests: &[char]) -> (String, LockedRepository) {
    let file = |digit: &char| RemoteFile {
        path: format!("{digit}.bin"),
        size: 1,
        digest: FileDigest::Sha256(digest(*digit)),
    };
    let files = digests.iter().map(file).collect();
    let locked = LockedRepository { commit: commit.to_owned(), access: None, files, config: None };
    (format!("{REPOSITORY}@{commit}"), locked)
}

/// A volume with a whole file and one on its way for each of these.
fn volume(cache: &Path, digests: &[char]) {
    for digit in digests {
        let blobs = "volumes/models/hub/models--acme--tiny/blobs";
        for name in [
            digits(*digit),
            format!("{}{}", crate::hub::PARTIAL, digits(*digit)),
            format!("{}{}.blocks", crate::hub::PARTIAL, digits(*digit)),
        ] {
            put(cache, &format!("{blobs}/{name}"), "x");
        }
    }
}

/// A model that is wanted at a commit by a step of this key.
fn wanting(commit: &str, by: Option<Key>) -> Needed {
    let mut needed = Needed::default();
    needed.add_weights(REPOSITORY, commit, by);
    needed
}

/// What was found in volumes that are all as this.
fn found(root: &Path, standing: Standing, needed: &Needed) -> Vec<String> {
    paths(root, volumes(&root.join("volumes"), |_| standing, needed))
}

/// The names of garbage among the blobs, `~` for a download that is not finished.
fn garbage_in(cache: &Path, needed: &Needed) -> Vec<String> {
    let found = found(cache, Standing::Wanted, needed);
    let found = found.into_iter().filter(|it| it.contains("/blobs/"));
    let short = |path: String| {
        let name = path.rsplit('/').next().unwrap().to_owned();
        let partial = name.strip_prefix(crate::hub::PARTIAL);
        partial.map_or_else(|| name[..1].to_owned(), |it| format!("~{}", &it[..1]))
    };
    found.map(short).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn what_a_broken_fetch_left_of_a_wanted_commit_stays_and_the_rest_goes() {
    let cache = tempfile::tempdir().unwrap();
    volume(cache.path(), &['a', 'b']);
    let mut needed = wanting(COMMIT, Some(key(1)));
    // Nothing says which files the commit has.
    assert_eq!(garbage_in(cache.path(), &needed), [""; 0]);
    let locked = LockFile { hub: [listing(COMMIT, &['a'])].into(), ..LockFile::default() };
    needed.add_lock(&locked);
    assert_eq!(garbage_in(cache.path(), &needed), ["b", "~b"]);
    // Another one of the repository is wanted, of which nothing is known.
    needed.add_weights(REPOSITORY, OTHER, Some(key(2)));
    assert_eq!(garbage_in(cache.path(), &needed), [""; 0]);
    // Of another repository it doesn't matter.
    let mut elsewhere = Needed::default();
    elsewhere.add_weights("acme/other", COMMIT, Some(key(3)));
    let found = found(cache.path(), Standing::Wanted, &elsewhere);
    assert_eq!(found, ["volumes/models/hub/models--acme--tiny"]);
}

#[test]
fn without_a_list_only_a_receipt_of_what_is_wanted_tells_which_files_are() {
    let cache = tempfile::tempdir().unwrap();
    volume(cache.path(), &['a', 'b']);
    let file = json!({ "path": "a.bin", "size": 1, "digest": digest('a') });
    let receipt = json!({ "repository": REPOSITORY, "commit": COMMIT, "files": [file] });
    let path = format!("volumes/models/.goatbuild/weights-{}.json", key(1));
    put(cache.path(), &path, receipt.to_string());
    assert_eq!(garbage_in(cache.path(), &wanting(COMMIT, Some(key(1)))), ["b", "~b"]);
    assert_eq!(garbage_in(cache.path(), &wanting(COMMIT, None)), ["b", "~b"]);
    // Other patterns, say, want other files of the same commit.
    assert_eq!(garbage_in(cache.path(), &wanting(COMMIT, Some(key(2)))), [""; 0]);
    // A commit that is not known yet may be any.
    assert_eq!(garbage_in(cache.path(), &wanting("", None)), [""; 0]);
}

#[test]
fn a_branch_keeps_its_name_as_long_as_its_commit_is_needed_slashes_or_not() {
    let cache = tempfile::tempdir().unwrap();
    let model = "volumes/models/hub/models--acme--tiny";
    put(cache.path(), &format!("{model}/snapshots/{COMMIT}/config.json"), "{}");
    for (name, commit) in
        [("main", COMMIT), ("old", OTHER), ("refs/pr/1", COMMIT), ("refs/pr/2", OTHER)]
    {
        put(cache.path(), &format!("{model}/refs/{name}"), commit);
    }
    let found = found(cache.path(), Standing::Wanted, &wanting(COMMIT, None));
    assert_eq!(found, [format!("{model}/refs/old"), format!("{model}/refs/refs/pr/2")]);
}

#[test]
fn a_volume_of_no_environment_stays_while_a_server_has_it_or_a_recent_run_filled_it() {
    let cache = tempfile::tempdir().unwrap();
    let receipt = json!({ "repository": REPOSITORY, "commit": COMMIT, "files": [] });
    let path = format!("volumes/staging/.goatbuild/weights-{}.json", key(1));
    put(cache.path(), &path, receipt.to_string());
    let found = |needed: &Needed| found(cache.path(), Standing::Unwanted, needed);
    let nothing = Needed::default();
    assert_eq!(found(&nothing), ["volumes/staging"]);

    let mut served = nothing.clone();
    let source = cache.path().join("volumes/staging").display().to_string();
    served.add_deployed(&json!({ "source": format!("{source}-two") }).to_string());
    // The same name in another environment, or of another project, is another volume.
    served.add_deployed(r#"{"source": "/home/me/goat/default/volumes/staging"}"#);
    assert_eq!(found(&served), ["volumes/staging"]);
    served.add_deployed(&json!({ "source": source, "commit": COMMIT }).to_string());
    assert_eq!(found(&served), [""; 0]);

    let mut recent = nothing;
    recent.add_past(&Recent { keys: [key(1)].into(), ..Recent::default() });
    assert_eq!(found(&recent), [""; 0]);
}

#[test]
fn what_another_volume_has_replaced_goes_unless_a_server_has_it_and_links_go_with_who_wants_them() {
    let root = tempfile::tempdir().unwrap();
    let path = format!("volumes/a \"b\"/.goatbuild/weights-{}.json", key(1));
    put(root.path(), &path, json!({ "repository": REPOSITORY, "commit": COMMIT }).to_string());
    put(root.path(), "elsewhere/file", "x");
    std::os::unix::fs::symlink("../elsewhere", root.path().join("volumes/link")).unwrap();
    let mut needed = wanting(COMMIT, Some(key(1)));
    needed.add_past(&Recent { keys: [key(1)].into(), ..Recent::default() });
    let found = |standing, needed: &Needed| found(root.path(), standing, needed);
    assert_eq!(found(Standing::Superseded, &needed), ["volumes/a \"b\"", "volumes/link"]);
    assert_eq!(found(Standing::Unwanted, &needed), ["volumes/link"]);
    assert_eq!(found(Standing::Wanted, &needed), [""; 0]);
    let source = root.path().join("volumes/a \"b\"");
    needed.add_deployed(&json!({ "source": source.join("hub") }).to_string());
    assert_eq!(found(Standing::Superseded, &needed), ["volumes/link"]);
}

#[test]
fn a_size_is_what_removing_frees() {
    let directory = tempfile::tempdir().unwrap();
    let at = |path: &str| directory.path().join(path);
    for path in ["one/a", "two/b", "elsewhere/c"] {
        put(directory.path(), path, vec![7; 10_000]);
    }
    // In two that go; in one that goes and elsewhere.
    fs::hard_link(at("one/a"), at("two/a")).unwrap();
    fs::hard_link(at("elsewhere/c"), at("one/c")).unwrap();
    // Reserved and never filled, like a download that has just begun.
    fs::File::create(at("two/sparse")).unwrap().set_len(1 << 40).unwrap();
    let piece = |path: &str| Garbage { kind: GarbageKind::Weights, path: at(path), bytes: 0 };
    let mut garbage = [piece("one"), piece("two")];
    measure(&mut garbage).unwrap();
    assert_eq!([garbage[0].bytes, garbage[1].bytes], [0, 20_000]);
    // Measured again, it is the same.
    measure(&mut garbage).unwrap();
    assert_eq!([garbage[0].bytes, garbage[1].bytes], [0, 20_000]);
}
