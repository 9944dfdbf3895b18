//! A volume that goatbuild wrote, read by Hugging Face's own client; and a hub that nobody here
//! wrote.

use crate::support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use goatbuild::event::Reporter;
use goatbuild::fetch::Patience;
use goatbuild::fingerprint::Fingerprint;
use goatbuild::hub::{
    DigestKind, Fetched, FileDigest, HashCache, Hub, HubSettings, Manifest, ModelCache, Revision,
    scan,
};
use support::double::Content;
use support::hub::{COMMIT, HubDouble};
use support::olah::{Git, Olah};

/// Remembers nothing.
struct Forgetful;

impl HashCache for Forgetful {
    fn get(&self, _: &str, _: &str) -> Option<FileDigest> {
        None
    }

    fn put(&self, _: &str, _: &str, _: FileDigest) {}
}

fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn install(volume: &Path, from: &Path, version: u32) -> Manifest {
    let manifest = scan(from, ".", &Forgetful, &Reporter::silent()).unwrap();
    let key = Fingerprint::new("weights", version).key();
    let cache = ModelCache::new(volume);
    cache.install(key, "local/tiny-model", &manifest, from, &Reporter::silent()).unwrap();
    manifest
}

const SCRIPT: &str = r#"
import json, os, pathlib, sys
from huggingface_hub import scan_cache_dir, snapshot_download
repo, commit, cache = sys.argv[1:]
def files(path):
    root = pathlib.Path(path)
    return {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*") if p.is_file()}
scanned = scan_cache_dir(cache)
repos = list(scanned.repos)
print(json.dumps({
    "by_ref": files(snapshot_download(repo, local_files_only=True)),
    "by_commit": files(snapshot_download(repo, revision=commit, local_files_only=True)),
    "warnings": [str(warning) for warning in scanned.warnings],
    "repos": [r.repo_id for r in repos],
    "revisions": sorted(v.commit_hash for r in repos for v in r.revisions),
    "main": [v.commit_hash for r in repos for v in r.revisions if "main" in v.refs],
}))
"#;

/// Hugging Face's own client.
fn client() -> Option<PathBuf> {
    support::peers::venv("huggingface", &["huggingface_hub==0.36.0"])
}

/// What the client finds in a volume, without a network.
fn found(venv: &Path, volume: &Path, repository: &str, commit: &str) -> serde_json::Value {
    let output = Command::new(venv.join("bin/python"))
        .args(["-W", "error", "-c", SCRIPT, repository, commit])
        .arg(volume.join("hub"))
        .env("HF_HOME", volume)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_hugging_face_client_reads_a_volume_that_we_wrote() {
    let Some(venv) = client() else { return };
    let (from, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(from.path(), "config.json", b"{}");
    put(from.path(), "model.safetensors", &vec![7; 1 << 16]);
    put(from.path(), "original/nested/params.json", b"{\"dim\": 8}");
    // The same bytes twice are one blob.
    put(from.path(), "generation_config.json", b"{}");
    let old = install(volume.path(), from.path(), 1);
    put(from.path(), "model.safetensors", &vec![8; 1 << 15]);
    let new = install(volume.path(), from.path(), 2);
    // What a killed run would leave.
    put(volume.path(), "hub/models--local--tiny-model/blobs/.incoming-1", b"half");

    let said = found(&venv, volume.path(), "local/tiny-model", &old.commit());
    let files = |manifest: &Manifest| {
        let files = manifest.files.iter().map(|file| (file.path.clone(), file.size.into()));
        serde_json::Value::Object(files.collect())
    };
    assert_eq!(said["by_ref"], files(&new));
    assert_eq!(said["by_commit"], files(&old));
    assert_eq!(said["warnings"], serde_json::json!([]));
    assert_eq!(said["repos"], serde_json::json!(["local/tiny-model"]));
    let mut commits = [old.commit(), new.commit()];
    commits.sort();
    assert_eq!(said["revisions"], serde_json::json!(commits));
    assert_eq!(said["main"], serde_json::json!([new.commit()]));
}

fn hub(endpoint: &str) -> Hub {
    let settings = HubSettings {
        endpoint: endpoint.to_owned(),
        token: None,
        caches: Vec::new(),
        offline: None,
    };
    Hub::new(settings, false, Patience::default()).unwrap()
}

async fn fetched(hub: &Hub, repository: &str, revision: &Revision, volume: &Path) -> Fetched {
    let (commit, cache) = (&revision.commit, ModelCache::new(volume));
    let (files, reporter) = (&revision.files, Reporter::silent());
    let fetched = hub.fetch(repository, commit, files, &cache, &Forgetful, &reporter);
    let fetched = fetched.await.unwrap();
    cache.refer(repository, "main", commit).unwrap();
    fetched
}

/// What the client has to find of a revision that was fetched.
fn assert_found(said: &serde_json::Value, repository: &str, revision: &Revision) {
    let files = revision.files.iter().map(|file| (file.path.clone(), file.size.into()));
    let files = serde_json::Value::Object(files.collect());
    assert_eq!(said["by_ref"], files);
    assert_eq!(said["by_commit"], files);
    assert_eq!(said["warnings"], serde_json::json!([]));
    assert_eq!(said["repos"], serde_json::json!([repository]));
    assert_eq!(said["revisions"], serde_json::json!([revision.commit]));
    assert_eq!(said["main"], serde_json::json!([revision.commit]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hugging_face_client_takes_what_we_fetched_for_its_own() {
    let Some(venv) = client() else { return };
    let double = HubDouble::start();
    double.small("acme/tiny", "config.json", "{}");
    double.small("acme/tiny", "original/params.json", "{\"dim\": 8}");
    double.large("acme/tiny", "model.safetensors", &Content::noise(1, 3 << 20));
    let (hub, volume) = (hub(&double.url), tempfile::tempdir().unwrap());
    let revision = hub.revision("acme/tiny", "main").await.unwrap();
    fetched(&hub, "acme/tiny", &revision, volume.path()).await;
    // What a killed fetch of another file would leave.
    let blobs = "hub/models--acme--tiny/blobs";
    put(volume.path(), &format!("{blobs}/.partial-{}", "0".repeat(64)), b"half");
    put(volume.path(), &format!("{blobs}/.partial-{}.blocks", "0".repeat(64)), b"\x01");
    assert_found(&found(&venv, volume.path(), "acme/tiny", COMMIT), "acme/tiny", &revision);

    // With a network, it finds nothing to fetch.
    double.forget_requests();
    let script = "from huggingface_hub import snapshot_download as s; print(s('acme/tiny'))";
    let output = Command::new(venv.join("bin/python"))
        .args(["-W", "error", "-c", script])
        .env("HF_HOME", volume.path())
        .env("HF_ENDPOINT", &double.url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let snapshot = volume.path().join(ModelCache::commit_directory("acme/tiny", COMMIT));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), snapshot.to_str().unwrap());
    assert!(double.sent("hub/api/models/acme/tiny/revision") > 0, "it did ask");
    assert_eq!((double.sent("resolve"), double.sent("cdn/")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_nobody_here_wrote_gives_its_files() {
    let (Some(olah), Some(venv)) = (Olah::provide(), client()) else { return };
    let mirror = tempfile::tempdir().unwrap();
    let git = Git::init(&mirror.path().join("models/acme/tiny"));
    git.put("config.json", b"{\"hidden_size\": 8}");
    git.put("original/nested/params.json", b"{}");
    // Of more than one range, if the server knew ranges.
    let weights = Content::noise(5, 20 << 20).bytes();
    git.put_large("model.safetensors", &weights);
    let old = git.commit("first");
    git.put("config.json", b"{}");
    let new = git.commit("second");
    let server = olah.serve(mirror.path());
    let (hub, volume) = (hub(&server.url), tempfile::tempdir().unwrap());

    let revision = hub.revision("acme/tiny", "main").await.unwrap();
    assert_eq!(revision.commit, new);
    let kinds: Vec<_> =
        revision.files.iter().map(|file| (file.path.as_str(), file.digest.kind())).collect();
    let (git_blob, sha256) = (DigestKind::GitBlob, DigestKind::Sha256);
    assert_eq!(
        kinds,
        [
            ("config.json", git_blob),
            ("model.safetensors", sha256),
            ("original/nested/params.json", git_blob)
        ]
    );
    let pinned = hub.revision("acme/tiny", &old).await.unwrap();
    assert_eq!(pinned.commit, old);
    let config = hub.read("acme/tiny", &old, &pinned.files[0]).await.unwrap();
    assert_eq!(config, b"{\"hidden_size\": 8}");

    // `{}` twice is one blob.
    let size = weights.len() as u64 + 2;
    let all = fetched(&hub, "acme/tiny", &revision, volume.path()).await;
    assert_eq!(all, Fetched { fetched: size, reused: 0 });
    let snapshot = volume.path().join(ModelCache::commit_directory("acme/tiny", &new));
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights);
    assert_found(&found(&venv, volume.path(), "acme/tiny", &new), "acme/tiny", &revision);
    // Of the older commit, one file is another.
    let other = fetched(&hub, "acme/tiny", &pinned, volume.path()).await;
    assert_eq!(other, Fetched { fetched: 18, reused: size });

    let missing = hub.revision("acme/none", "main").await.unwrap_err();
    let code = miette::Diagnostic::code(&missing).unwrap().to_string();
    assert_eq!(code, "goatbuild::hub::token_missing", "it answers 401, like the hub it mirrors");
}
