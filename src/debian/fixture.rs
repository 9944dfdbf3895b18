//! Packages that are made in tests.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tar::EntryType::{Link, Regular, Symlink};

use super::{Architecture, BaseLayout, LockedDebian, LockedPackage};
use crate::fetch::sha256_of;

/// A package under construction: control files, and tar entries (path, kind, mode, content).
pub(super) struct Deb {
    pub(super) name: &'static str,
    control: Vec<(&'static str, String)>,
    pub(super) entries: Vec<(&'static str, tar::EntryType, u32, &'static str)>,
}

impl Deb {
    pub(super) fn new(name: &'static str) -> Self {
        let control = format!(
            "Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: a <a@b>\nDescription: x\n"
        );
        Self { name, control: vec![("./control", control)], entries: Vec::new() }
    }

    pub(super) fn field(mut self, line: &str) -> Self {
        self.control[0].1.push_str(line);
        self.control[0].1.push('\n');
        self
    }

    pub(super) fn script(mut self, text: &str) -> Self {
        self.control.push(("./postinst", text.to_owned()));
        self
    }

    pub(super) fn has(
        mut self,
        path: &'static str,
        kind: tar::EntryType,
        mode: u32,
        content: &'static str,
    ) -> Self {
        self.entries.push((path, kind, mode, content));
        self
    }

    pub(super) fn file(self, path: &'static str, content: &'static str) -> Self {
        self.has(path, Regular, 0o644, content)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let control = self.control.iter();
        let control = tarred(control.map(|(path, text)| (*path, Regular, 0o755, text.as_str())));
        let data = tarred(self.entries.iter().copied());
        let mut deb = b"!<arch>\n".to_vec();
        for (name, content) in [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar.xz", xz(&control)),
            ("data.tar.xz", xz(&data)),
        ] {
            deb.extend(
                format!(
                    "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                    0,
                    0,
                    0,
                    100_644,
                    content.len()
                )
                .bytes(),
            );
            deb.extend(&content);
            deb.extend(if content.len() % 2 == 1 { b"\n".as_slice() } else { b"" });
        }
        deb
    }
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar whose names are taken as they are, however wicked.
fn tarred<'a>(entries: impl Iterator<Item = (&'a str, tar::EntryType, u32, &'a str)>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, mode, content) in entries {
        let mut header = tar::Header::new_gnu();
        let raw = header.as_old_mut();
        raw.name[..path.len()].copy_from_slice(path.as_bytes());
        let is_link = matches!(kind, Symlink | Link);
        if is_link {
            raw.linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let content = if is_link { "" } else { content };
        header.set_entry_type(kind);
        header.set_mode(mode);
        // Group 42 is Debian's shadow.
        header.set_uid(0);
        header.set_gid(if mode & 0o2000 == 0 { 0 } else { 42 });
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Puts packages into a directory, each under its SHA-256, and locks them.
pub(super) fn locked(
    layout: BaseLayout,
    debs: &[(&str, Vec<u8>)],
    directory: &Path,
) -> (LockedDebian, Vec<PathBuf>) {
    let mut packages = Vec::new();
    let mut paths = Vec::new();
    for (name, bytes) in debs {
        let sha256 = sha256_of(&mut bytes.as_slice()).unwrap();
        paths.push(directory.join(sha256.hex()));
        std::fs::write(directory.join(sha256.hex()), bytes).unwrap();
        packages.push(LockedPackage {
            name: (*name).to_owned(),
            version: "1.0-1".to_owned(),
            path: format!("pool/{name}.deb"),
            size: bytes.len() as u64,
            sha256,
        });
    }
    let locked = LockedDebian {
        suite: "bookworm".to_owned(),
        layout,
        architecture: Architecture::Amd64,
        snapshot: "20261123T000000Z".to_owned(),
        glibc: "2.36".parse().unwrap(),
        python: None,
        packages,
    };
    (locked, paths)
}
