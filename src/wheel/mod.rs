//! Wheels become layers: an installer's work done as data, streamed from zip to tar.
//!
//! A layer is a gzip file of many gzip members. Files of [`SPLICED`] bytes and more keep the
//! deflate bytes that the wheel has ("spliced"); inflating them once verifies them and feeds the
//! layer's `diff_id`. All else goes through [`crate::oci::GzipBlocks`], whose bytes depend on
//! content alone. So a layer's digest depends on the wheels and the [`Scheme`], on nothing else.
//!
//! - No path leaves `/opt/goatbuild`, none is owned twice, and no link or special file gets in.
//! - No byte reaches a finished layer that was not covered by a matching CRC-32 and size.
//! - No time, mode beyond the executable bit, or order of the zip reaches the layer.

#[cfg(test)]
mod bad_tests;
mod collision;
mod error;
mod inflate;
mod install;
mod interpreter;
mod layer;
mod name;
#[cfg(test)]
mod overlap_tests;
#[cfg(test)]
mod peer_tests;
mod record;
mod repack;
mod scripts;
mod slot;
mod tar;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod zip;

use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use self::collision::Rules;
pub use self::error::{Clash, WheelError};
pub use self::interpreter::interpreter_layer;
pub use self::repack::{Content, differing, repack};
pub use self::slot::{Slot, WheelRef, slots};
use crate::event::Reporter;
pub use crate::oci::Layer;
use crate::platform::MajorMinor;
use crate::spec::Overlap;

/// Changes whenever the same wheels give other bytes; part of a layer's key.
pub const LAYOUT_VERSION: u32 = 1;

/// Where the virtual environment lies in the image, without the leading slash.
pub const PREFIX: &str = "opt/goatbuild";

/// Where a Python lies that is added to a base, without the leading slash.
pub const INTERPRETER: &str = "opt/goatbuild-python";

/// Deflated members of this size (uncompressed) are spliced; below, a gzip member's own overhead
/// and a block's better context make encoding anew the smaller choice.
pub const SPLICED: u64 = 4 << 10;

/// What else than the wheels decides a layer's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheme {
    /// The image's Python, which names `site-packages`.
    pub python: MajorMinor,
    /// Every file's time, in seconds since 1970.
    pub epoch: u64,
}

/// A wheel on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelFile {
    /// Where it lies; perhaps named by its hash.
    pub path: PathBuf,
    /// Its real name: `name-version-python-abi-platform.whl`.
    pub filename: String,
    /// Files that it writes when it is first imported, by their path in `site-packages`: done as
    /// data, since an image's environment can't be written to.
    pub adds: Vec<(&'static str, String)>,
    /// Scripts that installers make beside those that it names: `pip3.11` of pip's.
    pub scripts: Vec<String>,
}

impl WheelFile {
    /// One that is installed as it is.
    pub fn alone(path: PathBuf, filename: impl Into<String>) -> Self {
        Self { path, filename: filename.into(), adds: Vec::new(), scripts: Vec::new() }
    }
}

/// Writes the layer of `wheels` to `out`.
///
/// The order of `wheels` doesn't matter. Announces the bytes it will read to `reporter` and counts
/// them. After an error, what was written must be discarded. Uses less than 10 MiB of memory
/// besides the wheels' directories.
pub fn build_layer(
    wheels: &[WheelFile],
    scheme: &Scheme,
    out: &mut impl Write,
    reporter: &Reporter,
) -> Result<Layer, WheelError> {
    build_slot(wheels, &[], scheme, out, reporter)
}

/// The same of some wheels of an image, for which `overlap` says which of all its wheels wins where
/// several own a path. Whose winner is none of them has the first one's file, which a layer further
/// up covers: see [`overlap_layer`].
pub fn build_slot(
    wheels: &[WheelFile],
    overlap: &[Overlap],
    scheme: &Scheme,
    out: &mut impl Write,
    reporter: &Reporter,
) -> Result<Layer, WheelError> {
    let mut inflater = inflate::Inflater::new();
    let plans = collision::plans(wheels, scheme, &mut inflater, reporter)?;
    let rules = Rules { overlap, scheme, is_whole: false };
    let merged = collision::merged(&plans, &rules, &mut inflater)?;
    layer::write(&plans, &merged.files, scheme, &mut inflater, out, reporter)
}

/// Fails when two wheels, whatever their slots, own one path and would put different bytes there,
/// or when one owns as a file what the other needs as a directory.
///
/// Looks at the directories first, and inflates only what has the same size and CRC-32.
pub fn collisions(
    wheels: &[WheelFile],
    scheme: &Scheme,
    reporter: &Reporter,
) -> Result<(), WheelError> {
    let mut inflater = inflate::Inflater::new();
    let plans = collision::plans(wheels, scheme, &mut inflater, reporter)?;
    let rules = Rules { overlap: &[], scheme, is_whole: true };
    collision::merged(&plans, &rules, &mut inflater).map(drop)
}

/// What came of the paths that several wheels own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlaid {
    /// A layer that covers all others with the winners' files; none where there are no such.
    pub layer: Option<Layer>,
    /// The entries that no such path matches.
    pub unused: Vec<Overlap>,
}

/// Like [`collisions`], but where `overlap` says whose a path is, writes that wheel's file to `out`.
///
/// The layers of the wheels stay as they are, with all that each installs: which wheel wins at one path
/// may be another one than at the next, so no order of layers would do.
pub fn overlap_layer(
    wheels: &[WheelFile],
    overlap: &[Overlap],
    scheme: &Scheme,
    out: &mut impl Write,
    reporter: &Reporter,
) -> Result<Overlaid, WheelError> {
    let mut inflater = inflate::Inflater::new();
    let plans = collision::plans(wheels, scheme, &mut inflater, reporter)?;
    let rules = Rules { overlap, scheme, is_whole: true };
    let merged = collision::merged(&plans, &rules, &mut inflater)?;
    let unused = overlap.iter().filter(|it| !merged.used.contains(it)).cloned().collect();
    if merged.settled.is_empty() {
        return Ok(Overlaid { layer: None, unused });
    }
    let layer = layer::write(&plans, &merged.settled, scheme, &mut inflater, out, reporter)?;
    Ok(Overlaid { layer: Some(layer), unused })
}

/// Writes the layer that makes `/opt/goatbuild` a virtual environment of `interpreter`, an absolute
/// path in the image such as `/usr/bin/python3.11`.
pub fn venv_layer(
    scheme: &Scheme,
    interpreter: &str,
    out: &mut impl Write,
) -> Result<Layer, WheelError> {
    layer::venv(scheme, interpreter, out).map_err(|source| WheelError::Write { source })
}
