//! The store as a whole: images written, read, damaged, unpacked.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;
use tar::{EntryType, Header};

use super::*;
use crate::event::Reporter;
use crate::platform::Architecture;

enum Put {
    File(&'static str),
    /// As `su` is in an image, and with a file capability, as `ping` has it.
    Privileged(&'static str),
    Directory,
    Symlink(&'static str),
    Hardlink(&'static str),
}

fn layer(layout: &Layout, entries: &[(&str, Put)]) -> LayerRef {
    let mut writer = layout.blobs().layer_writer().unwrap();
    let mut builder = tar::Builder::new(GzipBlocks::new(&mut writer));
    for (path, put) in entries {
        if matches!(put, Put::Privileged(_)) {
            let capability = ("SCHILY.xattr.security.capability", &b"\x01\0\0\x02"[..]);
            builder.append_pax_extensions([capability]).unwrap();
        }
        let mut header = Header::new_ustar();
        // Set directly, since the builder refuses what hostile layers hold.
        header.as_ustar_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(0o644);
        let (kind, content, target) = match put {
            Put::File(content) => (EntryType::Regular, *content, ""),
            Put::Privileged(content) => {
                header.set_mode(0o6755);
                (EntryType::Regular, *content, "")
            }
            Put::Directory => (EntryType::Directory, "", ""),
            Put::Symlink(target) => (EntryType::Symlink, "", *target),
            Put::Hardlink(target) => (EntryType::Link, "", *target),
        };
        header.set_entry_type(kind);
        header.as_ustar_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    let (_, made) = builder.into_inner().unwrap().finish().unwrap();
    writer.commit(&made).unwrap();
    LayerRef {
        digest: made.digest,
        size: made.size,
        diff_id: made.diff_id,
        compression: Compression::Gzip,
        created_by: "test".to_owned(),
    }
}

fn spec(layers: Vec<LayerRef>) -> ImageSpec {
    ImageSpec {
        architecture: Architecture::Amd64,
        epoch: 0,
        layers,
        base_env: vec!["PATH=/usr/bin".to_owned(), "A=base".to_owned()],
        env: BTreeMap::from([("A".to_owned(), "own".to_owned()), ("B".to_owned(), String::new())]),
        entrypoint: vec!["/opt/goatbuild/bin/python".to_owned()],
        cmd: Vec::new(),
        settings: crate::lock::BaseSettings {
            labels: ["z", "b", "y", "c"].map(|key| (key.to_owned(), "1".to_owned())).into(),
            ..crate::lock::BaseSettings::default()
        },
        annotations: BTreeMap::new(),
    }
}

fn unpacked(layers: &[&[(&str, Put)]]) -> (tempfile::TempDir, Result<(), OciError>) {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open(&directory.path().join("oci")).unwrap();
    let layers = layers.iter().map(|entries| layer(&layout, entries)).collect();
    let digest = write_image(&layout, &spec(layers)).unwrap();
    let image = layout.image(digest).unwrap();
    let outcome =
        unpack_layers(&layout, &image, &directory.path().join("root"), &Reporter::silent());
    (directory, outcome)
}

fn read(directory: &tempfile::TempDir, path: &str) -> Option<String> {
    fs::read_to_string(directory.path().join("root").join(path)).ok()
}

#[test]
fn an_image_is_the_golden_one_and_found_by_tag_and_digest() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open(directory.path()).unwrap();
    let layer = layer(&layout, &[("a", Put::File("x"))]);
    let digest = write_image(&layout, &spec(vec![layer])).unwrap();
    layout.tag("demo", digest).unwrap();
    layout.tag("demo", digest).unwrap();
    layout.tag("also", digest).unwrap();
    let image = layout.tagged("demo").unwrap();
    assert_eq!(image.digest, layout.image(digest).unwrap().digest);
    assert_eq!(layout.tags().unwrap().len(), 2);
    layout.verify(digest, &Reporter::silent()).unwrap();
    let config = layout::digest_of(image.manifest.config()).unwrap();
    let text = String::from_utf8(layout.blobs().read(config).unwrap()).unwrap();
    insta::assert_snapshot!(text, @r#"{"architecture":"amd64","config":{"Cmd":[],"Entrypoint":["/opt/goatbuild/bin/python"],"Env":["PATH=/opt/goatbuild/bin:/usr/bin","A=own","B="],"Labels":{"b":"1","c":"1","y":"1","z":"1"},"WorkingDir":"/"},"created":"1970-01-01T00:00:00Z","history":[{"created":"1970-01-01T00:00:00Z","created_by":"test"}],"os":"linux","rootfs":{"diff_ids":["sha256:9667fdd6aa9dc2766dd908df44ed2717bd33abc0521603ed84d2e257dbee2248"],"type":"layers"}}"#);
    insta::assert_snapshot!(fs::read_to_string(directory.path().join("index.json")).unwrap(), @r#"{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"also"},"digest":"sha256:645939c8812a61f1e384d9fb212930d047564372dcc054b96c0b354c683b8201","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{"architecture":"amd64","os":"linux"},"size":400},{"annotations":{"org.opencontainers.image.ref.name":"demo"},"digest":"sha256:645939c8812a61f1e384d9fb212930d047564372dcc054b96c0b354c683b8201","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{"architecture":"amd64","os":"linux"},"size":400}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#);
}

#[test]
fn a_dropped_blob_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open(directory.path()).unwrap();
    let mut writer = layout.blobs().writer().unwrap();
    writer.write_all(b"half").unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(directory.path().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn a_damaged_blob_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open(directory.path()).unwrap();
    let layer = layer(&layout, &[("a", Put::File("x"))]);
    let digest = write_image(&layout, &spec(vec![layer.clone()])).unwrap();
    fs::write(layout.blobs().path(layer.digest), b"other").unwrap();
    let error = layout.verify(digest, &Reporter::silent()).unwrap_err();
    assert!(matches!(error, OciError::Damaged { digest, .. } if digest == layer.digest));
    assert!(!layout.blobs().has(layer.digest), "nothing takes it for what it is called any more");
    fs::write(layout.blobs().path(digest), b"other").unwrap();
    let error = layout.image(digest).unwrap_err();
    assert!(matches!(error, OciError::Damaged { digest: named, .. } if named == digest));
    assert!(layout.blobs().has(digest), "a look changes nothing");
    layout.blobs().discard(digest);
    assert!(!layout.blobs().has(digest));
}

#[test]
fn names_that_are_no_digests_never_become_paths() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::open(directory.path()).unwrap();
    for name in ["sha256:../../x", "sha256:", "md5:00", "x"] {
        let entry = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": name, "size": 1,
            "annotations": { "org.opencontainers.image.ref.name": "demo" },
        });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
        let refused = |error| matches!(error, OciError::Digest(_) | OciError::Document { .. });
        assert!(layout.tagged("demo").is_err_and(refused), "{name}");
        let read = |tags: Vec<layout::Tag>| tags.iter().all(|(_, digest)| digest.is_err());
        assert!(layout.tags().map_or_else(refused, read), "{name}");
    }
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let (directory, outcome) = unpacked(&[
        &[
            ("d/", Put::Directory),
            ("d/old", Put::File("1")),
            ("gone", Put::File("1")),
            ("e/old", Put::File("1")),
        ],
        &[
            ("d/new", Put::File("2")),
            ("d/.wh..wh..opq", Put::File("")),
            (".wh.gone", Put::File("")),
            ("e", Put::File("a file now")),
        ],
    ]);
    outcome.unwrap();
    assert_eq!(read(&directory, "d/new").as_deref(), Some("2"));
    assert_eq!(read(&directory, "e").as_deref(), Some("a file now"));
    assert_eq!(read(&directory, "d/old"), None);
    assert_eq!(read(&directory, "gone"), None);
}

#[test]
fn links_are_kept_and_followed_inside_the_root_only() {
    let (directory, outcome) = unpacked(&[
        &[
            ("usr/lib/x", Put::File("x")),
            ("lib", Put::Symlink("usr/lib")),
            ("up", Put::Symlink("../../../..")),
            ("abs", Put::Symlink("/usr")),
        ],
        &[
            ("lib/y", Put::File("y")),
            ("up/z", Put::File("z")),
            ("abs/w", Put::File("w")),
            ("hard", Put::Hardlink("lib/x")),
        ],
    ]);
    outcome.unwrap();
    for (path, content) in [("usr/lib/y", "y"), ("z", "z"), ("usr/w", "w"), ("hard", "x")] {
        assert_eq!(read(&directory, path).as_deref(), Some(content), "{path}");
    }
    assert!(!directory.path().join("z").exists());
}

#[test]
fn nothing_in_a_root_gives_whoever_runs_it_the_rights_of_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let (directory, outcome) = unpacked(&[
        &[("bin/su", Put::Privileged("su")), ("bin/also", Put::Hardlink("bin/su"))],
        &[("bin/ping", Put::Privileged("ping"))],
    ]);
    outcome.unwrap();
    for name in ["su", "also", "ping"] {
        let path = directory.path().join("root/bin").join(name);
        let mode = path.symlink_metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{name}");
        let capability = rustix::fs::getxattr(&path, "security.capability", &mut [0_u8; 64]);
        assert!(capability.is_err(), "{name}");
    }
}

#[test]
fn hostile_entries_touch_nothing_outside() {
    let hostile: [&[(&str, Put)]; 4] = [
        &[("../x", Put::File("out"))],
        &[("a/../../x", Put::File("out"))],
        &[("h", Put::Hardlink("../oci/index.json"))],
        &[("loop", Put::Symlink("loop")), ("loop/x", Put::File("out"))],
    ];
    for entries in hostile {
        let (directory, outcome) = unpacked(&[entries]);
        assert!(matches!(outcome, Err(OciError::Unpack { .. })), "{}", entries[0].0);
        assert!(!Path::new(directory.path()).join("x").exists());
    }
}
