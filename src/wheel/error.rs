//! Why a wheel cannot become a layer.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::event::Cancelled;

/// How many paths of one clash an error lists.
const LISTED: usize = 12;

const BROKEN: &str = "the wheel is broken or was tampered with: nothing of it is used. Report it to its publisher, or require another version";

/// Why a wheel cannot become a layer. `wheel` is the file name, `member` the path inside it.
#[derive(Debug, Error, Diagnostic)]
pub enum WheelError {
    /// The wheel could not be read.
    #[error("{} could not be read: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::wheel::read),
        help("check the disk; delete the file to have it fetched again")
    )]
    Read {
        /// Where the wheel lies.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The archive of a Python is not as it should be.
    #[error("{}: `{entry}` {reason}", path.display())]
    #[diagnostic(
        code(goatbuild::wheel::interpreter),
        help("delete the file to have it fetched again; no build in use has such entries")
    )]
    Interpreter {
        /// Where the archive lies.
        path: PathBuf,
        /// The path inside it.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// The layer could not be written.
    #[error("the layer could not be written: {source}")]
    #[diagnostic(
        code(goatbuild::wheel::write),
        help("is the disk full? nothing half-written was kept")
    )]
    Write {
        /// What the system said.
        source: io::Error,
    },
    /// The file name is not a wheel's.
    #[error("`{wheel}` is not a wheel's file name")]
    #[diagnostic(
        code(goatbuild::wheel::file_name),
        help("expected `name-version[-build]-python-abi-platform.whl`")
    )]
    FileName {
        /// The name.
        wheel: String,
    },
    /// The file is no zip archive, is truncated, or contradicts itself.
    #[error("{wheel} is not an intact zip archive: {reason}")]
    #[diagnostic(code(goatbuild::wheel::archive), help("{BROKEN}"))]
    Archive {
        /// The file name.
        wheel: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A member's path would leave its place, or can't be a path.
    #[error("{wheel}: the path of `{}` {reason}", member.escape_debug())]
    #[diagnostic(code(goatbuild::wheel::path), help("{BROKEN}"))]
    Path {
        /// The file name.
        wheel: String,
        /// The path as given.
        member: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A member is a symbolic link, a device or another special file.
    #[error("{wheel}: `{member}` is {kind}")]
    #[diagnostic(
        code(goatbuild::wheel::special_file),
        help("wheels hold regular files only; installers differ in what they make of others")
    )]
    SpecialFile {
        /// The file name.
        wheel: String,
        /// The member.
        member: String,
        /// What it is.
        kind: &'static str,
    },
    /// Two members have, or are installed to, one path.
    #[error("{wheel} has `{member}` twice")]
    #[diagnostic(code(goatbuild::wheel::duplicate), help("{BROKEN}"))]
    Duplicate {
        /// The file name.
        wheel: String,
        /// The path.
        member: String,
    },
    /// A member is encrypted.
    #[error("{wheel}: `{member}` is encrypted")]
    #[diagnostic(code(goatbuild::wheel::encrypted), help("{BROKEN}"))]
    Encrypted {
        /// The file name.
        wheel: String,
        /// The member.
        member: String,
    },
    /// A member is compressed by a method that wheels don't use.
    #[error("{wheel}: `{member}` is compressed by method {method}")]
    #[diagnostic(
        code(goatbuild::wheel::method),
        help("wheels use methods 0 (stored) and 8 (deflate)")
    )]
    Method {
        /// The file name.
        wheel: String,
        /// The member.
        member: String,
        /// The zip format's number for it.
        method: u16,
    },
    /// The central directory and the member's own header disagree.
    #[error("{wheel}: the two headers of `{member}` disagree on its {field}")]
    #[diagnostic(code(goatbuild::wheel::header_mismatch), help("{BROKEN}"))]
    HeaderMismatch {
        /// The file name.
        wheel: String,
        /// The member, as the central directory names it.
        member: String,
        /// What they disagree on.
        field: &'static str,
    },
    /// A member's deflate stream is invalid or has other sizes than stated.
    #[error("{wheel}: the compressed data of `{member}` {reason}")]
    #[diagnostic(code(goatbuild::wheel::stream), help("{BROKEN}"))]
    Stream {
        /// The file name.
        wheel: String,
        /// The member.
        member: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A member's content is not what its checksum says.
    #[error("{wheel}: `{member}` has the CRC-32 {found:08x}, not {expected:08x}")]
    #[diagnostic(code(goatbuild::wheel::crc), help("{BROKEN}"))]
    Crc {
        /// The file name.
        wheel: String,
        /// The member.
        member: String,
        /// As stated.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// The `.dist-info` directory is missing, ambiguous or not the file name's.
    #[error("{wheel}: {reason}")]
    #[diagnostic(
        code(goatbuild::wheel::dist_info),
        help(
            "a wheel has one `name-version.dist-info` directory with WHEEL, METADATA and RECORD, named as the file is"
        )
    )]
    DistInfo {
        /// The file name.
        wheel: String,
        /// What is wrong.
        reason: String,
    },
    /// The wheel is of a format that doesn't exist yet.
    #[error("{wheel} has the Wheel-Version {version}")]
    #[diagnostic(
        code(goatbuild::wheel::format_version),
        help(
            "goatbuild knows version 1: is there a newer goatbuild, or an older version of the package?"
        )
    )]
    FormatVersion {
        /// The file name.
        wheel: String,
        /// As stated.
        version: String,
    },
    /// `entry_points.txt` holds what can't be a script.
    #[error("{wheel}: line {line} of entry_points.txt {reason}")]
    #[diagnostic(
        code(goatbuild::wheel::entry_points),
        help("a script is `name = package.module:function`")
    )]
    EntryPoints {
        /// The file name.
        wheel: String,
        /// Counted from one.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// RECORD is not readable, or contradicts the archive.
    #[error("{wheel}: RECORD {reason}")]
    #[diagnostic(code(goatbuild::wheel::record), help("{BROKEN}"))]
    Record {
        /// The file name.
        wheel: String,
        /// What is wrong.
        reason: String,
    },
    /// Two wheels own one path and would put different things there.
    #[error("{}", told(clashes))]
    #[diagnostic(code(goatbuild::wheel::collision), help("{}", way_out(clashes)))]
    Collision {
        /// All of them, by wheels.
        clashes: Vec<Clash>,
    },
    /// The work was asked to stop.
    #[error("interrupted")]
    #[diagnostic(code(goatbuild::interrupted))]
    Cancelled(#[from] Cancelled),
}

/// What some wheels own together, and differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// Their file names.
    pub wheels: Vec<String>,
    /// The paths in the image, in order.
    pub paths: Vec<String>,
    /// How they differ.
    pub difference: &'static str,
    /// What to write so that the first wheel wins; nothing where that can't be said.
    pub entry: Option<String>,
}

fn told(clashes: &[Clash]) -> String {
    let each = clashes.iter().map(|Clash { wheels, paths, difference, .. }| {
        let wheels = match &wheels[..] {
            [first, second] => format!("{first} and {second} both own"),
            [first @ .., last] => format!("{} and {last} all own", first.join(", ")),
            [] => String::new(),
        };
        if let [path] = &paths[..] {
            return format!("{wheels} `{path}`, and {difference}");
        }
        let mut text = format!("{wheels} {} paths, and {difference}:", paths.len());
        for path in paths.iter().take(LISTED) {
            let _ = write!(text, "\n  {path}");
        }
        if let Some(more) = paths.len().checked_sub(LISTED).filter(|more| *more > 0) {
            let _ = write!(text, "\n  … and {more} more");
        }
        text
    });
    each.collect::<Vec<_>>().join("\n")
}

fn way_out(clashes: &[Clash]) -> String {
    let advice = "which one wins would depend on the order of installation: require versions that don't overlap, or only one of the two";
    let entries: Vec<&str> = clashes.iter().filter_map(|it| it.entry.as_deref()).collect();
    if entries.is_empty() {
        return advice.to_owned();
    }
    format!(
        "{advice}; or say in the image's file whose files they are, by the wheel that shall win:\noverlap = {{ {} }}",
        entries.join(", ")
    )
}
