//! Which maintainer scripts are known, and what is done instead of running them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::DebianError;
use super::deb::Unpacked;
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
    /// Path → target.
    pub(super) link: BTreeMap<String, String>,
    /// Path → octal mode.
    pub(super) directory: BTreeMap<String, String>,
    /// Path → content, mode 0644.
    pub(super) write: BTreeMap<String, String>,
}

/// One candidate for a generic name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alternative {
    pub(super) link: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) priority: i32,
    #[serde(default)]
    pub(super) slaves: Vec<Slave>,
}

/// A link that goes along with an alternative, when its file is there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slave {
    pub(super) link: String,
    pub(super) name: String,
    pub(super) path: String,
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

/// The reviewed work of a package's scripts, if it has any.
pub(super) fn reviewed(name: &str) -> Option<&'static Reviewed> {
    REVIEWED.get(name)
}

/// Refuses a script that does more than a person reviewed or than is known to do nothing.
pub(super) fn check(packages: &[Unpacked<'_>]) -> Result<(), DebianError> {
    for package in packages {
        for script in ["preinst", "postinst"] {
            let Some(bytes) = package.control.get(script) else { continue };
            let name = &package.locked.name;
            let found = match reviewed(name) {
                Some(reviewed) => unknown_in_reviewed(bytes, reviewed),
                None => unknown(bytes),
            };
            if let Some((line, text)) = found {
                return Err(DebianError::UnreviewedScript {
                    package: name.clone(),
                    script: script.to_owned(),
                    line,
                    text,
                });
            }
        }
    }
    Ok(())
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

/// The first line that is not known to do nothing on a new system without a running init.
fn unknown(bytes: &[u8]) -> Option<(usize, String)> {
    if !bytes.starts_with(b"#!") {
        return Some((1, "(a compiled program)".to_owned()));
    }
    lines(bytes).into_iter().find(|(_, line)| !is_harmless(line))
}

/// Commands that leave nothing behind in an image, and the shell's own words.
const HARMLESS: [&str; 33] = [
    ":",
    "[",
    "case",
    "db_stop",
    "db_version",
    "deb-systemd-helper",
    "deb-systemd-invoke",
    "do",
    "done",
    "dpkg-maintscript-helper",
    "dpkg-trigger",
    "else",
    "esac",
    "exit",
    "false",
    "fi",
    "invoke-rc.d",
    "ldconfig",
    "py3clean",
    "py3compile",
    "pycompile",
    "pypy3compile",
    "return",
    "set",
    "systemctl",
    "test",
    "then",
    "true",
    "update-rc.d",
    "which",
    "{",
    "}",
    "",
];

fn is_harmless(line: &str) -> bool {
    let mut line = line.to_owned();
    for redirection in [">/dev/null", "> /dev/null", "2>&1", "2>/dev/null", "2> /dev/null"] {
        line = line.replace(redirection, "");
    }
    // A substitution may run anything, a redirection write anything.
    if line.contains(['`', '>', '<']) || line.contains("$(") {
        return false;
    }
    let mut rest = line.as_str();
    // The pattern of a `case`, perhaps with its commands on the same line.
    if let Some((pattern, after)) = rest.split_once(')')
        && pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_|* (".contains(&byte))
    {
        rest = after;
    }
    rest.split([';', '&', '|']).all(|part| {
        let mut words = part
            .split_whitespace()
            .skip_while(|word| matches!(*word, "if" | "elif" | "then" | "else" | "!" | "{"));
        match words.next().unwrap_or_default() {
            "." => words.next() == Some("/usr/share/debconf/confmodule"),
            "command" => words.next() == Some("-v"),
            "dpkg" => words.next() == Some("--compare-versions"),
            word => HARMLESS.contains(&word) || word.starts_with("_dh_action="),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_made_by_debhelper_are_harmless() {
        let script = b"#!/bin/sh\nset -e\n# Automatically added by dh_python3\n\
            if command -v py3compile >/dev/null 2>&1; then\n\tpy3compile -p python3-pip \nfi\n\
            dpkg-maintscript-helper symlink_to_dir /usr/share/doc/x \\\n  y 1.0 -- \"$@\"\nexit 0\n";
        assert_eq!(unknown(script), None);
    }

    #[test]
    fn an_unknown_command_is_named_with_its_line() {
        let script = b"#!/bin/sh\nset -e\ncase \"$1\" in\n  configure)\n    adduser --system x\n  ;;\nesac\n";
        assert_eq!(unknown(script), Some((5, "adduser --system x".to_owned())));
        assert_eq!(unknown(b"#!/bin/sh\nexit $(touch /x)\n").unwrap().0, 2);
        assert_eq!(unknown(b"#!/bin/sh\ntrue | evil\n").unwrap().0, 2);
        assert_eq!(unknown(b"#!/bin/sh\ntrue & evil\n").unwrap().0, 2);
        assert_eq!(unknown(b"#!/bin/sh\nif [ x ]; then evil; fi\n").unwrap().0, 2);
        assert_eq!(unknown(b"#!/bin/sh\ntest x > /etc/y\n").unwrap().0, 2);
        assert_eq!(unknown(b"\x7fELF").unwrap().0, 1);
    }

    #[test]
    fn a_reviewed_package_may_not_grow_alternatives_or_users() {
        let known = reviewed("gcc").unwrap();
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
        assert_eq!(unknown_in_reviewed(&blas, reviewed("libblas3").unwrap()), None);
        assert!(unknown_in_reviewed(&script("useradd x"), known).is_some());
    }
}
