//! Hugging Face's own client reads the volume, offline.

use std::process::Command;

use serde_json::json;

use super::support::hub::COMMIT;
use super::support::peers;
use super::{CONFIG, Hubbed, LARGE, NOTES, SERVER};

const SCRIPT: &str = r#"
import json, pathlib, sys
from huggingface_hub import scan_cache_dir, snapshot_download
cache, revision = sys.argv[1:]
def files(path):
    root = pathlib.Path(path)
    return {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*") if p.is_file()}
scanned = scan_cache_dir(cache)
print(json.dumps({
    "unnamed": files(snapshot_download("acme/tiny", local_files_only=True)),
    "named": files(snapshot_download("acme/tiny", revision=revision, local_files_only=True)),
    "warnings": [str(warning) for warning in scanned.warnings],
    "revisions": [v.commit_hash for r in scanned.repos for v in r.revisions],
    "refs": sorted(ref for r in scanned.repos for v in r.revisions for ref in v.refs),
}))
"#;

#[test]
fn the_hugging_face_client_finds_the_weights_by_branch_and_by_commit() {
    let Some(venv) = peers::venv("huggingface", &["huggingface_hub==0.36.0"]) else { return };
    let Some(hubbed) = Hubbed::new() else { return };
    for (revision, refs) in [(COMMIT, json!(["main"])), ("refs/pr/1", json!(["main", "refs/pr/1"]))]
    {
        hubbed.revision(Some(revision));
        hubbed.place().exits(0);
        // The name of another branch of the same commit changes no key, so it is not told.
        if revision != COMMIT {
            hubbed.run("apply --only weights:acme/tiny --replace weights:acme/tiny").exits(0);
        }
        let output = Command::new(venv.join("bin/python"))
            .args(["-W", "error", "-c", SCRIPT])
            .arg(hubbed.volume().join("hub"))
            .arg(revision)
            .env("HF_HOME", hubbed.volume())
            .env("HF_HUB_OFFLINE", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let files = json!({
            "config.json": CONFIG.len(),
            "model.safetensors": LARGE,
            "original/notes.txt": NOTES.len(),
            "server.py": SERVER.len(),
        });
        assert_eq!(said["named"], files);
        assert_eq!(said["unnamed"], files);
        assert_eq!(said["warnings"], json!([]));
        assert_eq!(said["revisions"], json!([COMMIT]));
        assert_eq!(said["refs"], refs);
    }
}
