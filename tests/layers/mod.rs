//! Layers that nobody here wrote, unpacked: by us, by GNU tar, by bsdtar and by umoci.
#![cfg(target_os = "linux")]

mod made;
mod tree;
mod whiteouts;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use goatbuild::digest::Digest;
use goatbuild::event::Reporter;
use goatbuild::oci::{
    Compression, ImageSpec, LayerRef, Layout, OciError, unpack_layers, write_image,
};
use goatbuild::platform::Architecture;
use tempfile::TempDir;

/// A blob, as a registry holds it.
struct Blob {
    bytes: Vec<u8>,
    /// What its media type says.
    called: Compression,
    diff_id: Digest,
}

impl Blob {
    /// A plain tar.
    fn plain(bytes: Vec<u8>) -> Self {
        let diff_id = Digest::of(&bytes);
        Self { bytes, called: Compression::None, diff_id }
    }

    /// One of `tests/data/layers`.
    fn of(name: &str) -> Self {
        let path = format!("{}/tests/data/layers/{name}.tar.gz", env!("CARGO_MANIFEST_DIR"));
        let bytes = fs::read(path).expect("a layer");
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut tar).expect("gzip");
        Self { bytes, called: Compression::Gzip, diff_id: Digest::of(&tar) }
    }

    fn tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        match self.called {
            Compression::Gzip => {
                flate2::read::GzDecoder::new(&self.bytes[..]).read_to_end(&mut tar).expect("gzip");
            }
            _ => tar.clone_from(&self.bytes),
        }
        tar
    }
}

/// A layout with an image of these layers, called `image`.
fn layout(at: &Path, blobs: &[Blob]) -> (Layout, goatbuild::oci::Image) {
    let layout = Layout::open(at).expect("a layout");
    let layer = |blob: &Blob| LayerRef {
        digest: layout.blobs().put(&blob.bytes).expect("stored"),
        size: blob.bytes.len() as u64,
        diff_id: blob.diff_id,
        compression: blob.called,
        created_by: "test".to_owned(),
    };
    let spec = ImageSpec {
        architecture: Architecture::Amd64,
        epoch: 0,
        layers: blobs.iter().map(layer).collect(),
        base_env: Vec::new(),
        env: [].into(),
        entrypoint: Vec::new(),
        cmd: Vec::new(),
        settings: goatbuild::lock::BaseSettings::default(),
        annotations: std::collections::BTreeMap::new(),
    };
    let digest = write_image(&layout, &spec).expect("an image");
    layout.tag("image", digest).expect("tagged");
    let image = layout.image(digest).expect("an image");
    (layout, image)
}

/// What we make of layers.
fn unpacked(blobs: &[Blob]) -> (TempDir, PathBuf, Result<(), OciError>) {
    let directory = tempfile::tempdir().expect("a directory");
    let (layout, image) = layout(&directory.path().join("oci"), blobs);
    let root = directory.path().join("root");
    let outcome = unpack_layers(&layout, &image, &root, &Reporter::silent());
    (directory, root, outcome)
}

/// What we say of layers that we refuse.
#[track_caller]
fn refused(blobs: &[Blob]) -> String {
    unpacked(blobs).2.expect_err("refused").to_string()
}

/// Registries hold layers with the wrong media type (podman-container-tools/buildah#1589: gzip that was called
/// a plain tar), and Docker, containerd and Podman look at the bytes.
#[test]
fn a_layer_is_what_its_bytes_say_whatever_it_is_called() {
    let plain = || Blob::of("pax-sparse-1.0-layer").tar();
    let gzip = || Blob::of("pax-sparse-1.0-layer").bytes;
    let zstd = || zstd::stream::encode_all(&plain()[..], 3).expect("zstd");
    let diff_id = Digest::of(&plain());
    for called in [Compression::Gzip, Compression::Zstd, Compression::None] {
        for bytes in [plain(), gzip(), zstd()] {
            let (_directory, root, outcome) = unpacked(&[Blob { bytes, called, diff_id }]);
            outcome.expect("unpacked");
            assert_eq!(fs::metadata(root.join("data/sparse")).expect("a file").len(), 2 << 20);
        }
        for (bytes, what) in [
            (&b"BZh91AY&SY"[..], "it is bzip2, and no tar"),
            (b"\xfd7zXZ\0\0\x04", "it is xz, and no tar"),
            (b"PK\x03\x04 a zip", "it is a zip file, and no tar"),
            (&[b'x'; 512], "is no octal number"),
        ] {
            let said = refused(&[Blob { bytes: bytes.to_vec(), called, diff_id }]);
            assert!(said.contains(what) && said.contains("sha256:"), "{said}");
        }
    }
}
