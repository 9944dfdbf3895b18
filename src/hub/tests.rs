use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use miette::Diagnostic as _;

use super::*;
use crate::digest::Digest;
use crate::event::{Progress, Reporter};
use crate::fingerprint::{Fingerprint, Key};
use crate::lock::hub::FileDigest;

/// Remembers nothing.
struct Forgetful;

impl HashCache for Forgetful {
    fn get(&self, _: &str, _: &str) -> Option<FileDigest> {
        None
    }

    fn put(&self, _: &str, _: &str, _: FileDigest) {}
}

fn key(value: u32) -> Key {
    Fingerprint::new("weights", value).key()
}

fn put(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A directory of weights, and one for the volume.
fn places() -> (tempfile::TempDir, tempfile::TempDir) {
    let (from, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(from.path(), "config.json", "{}");
    put(from.path(), "model.safetensors", vec![7; 3 << 20]);
    put(from.path(), "a/b/nested.bin", "deep");
    put(from.path(), ".git/HEAD", "hidden");
    (from, volume)
}

fn scanned(from: &Path) -> Manifest {
    scan(from, ".", &Forgetful, &Reporter::silent()).unwrap()
}

fn install(volume: &Path, from: &Path, manifest: &Manifest) -> Result<u64, WeightsError> {
    let cache = ModelCache::new(volume);
    cache.install(key(1), "local/tiny", manifest, from, &Reporter::silent())
}

fn listed(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_installed_is_all_there_and_is_found_through_its_links() {
    let (from, volume) = places();
    let manifest = scanned(from.path());
    let paths: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["a/b/nested.bin", "config.json", "model.safetensors"]);
    assert_eq!(install(volume.path(), from.path(), &manifest).unwrap(), manifest.size());
    let cache = ModelCache::new(volume.path());
    assert_eq!(cache.check(&key(1)), Some(Ok(manifest.commit())));
    assert_eq!(cache.check(&key(2)), None);
    let model = volume.path().join("hub/models--local--tiny");
    assert_eq!(fs::read_to_string(model.join("refs/main")).unwrap(), manifest.commit());
    let snapshot =
        volume.path().join(ModelCache::commit_directory("local/tiny", &manifest.commit()));
    assert_eq!(fs::read_to_string(snapshot.join("a/b/nested.bin")).unwrap(), "deep");
    let link = fs::read_link(snapshot.join("a/b/nested.bin")).unwrap();
    assert!(link.starts_with("../../../../blobs"), "{link:?}");
    let blob = fs::metadata(snapshot.join("config.json")).unwrap();
    assert_eq!(blob.permissions().mode() & 0o777, 0o644, "others may have to read it");
    // Again: nothing is copied.
    assert_eq!(install(volume.path(), from.path(), &manifest).unwrap(), 0);
}

#[test]
fn what_is_missing_or_of_another_size_is_named() {
    let (from, volume) = places();
    let manifest = scanned(from.path());
    install(volume.path(), from.path(), &manifest).unwrap();
    let cache = ModelCache::new(volume.path());
    let snapshot =
        volume.path().join(ModelCache::commit_directory("local/tiny", &manifest.commit()));
    let blob = fs::canonicalize(snapshot.join("config.json")).unwrap();
    fs::write(&blob, "longer").unwrap();
    assert_eq!(cache.check(&key(1)), Some(Err(Lapse::Gone("config.json".to_owned()))));
    assert_eq!(install(volume.path(), from.path(), &manifest).unwrap(), 2);
    assert_eq!(cache.check(&key(1)), Some(Ok(manifest.commit())));
    fs::remove_file(snapshot.join("a/b/nested.bin")).unwrap();
    assert_eq!(cache.check(&key(1)), Some(Err(Lapse::Gone("a/b/nested.bin".to_owned()))));
}

#[test]
fn a_blob_is_trusted_by_its_bytes_not_by_its_size() {
    let (from, volume) = places();
    let manifest = scanned(from.path());
    install(volume.path(), from.path(), &manifest).unwrap();
    let snapshot =
        volume.path().join(ModelCache::commit_directory("local/tiny", &manifest.commit()));
    let blob = fs::canonicalize(snapshot.join("config.json")).unwrap();
    fs::write(&blob, "[]").unwrap();
    assert_eq!(install(volume.path(), from.path(), &manifest).unwrap(), 2);
    assert_eq!(fs::read_to_string(&blob).unwrap(), "{}");
}

#[test]
fn a_file_that_was_written_to_is_told_without_reading_it_and_one_that_was_not_by_reading_all() {
    let (from, volume) = places();
    let manifest = scanned(from.path());
    install(volume.path(), from.path(), &manifest).unwrap();
    let cache = ModelCache::new(volume.path());
    let snapshot =
        volume.path().join(ModelCache::commit_directory("local/tiny", &manifest.commit()));
    let named = snapshot.join("config.json");
    let blob = fs::canonicalize(&named).unwrap();
    let whole = || Some(Ok(manifest.commit()));
    assert_eq!(cache.check(&key(1)), whole());
    // Another environment shares it.
    fs::hard_link(&blob, volume.path().join("shared")).unwrap();
    assert_eq!(cache.check(&key(1)), whole());
    let written = fs::metadata(&blob).unwrap().modified().unwrap();
    fs::write(&blob, "[]").unwrap();
    assert_eq!(cache.check(&key(1)), Some(Err(Lapse::Touched("config.json".to_owned()))));
    // A disk that fails tells nobody.
    let file = fs::File::options().write(true).open(&blob).unwrap();
    file.set_modified(written).unwrap();
    assert_eq!(cache.check(&key(1)), whole());
    let read = cache.read_all(&Reporter::silent()).unwrap();
    let [model] = &read[..] else { panic!("{read:?}") };
    assert_eq!((&*model.repository, &model.commit), ("local/tiny", &manifest.commit()));
    assert_eq!((model.files, model.bytes), (manifest.files.len(), manifest.size()));
    assert_eq!((&model.damaged, &model.missing), (&vec!["config.json".to_owned()], &vec![]));
    assert!(!blob.exists());
    assert_eq!(cache.check(&key(1)), Some(Err(Lapse::Gone("config.json".to_owned()))));
    assert_eq!(install(volume.path(), from.path(), &manifest).unwrap(), 2);
    let read = cache.read_all(&Reporter::silent()).unwrap();
    assert!(read.iter().all(|model| model.damaged.is_empty() && model.missing.is_empty()));
    assert_eq!(cache.check(&key(1)), whole());
}

#[test]
fn a_killed_copy_leaves_no_receipt_and_is_taken_up_again() {
    let (from, volume) = places();
    let manifest = scanned(from.path());
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, mut seen) = (Arc::clone(&stop), 0);
    let count = std::sync::Mutex::new(move |bytes| {
        seen += bytes;
        flag.store(seen > 1 << 20, Ordering::Relaxed);
    });
    let emit = move |progress| {
        if let Progress::Advance(bytes) = progress {
            (count.lock().unwrap())(bytes);
        }
    };
    let reporter = Reporter::new(Arc::new(emit), stop);
    let cache = ModelCache::new(volume.path());
    let error = cache.install(key(1), "local/tiny", &manifest, from.path(), &reporter).unwrap_err();
    assert_eq!(error.code().unwrap().to_string(), "goatbuild::interrupted");
    assert_eq!(cache.check(&key(1)), None);
    let blobs = volume.path().join("hub/models--local--tiny/blobs");
    let complete = listed(&blobs).len();
    assert_eq!(complete, 2, "the half-copied file is not there");
    // A process that was killed can't even tidy up.
    put(&blobs, ".incoming-killed", "half");
    let copied = install(volume.path(), from.path(), &manifest).unwrap();
    assert_eq!(copied, 3 << 20, "what was complete is not copied again");
    assert_eq!(listed(&blobs).len(), 3);
    assert_eq!(cache.check(&key(1)), Some(Ok(manifest.commit())));
}

#[test]
fn a_file_that_changed_since_it_was_hashed_is_refused() {
    let (from, volume) = places();
    let manifest = scanned(from.path());
    put(from.path(), "config.json", "[]");
    let error = install(volume.path(), from.path(), &manifest).unwrap_err();
    assert_eq!(error.code().unwrap().to_string(), "goatbuild::weights::changed");
    assert_eq!(ModelCache::new(volume.path()).check(&key(1)), None);
    fs::remove_file(from.path().join("config.json")).unwrap();
    let error = install(volume.path(), from.path(), &manifest).unwrap_err();
    assert_eq!(error.code().unwrap().to_string(), "goatbuild::weights::read");
}

#[test]
fn a_new_revision_stands_beside_the_old_one() {
    let (from, volume) = places();
    let old = scanned(from.path());
    install(volume.path(), from.path(), &old).unwrap();
    put(from.path(), "config.json", "[1]");
    let new = scanned(from.path());
    assert_ne!(old.commit(), new.commit());
    let cache = ModelCache::new(volume.path());
    let copied =
        cache.install(key(2), "local/tiny", &new, from.path(), &Reporter::silent()).unwrap();
    assert_eq!(copied, 3);
    assert_eq!(cache.check(&key(1)), Some(Ok(old.commit())));
    assert_eq!(cache.check(&key(2)), Some(Ok(new.commit())));
}

#[test]
fn what_cannot_be_served_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let code = |path: &Path| {
        let error = scan(path, ".", &Forgetful, &Reporter::silent()).unwrap_err();
        error.code().unwrap().to_string()
    };
    assert_eq!(code(empty.path()), "goatbuild::weights::empty");
    assert_eq!(code(&empty.path().join("gone")), "goatbuild::weights::no_directory");
    std::os::unix::fs::symlink(empty.path(), empty.path().join("loop")).unwrap();
    assert_eq!(code(empty.path()), "goatbuild::weights::read");
}

#[test]
fn links_are_followed_within_the_project_only() {
    let (outside, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = project.path();
    put(outside.path(), "secret/key", "secret");
    put(root, "shared/part", "1");
    put(root, "model/config.json", "{}");
    let link = |to: &Path, name: &str| {
        let link = root.join(name);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(to, &link).unwrap();
    };
    let scan = |path: &str| scan(root, path, &Forgetful, &Reporter::silent());
    link(Path::new("../shared/part"), "model/relative");
    link(&root.join("shared"), "model/absolute");
    link(Path::new("model/relative"), "chained");
    link(&root.join("chained"), "model/chain");
    link(Path::new("model"), "itself");
    let names = ["absolute/part", "chain", "config.json", "relative"];
    for path in ["model", "itself"] {
        let found = scan(path).unwrap().files;
        assert_eq!(found.iter().map(|file| &*file.path).collect::<Vec<_>>(), names);
    }
    // Where a chain ends counts, whatever its first link looks like.
    let secret = outside.path().canonicalize().unwrap().join("secret");
    let hops = |to: &Path| {
        link(to, "second");
        link(Path::new("second"), "first");
        link(Path::new("../first"), "model/out");
    };
    for (to, end) in [(&secret, &secret), (&secret.join("key"), &secret.join("key"))] {
        link(to, "model/out");
        let direct = scan("model").unwrap_err();
        hops(to);
        for error in [direct, scan("model").unwrap_err()] {
            assert_eq!(error.code().unwrap().to_string(), "goatbuild::weights::outside");
            let (from, end) = (root.join("model/out"), end.display());
            let text = format!("{} leads out of the project, to {end}", from.display());
            assert_eq!(error.to_string(), text);
        }
    }
    link(&secret, "away");
    assert!(matches!(scan("away").unwrap_err(), WeightsError::Outside { .. }));
}

#[test]
fn what_has_no_bytes_is_told_and_not_waited_for() {
    let project = tempfile::tempdir().unwrap();
    let root = project.path();
    put(root, "model/config.json", "{}");
    let told = |name: &str| {
        let error = scan(root, "model", &Forgetful, &Reporter::silent()).unwrap_err();
        fs::remove_file(root.join("model").join(name)).unwrap();
        let text = error.to_string();
        assert!(text.contains(&format!("model/{name} is a")), "{text}");
        text.rsplit_once("is a").unwrap().1.to_owned()
    };
    let at = root.join("model/it");
    nix::unistd::mkfifo(&at, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(told("it"), " FIFO, not a file");
    let _socket = std::os::unix::net::UnixListener::bind(&at).unwrap();
    assert_eq!(told("it"), " socket, not a file");
    std::os::unix::fs::symlink("it", &at).unwrap();
    assert!(told("it").contains("link to it, which can't be read: Too many levels"));
    std::os::unix::fs::symlink("gone", &at).unwrap();
    assert!(told("it").contains("link to gone, which can't be read: No such file"));
    std::os::unix::fs::symlink(root.join("model"), &at).unwrap();
    assert!(told("it").contains("which it is in"));
}

#[test]
fn no_name_of_a_branch_leads_out_of_its_directory() {
    let volume = tempfile::tempdir().unwrap();
    let cache = ModelCache::new(volume.path().join("cache"));
    let out = volume.path().join("out");
    for name in ["../../../out", "/out", out.to_str().unwrap(), "a/../../b", "a//b", ".", "", "a/"]
    {
        let error = cache.refer("acme/tiny", name, "c0ffee").expect_err(name);
        assert!(matches!(error, WeightsError::Reference { .. }), "{name}: {error}");
        assert!(error.to_string().contains("can't be the name of a branch or tag"), "{error}");
    }
    assert!(!volume.path().join("cache").exists() && !out.exists());
    cache.refer("acme/tiny", "refs/pr/1", "c0ffee").unwrap();
    assert!(cache.has_reference("acme/tiny", "refs/pr/1"));
}

#[test]
fn a_copy_that_has_no_room_is_a_full_disk() {
    let volume = tempfile::tempdir().unwrap();
    let failed = |kind: std::io::ErrorKind| {
        let error = WeightsError::Write { path: volume.path().join("blob"), source: kind.into() };
        let error = download::full_or_other(error, 7);
        error.code().unwrap().to_string()
    };
    assert_eq!(failed(std::io::ErrorKind::StorageFull), "goatbuild::hub::disk_full");
    assert_eq!(failed(std::io::ErrorKind::QuotaExceeded), "goatbuild::hub::disk_full");
    assert_eq!(failed(std::io::ErrorKind::PermissionDenied), "goatbuild::weights::write");
}

/// Remembers in memory.
#[derive(Default)]
struct Remembering(std::sync::Mutex<Vec<(String, String, FileDigest)>>);

impl HashCache for Remembering {
    fn get(&self, path: &str, stamp: &str) -> Option<FileDigest> {
        let known = self.0.lock().unwrap();
        known.iter().find(|one| one.0 == path && one.1 == stamp).map(|one| one.2)
    }

    fn put(&self, path: &str, stamp: &str, hash: FileDigest) {
        self.0.lock().unwrap().push((path.to_owned(), stamp.to_owned(), hash));
    }
}

#[test]
fn what_was_verified_in_a_volume_is_in_the_one_that_it_was_brought_to() {
    let root = tempfile::tempdir().unwrap();
    let [old, new, copy] = ["old", "new", "a copy"].map(|name| root.path().join(name));
    let known = Remembering::default();
    let hash = |name: &str| FileDigest::Sha256(Digest::of(name.as_bytes()));
    let blobs = "hub/models--acme--tiny/blobs";
    for name in ["aa", "bb", "cc"] {
        put(&old, &format!("{blobs}/{name}"), name);
    }
    for name in ["aa", "bb"] {
        let blob = old.join(blobs).join(name);
        let stamp = manifest::stamp(&fs::metadata(&blob).unwrap());
        known.put(&blob.to_string_lossy(), &stamp, hash(name));
    }
    // One was changed since.
    put(&old, &format!("{blobs}/bb"), "changed");
    let one = [(Path::new(blobs).join("aa"), hash("aa"))];
    assert_eq!(verified(&old, &known), one);
    fs::rename(&old, &new).unwrap();
    keep_verified(&new, &one, &known);
    assert_eq!(verified(&new, &known), one);
    put(&copy, &format!("{blobs}/aa"), "aa");
    keep_verified(&copy, &one, &known);
    assert_eq!(verified(&copy, &known), one);
    assert_eq!(verified(&root.path().join("nothing"), &known), []);
}
