//! The dynamic loader's cache, `/etc/ld.so.cache`, as glibc's `ldconfig` would write it.
//!
//! The format is glibc's `sysdeps/generic/dl-cache.h`, "glibc-ld.so.cache1.1", without its
//! optional extensions; order and choice of libraries follow `elf/cache.c` and `elf/ldconfig.c`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::DebianError;
use super::elf;
use super::tree::{Content, Node, Tree};
use crate::platform::Architecture;

const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// The header's flag for little-endian numbers.
const LITTLE_ENDIAN: u8 = 2;

/// One library: the name that programs ask for, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Library {
    name: String,
    path: String,
}

/// Writes the cache, and the links from a library's own name that a package left out.
pub(super) fn install(tree: &mut Tree, architecture: Architecture) -> Result<(), DebianError> {
    let mut libraries = Vec::new();
    for directory in directories(tree, architecture) {
        for (name, file) in search(tree, &directory, architecture)? {
            if let Some(file) = file
                && file != name
            {
                tree.put_link(&format!("{directory}/{name}"), &file);
            }
            libraries.push(Library { path: format!("{directory}/{name}"), name });
        }
    }
    let bytes = cache(libraries, architecture);
    tree.put_file("etc/ld.so.cache", 0o644, &bytes)
}

/// The configured directories, then the built-in ones; each only under its first name.
fn directories(tree: &mut Tree, architecture: Architecture) -> Vec<String> {
    let mut names = Vec::new();
    configured(tree, "etc/ld.so.conf", &mut names, 0);
    names.push(format!("/lib/{}", architecture.multiarch()));
    names.push("/lib".to_owned());
    let mut seen = BTreeSet::new();
    names.retain(|name| {
        tree.follow(name.as_bytes()).is_some_and(|directory| {
            let is_directory =
                tree.entries.get(&directory).is_some_and(|entry| entry.node == Node::Directory);
            is_directory && seen.insert(directory)
        })
    });
    names
}

fn configured(tree: &mut Tree, path: &str, names: &mut Vec<String>, depth: u32) {
    let Some(text) = tree.read(path) else { return };
    for line in String::from_utf8_lossy(&text).lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include") {
            // Debian has one pattern: /etc/ld.so.conf.d/*.conf.
            let pattern = pattern.trim().trim_start_matches('/');
            let (directory, end) = pattern.split_once('*').unwrap_or((pattern, ""));
            let included: Vec<String> = tree
                .entries
                .keys()
                .filter_map(|path| std::str::from_utf8(path).ok())
                .filter(|path| {
                    path.strip_prefix(directory)
                        .is_some_and(|rest| !rest.contains('/') && rest.ends_with(end))
                })
                .map(str::to_owned)
                .collect();
            for path in included {
                if depth < 8 {
                    configured(tree, &path, names, depth + 1);
                }
            }
        } else if line.starts_with('/') {
            names.push(line.trim_end_matches('/').to_owned());
        }
    }
}

/// A library as one directory offers it.
struct Offer {
    file: String,
    is_link: bool,
}

/// A directory's libraries by name, each with the file to link to, when it's no link already.
fn search(
    tree: &mut Tree,
    directory: &str,
    architecture: Architecture,
) -> Result<BTreeMap<String, Option<String>>, DebianError> {
    let Some(real) = tree.follow(directory.as_bytes()) else { return Ok(BTreeMap::new()) };
    let prefix = [real.as_slice(), b"/"].concat();
    let files: Vec<(String, bool, Content)> = tree
        .entries
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .filter_map(|(path, entry)| {
            let name = std::str::from_utf8(&path[prefix.len()..]).ok()?;
            let named = name.starts_with("lib") || name.starts_with("ld-");
            if !named || name.contains('/') || !name.contains(".so") || name.ends_with("-gdb.py") {
                return None;
            }
            let target = tree.entries.get(&tree.follow(path)?)?;
            match target.node {
                Node::File { content, .. } => {
                    Some((name.to_owned(), matches!(entry.node, Node::Symlink(_)), content))
                }
                _ => None,
            }
        })
        .collect();
    let mut offers: BTreeMap<String, Offer> = BTreeMap::new();
    for (file, mut is_link, content) in files {
        let bytes = tree
            .content(content)
            .map_err(DebianError::io(format!("reading {directory}/{file}")))?;
        let Some(library) = elf::shared_object(&bytes, architecture) else { continue };
        let mut name = library.soname.unwrap_or_else(|| file.clone());
        // A link counts as one only when it is the library's own name, or the one for the linker.
        is_link &= name == file || (file.strip_suffix(".so").is_some() && name.starts_with(&file));
        if is_link {
            name.clone_from(&file);
        }
        let better = offers.get(&name).is_none_or(|known| {
            (known.is_link && !is_link)
                || (known.is_link == is_link && compare(&known.file, &file) == Ordering::Less)
        });
        if better {
            offers.insert(name, Offer { file, is_link });
        }
    }
    let link = |offer: Offer| (!offer.is_link).then_some(offer.file);
    Ok(offers.into_iter().map(|(name, offer)| (name, link(offer))).collect())
}

/// glibc's `_dl_cache_libcmp`: byte by byte, but runs of digits by value.
fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        match (left.first(), right.first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(l), Some(r)) if l.is_ascii_digit() && r.is_ascii_digit() => {
                let ((l, left_rest), (r, right_rest)) = (number(left), number(right));
                if l != r {
                    return l.cmp(&r);
                }
                (left, right) = (left_rest, right_rest);
            }
            (Some(l), _) if l.is_ascii_digit() => return Ordering::Greater,
            (_, Some(r)) if r.is_ascii_digit() => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(l), Some(r)) if l != r => return l.cmp(r),
            _ => (left, right) = (&left[1..], &right[1..]),
        }
    }
}

fn number(text: &[u8]) -> (u64, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let add = |sum: u64, digit: &u8| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
    (digits.iter().fold(0, add), rest)
}

fn cache(mut libraries: Vec<Library>, architecture: Architecture) -> Vec<u8> {
    // The loader searches by bisection, from the greatest name to the least. The sort is stable:
    // of one name, the earlier directory comes first.
    libraries.sort_by(|left, right| compare(&right.name, &left.name));
    let flags: u32 = match architecture {
        Architecture::Amd64 => 0x0303,
        Architecture::Arm64 => 0x0a03,
    };
    let base = HEADER + libraries.len() * ENTRY;
    let (strings, offsets) = strings(&libraries);
    let narrow = |number: usize| {
        u32::try_from(number).unwrap_or_else(|_| panic!("BUG: a loader cache of 4 GiB"))
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend(narrow(libraries.len()).to_le_bytes());
    bytes.extend(narrow(strings.len()).to_le_bytes());
    bytes.extend([LITTLE_ENDIAN, 0, 0, 0]);
    // No extensions, and three unused words.
    bytes.extend([0; 16]);
    for library in &libraries {
        bytes.extend(flags.to_le_bytes());
        bytes.extend(narrow(base + offsets[library.name.as_str()]).to_le_bytes());
        bytes.extend(narrow(base + offsets[library.path.as_str()]).to_le_bytes());
        // No minimal kernel, no hardware capabilities.
        bytes.extend([0; 12]);
    }
    bytes.extend(strings);
    bytes
}

/// All strings with their offsets; one that ends another shares its bytes, as in glibc.
fn strings(libraries: &[Library]) -> (Vec<u8>, BTreeMap<&str, usize>) {
    let mut all: Vec<&str> = libraries
        .iter()
        .flat_map(|library| [library.name.as_str(), library.path.as_str()])
        .collect();
    // By their ends, the greatest first, and the longer before the suffix that ends it.
    all.sort_by(|left, right| {
        let unequal = left.bytes().rev().zip(right.bytes().rev()).find(|(l, r)| l != r);
        unequal.map_or_else(|| right.len().cmp(&left.len()), |(l, r)| r.cmp(&l))
    });
    all.dedup();
    let mut bytes = Vec::new();
    let mut offsets = BTreeMap::new();
    let mut previous: Option<(&str, usize)> = None;
    for text in all {
        let offset = match previous {
            Some((longer, offset)) if longer.ends_with(text) => offset + longer.len() - text.len(),
            _ => {
                let offset = bytes.len();
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(0);
                offset
            }
        };
        offsets.insert(text, offset);
        previous = Some((text, offset));
    }
    (bytes, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_with_numbers_by_value() {
        assert_eq!(compare("libfoo.so.10", "libfoo.so.9"), Ordering::Greater);
        assert_eq!(compare("libfoo.so", "libfoo.so.1"), Ordering::Less);
        assert_eq!(compare("lib2.so", "liba.so"), Ordering::Greater);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_real_ldconfig_reads_the_cache() {
        let library =
            |name: &str| Library { path: format!("/lib/x/{name}"), name: name.to_owned() };
        let names = ["liba.so.2", "libb.so.1", "liba.so.10"];
        let bytes = cache(names.map(library).to_vec(), Architecture::Amd64);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ld.so.cache");
        std::fs::write(&file, bytes).unwrap();
        let ldconfig =
            std::process::Command::new("/sbin/ldconfig").args(["-p", "-C"]).arg(file).output();
        let Ok(output) = ldconfig else { return };
        let printed = String::from_utf8(output.stdout).unwrap();
        let libraries: Vec<_> = printed.lines().skip(1).map(str::trim).collect();
        assert_eq!(
            libraries[..3],
            [
                "libb.so.1 (libc6,x86-64) => /lib/x/libb.so.1",
                "liba.so.10 (libc6,x86-64) => /lib/x/liba.so.10",
                "liba.so.2 (libc6,x86-64) => /lib/x/liba.so.2",
            ]
        );
    }
}
