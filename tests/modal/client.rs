//! The client that goatbuild installs for itself.

use std::fs;
use std::path::PathBuf;

use super::Remote;

/// Many machines, those of CI above all, have Python keep no bytecode. Without it, each command would
/// compile the client anew.
#[test]
fn the_client_is_compiled_once_wherever_it_is_run() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    let variables = [("PYTHONDONTWRITEBYTECODE", "1")];
    drop(project.run_with("plan", &variables).exits(0));
    let found: Vec<PathBuf> = walkdir::WalkDir::new(project.root().join("cache/tools"))
        .follow_links(true)
        .into_iter()
        .flatten()
        .map(walkdir::DirEntry::into_path)
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Where it is at all, `lib64` is the same.
            name.starts_with("volume.")
                && path.parent().unwrap().ends_with("modal/__pycache__")
                && !path.iter().any(|part| part == "lib64")
        })
        .collect();
    // All tests have the same one.
    let [bytecode] = &found[..] else { panic!("{found:?}") };
    let _ = fs::remove_file(bytecode);
    drop(project.run_with("plan", &variables).exits(0));
    assert!(bytecode.exists());
}
