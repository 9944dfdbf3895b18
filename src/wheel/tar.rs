//! Tar headers: ustar, with a PAX header where a field does not fit.

use std::io::{self, Write};

const RECORD: usize = 512;
/// What eleven octal digits hold.
const OCTAL_LIMIT: u64 = 1 << 33;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind<'target> {
    /// A regular file of so many bytes, which follow, and then [`padding`].
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink(&'target str),
}

/// Writes the header of one entry owned by root.
pub(super) fn header(
    out: &mut impl Write,
    path: &str,
    kind: EntryKind<'_>,
    executable: bool,
    epoch: u64,
) -> io::Result<()> {
    let path = if kind == EntryKind::Directory { format!("{path}/") } else { path.to_owned() };
    let (flag, size, mode, target) = match kind {
        EntryKind::File(size) => (b'0', size, if executable { 0o755 } else { 0o644 }, ""),
        EntryKind::Directory => (b'5', 0, 0o755, ""),
        EntryKind::Symlink(target) => (b'2', 0, 0o777, target),
    };
    let mut extended = String::new();
    let split = split(&path);
    if split.is_none() {
        pax(&mut extended, "path", &path);
    }
    if target.len() > 100 || !target.is_ascii() {
        pax(&mut extended, "linkpath", target);
    }
    if size >= OCTAL_LIMIT {
        pax(&mut extended, "size", &size.to_string());
    }
    if epoch >= OCTAL_LIMIT {
        pax(&mut extended, "mtime", &epoch.to_string());
    }
    if !extended.is_empty() {
        let length = extended.len() as u64;
        out.write_all(&ustar(("", "@PaxHeader"), b'x', length, 0o644, "", 0))?;
        out.write_all(extended.as_bytes())?;
        out.write_all(padding(length))?;
    }
    // Readers of PAX ignore the short form; others at least get a unique prefix of the path.
    let names = split.unwrap_or_else(|| ("", truncated(&path)));
    out.write_all(&ustar(names, flag, size, mode, truncated(target), epoch))
}

/// The zeros after a file of `size` bytes.
pub(super) fn padding(size: u64) -> &'static [u8] {
    let partial = usize::try_from(size % RECORD as u64).unwrap_or(0);
    if partial == 0 { &[] } else { &[0; RECORD][partial..] }
}

/// Writes the end of the archive.
pub(super) fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * RECORD])
}

fn ustar(
    (prefix, name): (&str, &str),
    flag: u8,
    size: u64,
    mode: u32,
    target: &str,
    epoch: u64,
) -> [u8; RECORD] {
    let mut block = [0; RECORD];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{:011o}", if size < OCTAL_LIMIT { size } else { 0 }).as_bytes());
    put(136, format!("{:011o}", if epoch < OCTAL_LIMIT { epoch } else { 0 }).as_bytes());
    put(148, b"        ");
    put(156, &[flag]);
    put(157, target.as_bytes());
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// The path as ustar's prefix and name, if it is ASCII and fits.
fn split(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= 100 {
        return Some(("", path));
    }
    // The first slash that leaves a name that fits leaves the shortest prefix.
    let at = path.bytes().enumerate().position(|(at, byte)| {
        byte == b'/' && at > 0 && (1..=100).contains(&(path.len() - at - 1))
    })?;
    (at <= 155).then(|| (&path[..at], &path[at + 1..]))
}

fn truncated(text: &str) -> &str {
    let end = (0..=text.len().min(100)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Adds a PAX record, whose length counts its own digits.
fn pax(records: &mut String, key: &str, value: &str) {
    use std::fmt::Write as _;
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let _ = writeln!(records, "{length} {key}={value}");
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_reader_sees_what_was_written() {
        let long = format!("{}/{}", "d".repeat(160), "n".repeat(99));
        let names = [
            "short".to_owned(),
            "p".repeat(100),
            format!("{}/{}", "d".repeat(150), "n".repeat(100)),
            long,
            "x".repeat(101),
            "naïve/ünï".to_owned(),
            "ü".repeat(500),
        ];
        let mut bytes = Vec::new();
        for name in &names {
            header(&mut bytes, name, EntryKind::File(3), true, 7).unwrap();
            bytes.extend_from_slice(b"abc");
            bytes.extend_from_slice(padding(3));
            header(&mut bytes, name, EntryKind::Directory, false, 7).unwrap();
            header(&mut bytes, "l", EntryKind::Symlink(name), false, 7).unwrap();
        }
        end(&mut bytes).unwrap();
        let mut archive = ::tar::Archive::new(&bytes[..]);
        let mut entries = archive.entries().unwrap();
        for name in &names {
            let mut file = entries.next().unwrap().unwrap();
            assert_eq!(file.path().unwrap().to_str(), Some(&**name));
            assert_eq!((file.header().mode().unwrap(), file.header().mtime().unwrap()), (0o755, 7));
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            assert_eq!(content, "abc");
            let directory = entries.next().unwrap().unwrap();
            assert_eq!(directory.path().unwrap().to_str().unwrap(), format!("{name}/"));
            let link = entries.next().unwrap().unwrap();
            assert_eq!(link.link_name().unwrap().unwrap().to_str(), Some(&**name));
        }
        assert!(entries.next().is_none());
    }

    #[test]
    fn sizes_beyond_eight_gibibytes_are_extended() {
        let mut bytes = Vec::new();
        header(&mut bytes, "big", EntryKind::File(9 << 30), false, 0).unwrap();
        let mut archive = ::tar::Archive::new(&bytes[..]);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.size(), 9 << 30);
    }
}
