//! Writes the tree as a tar whose bytes depend on nothing but the tree and the epoch.

use std::collections::HashMap;
use std::io::{self, Write};

use super::DebianError;
use super::tree::{Content, Entry, Node, Tree};
use crate::event::Reporter;

const BLOCK: usize = 512;

/// Writes all entries in byte order of their names in the tar: ustar headers, PAX records only for what does not fit.
pub(super) fn write(
    tree: &mut Tree,
    epoch: u64,
    out: &mut dyn Write,
    reporter: &Reporter,
) -> Result<(), DebianError> {
    let writing = || DebianError::io("writing the layer");
    let entries = std::mem::take(&mut tree.entries);
    let mut named: Vec<(Vec<u8>, &Entry)> = entries
        .iter()
        .map(|(path, entry)| match entry.node {
            Node::Directory => ([path, b"/".as_slice()].concat(), entry),
            _ => (path.clone(), entry),
        })
        .collect();
    // With its slash, a directory stands right before all that is in it, and no `x.conf` between
    // `x` and `x/y`: whoever unpacks can set its time once and for all.
    named.sort_by(|left, right| left.0.cmp(&right.0));
    let mut first_of: HashMap<Content, &[u8]> = HashMap::new();
    for (path, entry) in &named {
        let mut member = Member { path, link: b"", mode: entry.mode, epoch, size: 0, kind: b'0' };
        match &entry.node {
            Node::Directory => {
                member.kind = b'5';
                member.write(out).map_err(writing())?;
            }
            Node::Symlink(target) => {
                member.link = target;
                member.kind = b'2';
                member.write(out).map_err(writing())?;
            }
            Node::File { content, linked } => {
                if *linked && let Some(first) = first_of.get(content) {
                    member.link = *first;
                    member.kind = b'1';
                    member.write(out).map_err(writing())?;
                    continue;
                }
                if *linked {
                    first_of.insert(*content, path);
                }
                member.size = content.size;
                member.write(out).map_err(writing())?;
                let mut from = tree.reader(*content).map_err(writing())?;
                let copied = io::copy(&mut from, out).map_err(writing())?;
                assert_eq!(copied, content.size, "BUG: the spool is shorter than its contents");
                out.write_all(&[0; BLOCK][..padding(content.size)]).map_err(writing())?;
                reporter.advance(content.size)?;
            }
        }
    }
    out.write_all(&[0; 2 * BLOCK]).map_err(writing())?;
    out.flush().map_err(writing())
}

struct Member<'a> {
    path: &'a [u8],
    link: &'a [u8],
    mode: u32,
    epoch: u64,
    size: u64,
    kind: u8,
}

impl Member<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let split = split(self.path);
        let mut records = Vec::new();
        if split.is_none() {
            records.extend(record("path", self.path));
        }
        if self.link.len() > 100 {
            records.extend(record("linkpath", self.link));
        }
        if !records.is_empty() {
            let size = records.len() as u64;
            out.write_all(&header((b"", b"PaxHeader"), b"", 0o644, self.epoch, size, b'x'))?;
            out.write_all(&records)?;
            out.write_all(&[0; BLOCK][..padding(size)])?;
        }
        let names = split.unwrap_or_else(|| (b"", &self.path[..100]));
        let link = &self.link[..self.link.len().min(100)];
        out.write_all(&header(names, link, self.mode, self.epoch, self.size, self.kind))
    }
}

/// A path as ustar's prefix (up to 155 bytes) and name (up to 100); none when it does not fit.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    // The slash of a directory's own end is no place to split.
    (0..path.len() - 1)
        .filter(|at| path[*at] == b'/')
        .map(|at| (&path[..at], &path[at + 1..]))
        .find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100)
}

fn header(
    (prefix, name): (&[u8], &[u8]),
    link: &[u8],
    mode: u32,
    epoch: u64,
    size: u64,
    kind: u8,
) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{epoch:011o}").as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link);
    put(257, b"ustar\x0000");
    put(345, prefix);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A PAX record: its own length in decimal, a space, `key=value`, a newline.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}
