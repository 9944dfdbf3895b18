//! Made-up wheels for tests, right ones and wrong ones.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::WheelFile;

/// One member to be, with what its headers shall say.
#[derive(Clone)]
pub(super) struct Raw {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
    pub(super) crc32: u32,
    pub(super) size: u32,
    pub(super) method: u16,
    pub(super) flags: u16,
    pub(super) mode: u32,
    pub(super) time: u32,
    pub(super) extra: Vec<u8>,
    pub(super) local_name: Option<String>,
    pub(super) local_crc32: Option<u32>,
    pub(super) local_sizes: Option<(u32, u32)>,
    pub(super) local_method: Option<u16>,
    pub(super) descriptor: bool,
}

impl Raw {
    pub(super) fn new(name: &str, content: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        Self {
            name: name.to_owned(),
            data: encoder.finish().unwrap(),
            crc32: libdeflater::crc32(content),
            size: u32::try_from(content.len()).unwrap(),
            method: 8,
            flags: if name.is_ascii() { 0 } else { 1 << 11 },
            mode: 0o100_644,
            time: 0,
            extra: Vec::new(),
            local_name: None,
            local_crc32: None,
            local_sizes: None,
            local_method: None,
            descriptor: false,
        }
    }

    pub(super) fn stored(name: &str, content: &[u8]) -> Self {
        Self { data: content.to_vec(), method: 0, ..Self::new(name, content) }
    }

    pub(super) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

/// A wheel to be: `Demo_Pkg` 1.0 with its metadata, to be added to and spoilt.
#[derive(Clone)]
pub(super) struct Wheel {
    pub(super) filename: String,
    pub(super) members: Vec<Raw>,
}

pub(super) const INFO: &str = "Demo_Pkg-1.0.dist-info";

impl Wheel {
    pub(super) fn new() -> Self {
        Self::named("Demo_Pkg", "1.0")
    }

    pub(super) fn named(name: &str, version: &str) -> Self {
        let info = format!("{name}-{version}.dist-info");
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\n");
        Self {
            filename: format!("{name}-{version}-py3-none-any.whl"),
            members: vec![
                Raw::new(&format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nTag: py3-none-any\n"),
                Raw::new(&format!("{info}/METADATA"), metadata.as_bytes()),
                Raw::new(&format!("{info}/RECORD"), b""),
            ],
        }
    }

    pub(super) fn file(self, name: &str, content: &[u8]) -> Self {
        self.raw(Raw::new(name, content))
    }

    pub(super) fn raw(mut self, member: Raw) -> Self {
        self.members.push(member);
        self
    }

    pub(super) fn edit(mut self, name: &str, change: impl FnOnce(&mut Raw)) -> Self {
        change(self.members.iter_mut().find(|member| member.name == name).unwrap());
        self
    }

    /// The archive's bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for member in &self.members {
            let offset = u32::try_from(out.len()).unwrap();
            let length = u32::try_from(member.data.len()).unwrap();
            let flags = member.flags | if member.descriptor { 8 } else { 0 };
            let sizes = if member.descriptor { (0, 0) } else { (length, member.size) };
            let sizes = member.local_sizes.unwrap_or(sizes);
            let crc32 = if member.descriptor { 0 } else { member.crc32 };
            let name = member.local_name.as_ref().unwrap_or(&member.name);
            out.extend_from_slice(b"PK\x03\x04\x14\0");
            out.extend_from_slice(&flags.to_le_bytes());
            out.extend_from_slice(&member.local_method.unwrap_or(member.method).to_le_bytes());
            out.extend_from_slice(&member.time.to_le_bytes());
            out.extend_from_slice(&member.local_crc32.unwrap_or(crc32).to_le_bytes());
            out.extend_from_slice(&sizes.0.to_le_bytes());
            out.extend_from_slice(&sizes.1.to_le_bytes());
            out.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&member.data);
            if member.descriptor {
                out.extend_from_slice(b"PK\x07\x08");
                for value in [member.crc32, length, member.size] {
                    out.extend_from_slice(&value.to_le_bytes());
                }
            }
            directory.extend_from_slice(b"PK\x01\x02\x14\x03\x14\0");
            directory.extend_from_slice(&flags.to_le_bytes());
            directory.extend_from_slice(&member.method.to_le_bytes());
            directory.extend_from_slice(&member.time.to_le_bytes());
            for value in [member.crc32, length, member.size] {
                directory.extend_from_slice(&value.to_le_bytes());
            }
            directory.extend_from_slice(&u16::try_from(member.name.len()).unwrap().to_le_bytes());
            directory.extend_from_slice(&u16::try_from(member.extra.len()).unwrap().to_le_bytes());
            directory.extend_from_slice(&[0; 6]);
            directory.extend_from_slice(&(member.mode << 16).to_le_bytes());
            directory.extend_from_slice(&offset.to_le_bytes());
            directory.extend_from_slice(member.name.as_bytes());
            directory.extend_from_slice(&member.extra);
        }
        let count = u16::try_from(self.members.len()).unwrap().to_le_bytes();
        let (offset, size) = (out.len(), directory.len());
        out.append(&mut directory);
        out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        out.extend_from_slice(&count);
        out.extend_from_slice(&count);
        out.extend_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
        out.extend_from_slice(&u32::try_from(offset).unwrap().to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out
    }

    pub(super) fn save(&self, directory: &Path) -> WheelFile {
        save_bytes(directory, &self.filename, &self.bytes())
    }
}

pub(super) fn save_bytes(directory: &Path, filename: &str, bytes: &[u8]) -> WheelFile {
    let path = directory.join(filename);
    std::fs::write(&path, bytes).unwrap();
    let mut words = filename.split('-');
    let (name, version) = (words.next().unwrap(), words.next().unwrap_or_default());
    let engines = crate::engines::built_in().iter();
    let adds = engines.flat_map(|engine| engine.first_import(name, version)).collect();
    WheelFile { path, filename: filename.to_owned(), adds, scripts: Vec::new() }
}

/// Text that compresses, but not to nothing.
pub(super) fn text(length: usize) -> Vec<u8> {
    (0u64..)
        .flat_map(|n| (n.wrapping_mul(2_654_435_761) % 100_003).to_string().into_bytes())
        .take(length)
        .collect()
}
