//! What a file of a base is, by its first bytes: a program for which processor, a script, a C library.

use std::io::{self, Read};

use crate::bounded::tar::Member;
use crate::platform::{Architecture, MajorMinor};

/// A C library is smaller; a larger file of that name is none.
const LARGEST_LIBRARY: u64 = 64 << 20;

/// A program names its loader in its first page.
const PAGE: u64 = 4096;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing that could be a Python or a C library.
    Other,
    /// A C library that says that it is this glibc.
    Glibc(MajorMinor),
    /// A script, which another program has to read.
    Script,
    /// A program.
    Program {
        /// Whether it is for this processor; none for one that goatbuild doesn't know.
        architecture: Option<Architecture>,
        /// Whether its loader is musl's.
        musl: bool,
    },
}

impl Held {
    /// Looks into a file, as far as its name makes it worth it.
    pub(super) fn of(name: &str, file: &mut Member<'_, impl Read>) -> io::Result<Self> {
        if is_libc(name) && file.size <= LARGEST_LIBRARY {
            let mut library = Vec::new();
            file.read_to_end(&mut library)?;
            return Ok(glibc_version(&library).map_or(Self::Other, Self::Glibc));
        }
        let mut start = Vec::new();
        // A link called `python3` may lead to a file of another name.
        let looked = if name.starts_with("python") { PAGE } else { 20 };
        file.take(looked).read_to_end(&mut start)?;
        Ok(Self::of_bytes(&start))
    }

    fn of_bytes(start: &[u8]) -> Self {
        match start {
            [b'#', b'!', ..] => Self::Script,
            [0x7f, b'E', b'L', b'F', class, order, _, _, _, ..] if start.len() >= 20 => {
                let (class, order) = (*class, *order);
                // Where the machine is told: `e_machine` of elf(5), for 64 bits, the lowest byte first.
                let machine = u16::from_le_bytes([start[18], start[19]]);
                let architecture = match (class, order, machine) {
                    (2, 1, 62) => Some(Architecture::Amd64),
                    (2, 1, 183) => Some(Architecture::Arm64),
                    _ => None,
                };
                let loader = b"/ld-musl-";
                let musl = start.windows(loader.len()).any(|window| window == loader);
                Self::Program { architecture, musl }
            }
            _ => Self::Other,
        }
    }

    /// Why this is no Python for such a processor.
    pub(super) fn not_python(self, wanted: Architecture) -> Option<&'static str> {
        match self {
            Self::Program { architecture, musl } => match architecture {
                Some(found) if found == wanted && musl => Some("is linked to musl"),
                Some(found) if found == wanted => None,
                _ => Some("is a program for another processor"),
            },
            Self::Script => Some("is a script"),
            Self::Other | Self::Glibc(_) => Some("is no program"),
        }
    }
}

fn is_libc(name: &str) -> bool {
    name == "libc.so.6" || (name.starts_with("libc-2.") && name.strip_suffix(".so").is_some())
}

/// The version in glibc's banner, which is what it says when it is run.
fn glibc_version(library: &[u8]) -> Option<MajorMinor> {
    const BANNER: &[u8] = b"GNU C Library ";
    let at = library.windows(BANNER.len()).position(|window| window == BANNER)?;
    let banner = &library[at..library.len().min(at + 200)];
    let text = String::from_utf8_lossy(banner);
    let version = text.split_once("release version ")?.1;
    let end = version.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    // It ends in a dot, which ends the sentence; some have a third number.
    let numbers = version[..end.unwrap_or(version.len())].trim_end_matches('.');
    let mut parts = numbers.split('.');
    format!("{}.{}", parts.next()?, parts.next()?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_says_its_version_in_a_banner() {
        let banner = |text: &str| glibc_version(format!("\0junk{text}\0").as_bytes());
        let ubuntu = "GNU C Library (Ubuntu GLIBC 2.35-0ubuntu3.8) stable release version 2.35.\nC";
        assert_eq!(banner(ubuntu).map(|version| version.to_string()).as_deref(), Some("2.35"));
        let old = "GNU C Library (GNU libc) development release version 2.28.9000, by R";
        assert_eq!(banner(old).map(|version| version.to_string()).as_deref(), Some("2.28"));
        assert_eq!(banner("GNU C Library of sorts"), None);
    }

    #[test]
    fn a_program_says_which_processor_it_is_for() {
        let here = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let ours =
            if cfg!(target_arch = "aarch64") { Architecture::Arm64 } else { Architecture::Amd64 };
        let others =
            if cfg!(target_arch = "aarch64") { Architecture::Amd64 } else { Architecture::Arm64 };
        let held = Held::of_bytes(&here[..20]);
        assert_eq!(held.not_python(ours), None);
        assert_eq!(held.not_python(others), Some("is a program for another processor"));
        // The 32 bits that the same machine's number may be used with (x32).
        let mut small = here[..20].to_vec();
        small[4] = 1;
        assert!(Held::of_bytes(&small).not_python(ours).is_some());
        for (start, why) in [
            (&b"#!/bin/sh\nexec /usr/bin/python3.11 \"$@\"\n"[..], "is a script"),
            (b"", "is no program"),
            (b"\x7fELF", "is no program"),
        ] {
            assert_eq!(Held::of_bytes(start).not_python(ours), Some(why));
        }
    }
}
