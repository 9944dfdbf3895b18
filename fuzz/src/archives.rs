//! Archives: wheels, packages and layers.

use std::fs;
use std::path::Path;

use goatbuild::debian::{BaseLayout, LockedDebian, LockedPackage, write_layer};
use goatbuild::digest::Digest;
use goatbuild::event::Reporter;
use goatbuild::oci::{
    Compression, ImageSpec, LayerRef, Layout, OciError, unpack_layers, write_image,
};
use goatbuild::platform::Architecture;
use goatbuild::wheel::{Scheme, WheelFile, build_layer};

use super::mended;

/// Reads bytes as they are, and with the checksums that they would need.
fn both(bytes: &[u8], mend: fn(&mut [u8]), read: impl Fn(&[u8])) {
    read(bytes);
    let mut mended = bytes.to_vec();
    mend(&mut mended);
    if mended != bytes {
        read(&mended);
    }
}

/// A wheel, made a layer.
pub fn wheel(bytes: &[u8], scratch: &Path) {
    let filename = "Demo_Pkg-1.0-py3-none-any.whl";
    let path = scratch.join(filename);
    let scheme = Scheme { python: "3.12".parse().expect("a version"), epoch: 0 };
    both(bytes, mended::zip, |bytes| {
        fs::write(&path, bytes).expect("a wheel");
        let file = WheelFile::alone(path.clone(), filename);
        let layer = |file: &WheelFile| {
            let mut out = Vec::new();
            build_layer(std::slice::from_ref(file), &scheme, &mut out, &Reporter::silent())
                .map(|_| out)
        };
        if let Ok(first) = layer(&file) {
            assert!(layer(&file).is_ok_and(|second| second == first), "the same bytes again");
        }
    });
}

/// A package, made a layer beside the one that each layer has.
pub fn deb(bytes: &[u8], scratch: &Path) {
    const BASE: &[u8] = include_bytes!("../seeds/base-passwd.deb");
    both(bytes, mended::ar, |bytes| {
        let debs = [("base-passwd", BASE), ("demo", bytes)];
        let paths = debs.map(|(name, bytes)| {
            let path = scratch.join(name);
            fs::write(&path, bytes).expect("a package");
            path
        });
        let packages = debs.map(|(name, bytes)| LockedPackage {
            name: name.to_owned(),
            version: "1.0-1".to_owned(),
            path: format!("pool/{name}.deb"),
            size: bytes.len() as u64,
            sha256: Digest::of(bytes),
        });
        let locked = LockedDebian {
            suite: "bookworm".to_owned(),
            layout: BaseLayout::NEWEST,
            architecture: Architecture::Amd64,
            snapshot: "20261123T000000Z".to_owned(),
            glibc: "2.36".parse().expect("a version"),
            python: None,
            packages: packages.into(),
        };
        let _ = write_layer(&locked, &paths, 7, &mut std::io::sink(), &Reporter::silent());
    });
}

/// A layer of somebody's image, unpacked: nothing but its directory changes.
pub fn layer(bytes: &[u8], scratch: &Path) {
    let compression = match bytes {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    };
    let layout = Layout::open(&scratch.join("layout")).expect("a layout");
    let blob = Digest::of(compression_name(compression).as_bytes());
    // Whoever unpacks takes the bytes for those of the name: so one image is enough.
    fs::write(layout.blobs().path(blob), bytes).expect("a blob");
    let image = image(&layout, blob, compression).expect("an image");
    both(bytes, mended::tar, |bytes| {
        fs::write(layout.blobs().path(blob), bytes).expect("a blob");
        let around = scratch.join("around");
        let into = around.join("into");
        fs::create_dir_all(&into).expect("a directory");
        let _ = unpack_layers(&layout, &image, &into, &Reporter::silent());
        let names: Vec<_> = fs::read_dir(&around).expect("a directory").flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        fs::remove_dir_all(&around).expect("a directory of ours");
    });
}

fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::None => "none",
    }
}

fn image(
    layout: &Layout,
    blob: Digest,
    compression: Compression,
) -> Result<goatbuild::oci::Image, OciError> {
    let tag = compression_name(compression);
    if let Ok(image) = layout.tagged(tag) {
        return Ok(image);
    }
    let spec = ImageSpec {
        architecture: Architecture::Amd64,
        epoch: 0,
        layers: vec![LayerRef {
            digest: blob,
            size: 0,
            diff_id: blob,
            compression,
            created_by: String::new(),
        }],
        base_env: Vec::new(),
        env: std::collections::BTreeMap::new(),
        entrypoint: Vec::new(),
        cmd: Vec::new(),
        settings: goatbuild::lock::BaseSettings::default(),
        annotations: std::collections::BTreeMap::new(),
    };
    layout.tag(tag, write_image(layout, &spec)?)?;
    layout.tagged(tag)
}
