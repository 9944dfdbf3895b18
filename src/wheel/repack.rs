//! A wheel that was just built, packed anew: its content alone decides its bytes, and not who
//! compressed it, in which order and when.

use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::error::WheelError;
use super::inflate::{Inflater, Piece};
use super::zip::{Archive, Member};
use crate::digest::Digest;
use crate::event::Reporter;

/// What a wheel holds: of each member the digest, and whether it can be executed.
pub type Content = BTreeMap<String, (Digest, bool)>;

/// Writes the wheel at `path`, whose name is `wheel`, to `out`: members in the order of their names,
/// stored, without times. Says what it holds.
pub fn repack(path: &Path, wheel: &str, out: impl Write + Seek) -> Result<Content, WheelError> {
    let archive = Archive::open(path, wheel)?;
    let mut members: Vec<&Member> = archive.members.iter().collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let mut inflater = Inflater::new();
    let mut packed = ZipWriter::new(out);
    let mut content = Content::new();
    for member in members {
        let mode = if member.executable { 0o755 } else { 0o644 };
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(member.size > u64::from(u32::MAX))
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(mode);
        let unwritten = |error: std::io::Error| WheelError::Write { source: error };
        packed.start_file(&*member.name, options).map_err(|error| unwritten(error.into()))?;
        let mut hasher = Sha256::new();
        let mut write = |bytes: &[u8]| {
            hasher.update(bytes);
            packed.write_all(bytes).map_err(unwritten)
        };
        if is_record(&member.name) {
            write(&sorted(&inflater.content(&archive, member)?))?;
        } else {
            inflater.read(&archive, member, &Reporter::silent(), |piece| match piece {
                Piece::Raw(_) => Ok(()),
                Piece::Content(bytes) => write(bytes),
            })?;
        }
        let known = (Digest::finish(hasher), member.executable);
        content.insert(member.name.clone(), known);
    }
    packed.finish().map_err(|error| WheelError::Write { source: error.into() })?;
    Ok(content)
}

/// What two wheels of the same sources don't have in common, by name. That a RECORD tells of it is no
/// difference of its own.
pub fn differing(one: &Content, other: &Content) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differ = |name: &&&String| one.get(**name) != other.get(**name) && !is_record(name);
    names.iter().filter(differ).map(|name| (*name).clone()).collect()
}

fn is_record(name: &str) -> bool {
    name.strip_suffix(".dist-info/RECORD").is_some_and(|stem| !stem.contains('/'))
}

/// The lines of a list, in order.
fn sorted(text: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::super::testing::{INFO, Raw, Wheel};
    use super::super::{Scheme, WheelFile, build_layer};
    use super::*;
    use crate::platform::MajorMinor;

    fn packed(directory: &Path, wheel: &Wheel) -> (Vec<u8>, Content) {
        let written = wheel.save(directory);
        let to = directory.join("packed");
        let content = repack(&written.path, &written.filename, File::create(&to).unwrap()).unwrap();
        (fs::read(&to).unwrap(), content)
    }

    #[test]
    fn order_times_and_compression_make_no_difference_and_the_layer_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let text = b"print('hello')\n".repeat(1000);
        let record = format!("{INFO}/RECORD");
        let wheel = |turned: bool| {
            let mut wheel = Wheel::new();
            wheel.members.retain(|member| member.name != record);
            let lines = ["a.py,,\n", "b.py,,\n"];
            let lines = if turned { [lines[1], lines[0]] } else { lines };
            let record = Raw::new(&record, lines.concat().as_bytes());
            let (a, b) = (Raw::new("a.py", &text), Raw::stored("b.py", &text).mode(0o100_755));
            wheel.members.extend(if turned { [record, b, a] } else { [a, b, record] });
            if turned {
                wheel.members.iter_mut().for_each(|member| member.time = 0x5a21_0000);
            }
            wheel
        };
        let (one, content) = packed(directory.path(), &wheel(false));
        let (other, same) = packed(directory.path(), &wheel(true));
        assert_eq!(one, other);
        assert_eq!(differing(&content, &same), [""; 0]);
        // An installer's view of it is the one of the wheel as it was built.
        let scheme = Scheme { python: MajorMinor { major: 3, minor: 11 }, epoch: 0 };
        let layer = |file: WheelFile| {
            let mut bytes = Vec::new();
            build_layer(&[file], &scheme, &mut bytes, &Reporter::silent()).unwrap().diff_id
        };
        let built = wheel(false).save(directory.path());
        let filename = built.filename.clone();
        let packed = WheelFile::alone(directory.path().join("packed"), filename);
        assert_eq!(layer(built), layer(packed));
    }

    #[test]
    fn what_differs_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (_, one) = packed(directory.path(), &Wheel::new().file("a.py", b"1").file("b.py", b""));
        let (_, other) =
            packed(directory.path(), &Wheel::new().file("a.py", b"2").file("c.py", b""));
        assert_eq!(differing(&one, &other), ["a.py", "b.py", "c.py"]);
    }
}
