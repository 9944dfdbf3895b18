//! Which maintainer scripts are known, and what is done instead of running them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::BaseLayout;
use super::alternatives::Alternative;
use super::deb::Control;
use super::error::UnknownScript;
use super::shell::{self, Refused};
use super::system::System;
use crate::platform::Architecture;

/// What a reviewed package's scripts would do on a first installation, as data.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reviewed {
    /// Commands of [`NOTABLE`] that the review saw, and found without effect on a new system.
    knows: Vec<String>,
    /// `update-alternatives --install`.
    pub(super) alternatives: Vec<Alternative>,
    /// Path → the shipped file that it is a copy of.
    pub(super) copy: BTreeMap<String, String>,
    /// Path → target; what a package ships there stays.
    pub(super) link: BTreeMap<String, String>,
    /// Path → where a directory that a package ships there moves, for a link to stand in its place.
    pub(super) moves: BTreeMap<String, String>,
    /// Path → octal mode.
    pub(super) directory: BTreeMap<String, String>,
    /// Path → content, mode 0644.
    pub(super) write: BTreeMap<String, String>,
    /// Path → octal mode of what stands there then.
    pub(super) mode: BTreeMap<String, String>,
    /// What comes before all of that in a base that has what is essential.
    pub(super) essential: Option<Box<Reviewed>>,
    /// Whether only bases that were locked before are made by this: in others, its scripts are followed.
    until_essential: bool,
}

static REVIEWED: LazyLock<BTreeMap<String, Reviewed>> = LazyLock::new(|| {
    toml::from_str(include_str!("reviewed.toml"))
        .unwrap_or_else(|error| panic!("BUG: reviewed.toml cannot be read: {error}"))
});

/// Commands whose effect an image would miss, or that change what other packages install.
const NOTABLE: [&str; 14] = [
    "addgroup",
    "adduser",
    "dpkg-divert",
    "dpkg-statoverride",
    "groupadd",
    "mknod",
    "setcap",
    "setfacl",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "ucf",
    "update-passwd",
    "useradd",
    "usermod",
];

/// The reviewed work of a package's scripts in such a base, if it has any.
pub(super) fn reviewed(name: &str, layout: BaseLayout) -> Option<&'static Reviewed> {
    let is_followed =
        |reviewed: &Reviewed| reviewed.until_essential && layout >= BaseLayout::Essential;
    REVIEWED.get(name).filter(|reviewed| !is_followed(reviewed))
}

/// The scripts that dpkg runs of a package that is new, in its order.
pub(super) const SCRIPTS: [&str; 2] = ["preinst", "postinst"];

/// What a reviewed package's scripts do that the review didn't see.
pub(super) fn grown(
    package: &str,
    control: &Control,
    reviewed: &Reviewed,
) -> Option<UnknownScript> {
    SCRIPTS.into_iter().find_map(|script| {
        let (line, text) = unknown_in_reviewed(control.get(script)?, reviewed)?;
        let (package, needed) = (package.to_owned(), Vec::new());
        Some(UnknownScript { package, script, line, text, needed })
    })
}

/// Follows a package's scripts, as dpkg runs them of one that is new.
pub(super) fn follow(
    package: &str,
    control: &Control,
    system: &mut System<'_>,
) -> Option<UnknownScript> {
    for script in SCRIPTS {
        // Without a postinst, what a preinst didn't see has to come back, too.
        if script == "postinst" {
            system.unpack();
        }
        let Some(bytes) = control.get(script) else { continue };
        let text = String::from_utf8_lossy(bytes);
        let arguments: &[&str] =
            if script == "preinst" { &["install"] } else { &["configure", ""] };
        let variables = [
            ("0", script),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DPKG_ADMINDIR", "/var/lib/dpkg"),
            ("DPKG_MAINTSCRIPT_ARCH", system.architecture.name()),
            ("DPKG_MAINTSCRIPT_NAME", script),
            ("DPKG_MAINTSCRIPT_PACKAGE", package),
            ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1"),
            ("DPKG_ROOT", ""),
            ("HOME", "/root"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"),
        ];
        if script == "preinst" {
            system.pack();
        }
        if let Err(Refused { line, text, .. }) = shell::follow(&text, arguments, &variables, system)
        {
            let (package, needed) = (package.to_owned(), Vec::new());
            return Some(UnknownScript { package, script, line, text, needed });
        }
    }
    None
}

/// The script's lines with their numbers: continued ones joined, without comments and blanks.
fn lines(bytes: &[u8]) -> Vec<(usize, String)> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let (part, continues) =
            line.strip_suffix('\\').map_or((line, false), |it| (it.trim(), true));
        if open && let Some((_, last)) = lines.last_mut() {
            last.push(' ');
            last.push_str(part);
        } else if !line.is_empty() && !line.starts_with('#') {
            lines.push((number + 1, part.to_owned()));
        } else {
            continue;
        }
        open = continues;
    }
    lines
}

/// A new notable command, or an alternative that the table does not have.
fn unknown_in_reviewed(bytes: &[u8], reviewed: &Reviewed) -> Option<(usize, String)> {
    lines(bytes).into_iter().find(|(_, line)| {
        let mut words = line.split(|c: char| c.is_whitespace() || ";&|()`\"'".contains(c));
        let notable = words
            .any(|word| NOTABLE.contains(&word) && !reviewed.knows.iter().any(|it| it == word));
        notable || !alternative_is_known(line, reviewed)
    })
}

fn alternative_is_known(line: &str, reviewed: &Reviewed) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let installs = (0..words.len()).filter(|at| words[*at] == "--install");
    installs.into_iter().all(|at| {
        let (Some(name), Some(path)) = (words.get(at + 2), words.get(at + 3)) else { return false };
        // A name or path that the script computes is known as soon as the review listed any.
        reviewed.alternatives.iter().any(|known| {
            let fits = |known: &str, found: &str| {
                found.contains('$')
                    || [Architecture::Amd64, Architecture::Arm64]
                        .iter()
                        .any(|it| known.replace("{multiarch}", it.multiarch()) == found)
            };
            fits(&known.name, name) && fits(&known.path, path)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reviewed_package_may_not_grow_alternatives_or_users() {
        let known = reviewed("gcc", BaseLayout::NEWEST).unwrap();
        let script = |line: &str| format!("#!/bin/sh\n{line}\n").into_bytes();
        let old =
            script("update-alternatives --quiet \\\n    --install /usr/bin/cc cc /usr/bin/gcc 20");
        assert_eq!(unknown_in_reviewed(&old, known), None);
        let new = script("update-alternatives --install /usr/bin/cc cc /usr/bin/other 20");
        assert!(unknown_in_reviewed(&new, known).is_some());
        let both = script(
            "update-alternatives --install /usr/bin/cc cc /usr/bin/gcc 20 && \
             update-alternatives --install /usr/bin/x x /usr/bin/y 20",
        );
        assert!(unknown_in_reviewed(&both, known).is_some());
        let blas = script(
            "update-alternatives --install /usr/lib/aarch64-linux-gnu/libblas.so.3 \
             libblas.so.3-aarch64-linux-gnu /usr/lib/aarch64-linux-gnu/blas/libblas.so.3 10",
        );
        assert_eq!(
            unknown_in_reviewed(&blas, reviewed("libblas3", BaseLayout::NEWEST).unwrap()),
            None
        );
        assert!(unknown_in_reviewed(&script("useradd x"), known).is_some());
    }
}
