//! The thin part that touches the disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::file::File;
use super::*;

#[test]
fn a_file_is_created_with_its_directories_and_kept_as_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/deep/config.yaml");
    let file = File::read(&path).unwrap();
    file.write(&upsert(&file.document().unwrap(), &entry(), false).unwrap()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("model_list:\n{}", lines("  ")));

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = directory.path().join("link.yaml");
    symlink("new/deep/config.yaml", &link).unwrap();
    File::read(&link).unwrap().write("model_list: []\n").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&path).unwrap(), "model_list: []\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_change_by_somebody_else_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, "a: 1\n").unwrap();
    let file = File::read(&path).unwrap();
    fs::write(&path, "a: 2\n").unwrap();
    assert!(matches!(file.write("a: 3\n"), Err(GatewayError::Moved { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a: 2\n");
}

#[test]
fn an_alias_in_an_included_file_is_a_conflict() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    fs::create_dir(directory.path().join("more")).unwrap();
    fs::write(&path, "include: [more/a.yaml]\nmodel_list: []\n").unwrap();
    // A circle is no error for LiteLLM: each file is read once.
    fs::write(directory.path().join("more/a.yaml"), "include: [b.yaml, ../config.yaml]\n").unwrap();
    let hand_made = "model_list:\n- model_name: tiny-local\n  litellm_params: {model: x}\n";
    fs::write(directory.path().join("more/b.yaml"), hand_made).unwrap();
    let document = File::read(&path).unwrap().document().unwrap();
    let found = observe(&document, &entry());
    assert!(!found.is_adoptable() && found.rivals[0].included);
    assert!(found.rivals[0].path.ends_with("more/b.yaml"));
    assert!(matches!(upsert(&document, &entry(), true), Err(GatewayError::Conflict { .. })));
}
