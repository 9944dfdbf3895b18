//! What reads files that others wrote, one entry for each kind: given any bytes, it takes them or refuses
//! them, and never panics, hangs, or writes where it should not.
//!
//! The fuzzers call these, and so do the tests, with the same seeds changed by chance.

mod archives;
mod mended;
mod texts;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use archives::{deb, layer, wheel};
pub use texts::{lock, script, spec, yaml};

/// A reader of bytes, with a directory of its own.
pub type Reader = fn(&[u8], &Path);

/// All of them, by their seeds' directory.
pub const READERS: [(&str, Reader); 7] = [
    ("deb", deb),
    ("layer", layer),
    ("lock", lock),
    ("script", script),
    ("spec", spec),
    ("wheel", wheel),
    ("yaml", yaml),
];

/// A directory for this process, which ends when it is killed: it stays, and whoever starts fuzzers says
/// by `TMPDIR` where.
pub fn scratch(name: &str) -> PathBuf {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    let directory = SCRATCH.get_or_init(|| {
        let name = format!("goatbuild-fuzz-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory in TMPDIR");
        directory
    });
    directory.clone()
}
