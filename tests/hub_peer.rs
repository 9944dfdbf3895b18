//! A volume that goatbuild wrote, read by Hugging Face's own client.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use goatbuild::event::Reporter;
use goatbuild::fingerprint::Fingerprint;
use goatbuild::hub::{HashCache, Manifest, ModelCache, scan};

/// Remembers nothing.
struct Forgetful;

impl HashCache for Forgetful {
    fn get(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn put(&self, _: &str, _: &str, _: &str) {}
}

fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn install(volume: &Path, from: &Path, version: u32) -> Manifest {
    let manifest = scan(from, &Forgetful, &Reporter::silent()).unwrap();
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

#[test]
fn the_hugging_face_client_reads_a_volume_that_we_wrote() {
    let Some(venv) = support::peers::venv("huggingface", &["huggingface_hub==0.36.0"]) else {
        return;
    };
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

    let output = Command::new(venv.join("bin/python"))
        .args(["-W", "error", "-c", SCRIPT, "local/tiny-model", &old.commit()])
        .arg(volume.path().join("hub"))
        .env("HF_HOME", volume.path())
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
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
