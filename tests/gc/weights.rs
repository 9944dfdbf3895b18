//! Weights from a hub: kept while anything reaches them, and gone with all that belongs to them after.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::support::double::Fault;
use super::support::hub::COMMIT;
use super::support::hubbed::{Hubbed, LARGE, NEXT, SPEC, WEIGHTS};
use super::{found, gc};

/// The weights in the volume.
fn model(hubbed: &Hubbed) -> PathBuf {
    hubbed.volume().join("hub/models--acme--tiny")
}

/// What is on disk below a directory that removing it would free.
fn freeable(directory: &Path) -> u64 {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                open.push(entry.path());
            } else if metadata.is_file() {
                let bytes = metadata.len().min(metadata.blocks() * 512);
                let file = (metadata.dev(), metadata.ino());
                files.entry(file).or_insert((bytes, metadata.nlink(), 0)).2 += 1;
            }
        }
    }
    files.values().filter(|(_, links, here)| links == here).map(|(bytes, ..)| bytes).sum()
}

fn hubbed() -> Option<Hubbed> {
    let hubbed = Hubbed::new()?;
    hubbed.project.own_roots();
    Some(hubbed)
}

/// The kinds of what would be removed, and the paths.
#[track_caller]
fn weights(hubbed: &Hubbed, arguments: &str) -> Vec<String> {
    let mut found = found(&gc(&hubbed.project, &format!("--dry-run {arguments}")));
    found.retain(|piece| piece.starts_with("weights "));
    found
}

#[test]
fn a_revision_that_two_models_share_stays_until_neither_wants_it() {
    let Some(hubbed) = hubbed() else { return };
    hubbed.project.write("specs/other.toml", &hubbed.project.read(SPEC));
    hubbed.place().exits(0);
    assert_eq!(weights(&hubbed, "--keep-runs 0"), [""; 0]);
    fs::remove_file(hubbed.project.root().join("specs/other.toml")).unwrap();
    assert_eq!(weights(&hubbed, "--keep-runs 0"), [""; 0]);
    // An edit that was not applied yet can be taken back.
    hubbed.revision(Some(NEXT));
    assert_eq!(weights(&hubbed, "--keep-runs 0"), [""; 0]);

    hubbed.model("source = \"path:model\"\n");
    // The last run put it there.
    assert_eq!(weights(&hubbed, ""), [""; 0]);
    let gone = weights(&hubbed, "--keep-runs 0");
    assert!(
        gone.len() == 2 && gone[1] == format!("weights {}", model(&hubbed).display()),
        "{gone:?}"
    );
    let (cache, before) =
        (hubbed.project.root().join("cache"), gc(&hubbed.project, "-n --keep-runs 0"));
    let there = freeable(&hubbed.project.volumes()) + freeable(&cache.join("logs"));
    let report = gc(&hubbed.project, "--keep-runs 0");
    let here = freeable(&hubbed.project.volumes()) + freeable(&cache.join("logs"));
    assert_eq!(report["bytes"], there - here);
    assert_eq!(before["bytes"], report["bytes"]);
    assert!(there - here > LARGE as u64);
    assert!(!model(&hubbed).exists());
    assert_eq!(gc(&hubbed.project, "--keep-runs 0")["bytes"], 0);
}

#[test]
fn a_fetch_that_broke_off_is_taken_up_after_a_clean_up() {
    let Some(hubbed) = hubbed() else { return };
    hubbed.hub.fault("cdn/", 1, Fault::Truncate(2 << 20));
    hubbed.hub.fault("cdn/", usize::MAX, Fault::Status(500, ""));
    hubbed.place().exits(1);
    let blobs = model(&hubbed).join("blobs");
    // Of another revision: begun, and whole.
    let (partial, whole) = (format!(".partial-{}", "1".repeat(64)), "2".repeat(64));
    fs::write(blobs.join(&whole), "whole").unwrap();
    fs::write(blobs.join(format!("{partial}.blocks")), [1]).unwrap();
    let begun = fs::File::create(blobs.join(&partial)).unwrap();
    begun.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&begun, &[7; 8192], 0).unwrap();
    begun.sync_all().unwrap();

    let before = freeable(&blobs);
    let gone = weights(&hubbed, "");
    let names = [&partial, &format!("{partial}.blocks"), &whole];
    assert_eq!(gone, names.map(|name| format!("weights {}/{name}", blobs.display())));
    let report = gc(&hubbed.project, "");
    assert_eq!(report["bytes"], before - freeable(&blobs));
    assert!((8192..65536).contains(&report["bytes"].as_u64().unwrap()), "{report}");

    // The rest is what the next fetch goes on from.
    hubbed.hub.clear_faults();
    hubbed.place().exits(0);
    let (fetched, reused) = hubbed.bytes();
    assert!(reused > 1 << 20, "{fetched} fetched and {reused} reused");
}

#[test]
fn the_name_of_a_pull_request_stays_with_its_commit() {
    let Some(hubbed) = hubbed() else { return };
    hubbed.revision(Some("refs/pr/1"));
    hubbed.place().exits(0);
    let refs = model(&hubbed).join("refs");
    assert_eq!(fs::read_to_string(refs.join("refs/pr/1")).unwrap(), COMMIT);
    fs::write(refs.join("refs/pr/2"), NEXT).unwrap();
    gc(&hubbed.project, "--keep-runs 0");
    assert_eq!(fs::read_to_string(refs.join("refs/pr/1")).unwrap(), COMMIT);
    assert!(refs.join("main").exists() && !refs.join("refs/pr/2").exists());
    let plan = hubbed.project.plan("--offline");
    assert!(plan.ids("fresh").contains(&WEIGHTS.to_owned()), "{}", plan.0);
}
