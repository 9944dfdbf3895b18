//! What can go wrong between a list of packages and a layer.

use std::fmt::Write as _;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::event::Cancelled;
use crate::fetch::FetchError;

/// Why there is no base layer.
#[derive(Debug, Error, Diagnostic)]
pub enum DebianError {
    /// No mirror gave an index.
    #[error("no mirror has the index of {suite}: {}", tried.join("; "))]
    #[diagnostic(
        code(goatbuild::debian::no_index),
        help("check the suite's name and the network, or configure another Debian mirror")
    )]
    NoIndex {
        /// The suite's code name.
        suite: String,
        /// Each source with what it said.
        tried: Vec<String>,
    },
    /// The release file carries no signature of a Debian archive key.
    #[error("the release file of {suite} is not signed by a Debian archive key: {reason}")]
    #[diagnostic(
        code(goatbuild::debian::signature),
        help(
            "the mirror may be tampered with or broken: use another one. Known are the keys of bookworm (12) and trixie (13)"
        )
    )]
    Signature {
        /// The suite's code name.
        suite: String,
        /// What the check found.
        reason: String,
    },
    /// A signed index says something it may not say.
    #[error("the index of {suite} is not usable: {reason}")]
    #[diagnostic(
        code(goatbuild::debian::index),
        help(
            "the mirror may be out of date or serve another suite: name the suite by its code name, or use another mirror"
        )
    )]
    Index {
        /// The suite's code name.
        suite: String,
        /// What is wrong.
        reason: String,
    },
    /// The suite has no such package.
    #[error("{suite} has no package {name}{}", wanted_by(required_by.as_deref()))]
    #[diagnostic(code(goatbuild::debian::no_package))]
    NoPackage {
        /// The package, or the whole clause of a dependency.
        name: String,
        /// The suite's code name.
        suite: String,
        /// The package that depends on it; none when the image asks for it.
        required_by: Option<String>,
        /// What to do instead.
        #[help]
        help: String,
    },
    /// Two chosen packages exclude each other.
    #[error("{package} cannot be installed with {other}: it {relation} {clause}")]
    #[diagnostic(
        code(goatbuild::debian::conflict),
        help("leave one of the two (or what depends on it) out of the image's packages")
    )]
    Conflict {
        /// The package that says so.
        package: String,
        /// The other package.
        other: String,
        /// `conflicts with` or `breaks`.
        relation: &'static str,
        /// The clause as the package has it.
        clause: String,
    },
    /// Every source says that a locked package no longer exists. Locking again helps.
    #[error("{package} {version} is gone from every source: {}", sources.join(", "))]
    #[diagnostic(
        code(goatbuild::debian::gone),
        help(
            "Debian's mirrors drop superseded versions: lock again with `goatbuild lock --upgrade IMAGE`, or configure a mirror that keeps them"
        )
    )]
    Gone {
        /// The package.
        package: String,
        /// The locked version.
        version: String,
        /// All URLs that were asked.
        sources: Vec<String>,
    },
    /// No source gave a locked package, and at least one failed for another reason than absence.
    #[error("{package} {version} could not be fetched: {}", tried.join("; "))]
    #[diagnostic(
        code(goatbuild::debian::unavailable),
        help(
            "run the command again later; where a source no longer has the file, `goatbuild lock --upgrade IMAGE` locks the current version"
        )
    )]
    Unavailable {
        /// The package.
        package: String,
        /// The locked version.
        version: String,
        /// Whether the pool, which has every current version, said that this one is gone: then
        /// locking again helps too.
        superseded: bool,
        /// Each source with what it said.
        tried: Vec<String>,
    },
    /// A download failed in a way that another source would not mend.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    /// A package file is not a Debian package, or is cut short.
    #[error("{package} is not a usable Debian package: {reason}")]
    #[diagnostic(
        code(goatbuild::debian::malformed),
        help("delete {} so that it is fetched again; if it fails again, report the package", path.display())
    )]
    Malformed {
        /// The package.
        package: String,
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A package wants to write outside the layer.
    #[error("{package} contains an unsafe path {path}: {reason}")]
    #[diagnostic(
        code(goatbuild::debian::unsafe_path),
        help("nothing was written; do not use this package")
    )]
    UnsafePath {
        /// The package.
        package: String,
        /// The path as it stands in the package.
        path: String,
        /// Why it is unsafe.
        reason: String,
    },
    /// Two packages ship different things under one path.
    #[error("{first} and {second} both contain {path}, and differ")]
    #[diagnostic(
        code(goatbuild::debian::overlap),
        help("leave one of the two out of the image's packages")
    )]
    Overlap {
        /// The earlier package.
        first: String,
        /// The later package.
        second: String,
        /// The path in the layer.
        path: String,
    },
    /// Maintainer scripts do what goatbuild doesn't know how to do without running them.
    #[error("{}", unknown(scripts))]
    #[diagnostic(
        code(goatbuild::debian::unknown_script),
        help(
            "goatbuild runs no maintainer scripts: it follows them, and does what the commands that it knows stand for. Leave out these packages, or those that need them; ask for another one in their place where Debian offers a choice; or use an OCI image as the base. Report a package that many images need"
        )
    )]
    UnknownScripts {
        /// All of them, by package.
        scripts: Vec<UnknownScript>,
    },
    /// What a script would have done could not be done as data.
    #[error("{package} could not be configured: {reason}")]
    #[diagnostic(
        code(goatbuild::debian::configure),
        help("the package is newer than goatbuild's table knows: report it")
    )]
    Configure {
        /// The package.
        package: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{what}: {source}")]
    #[diagnostic(code(goatbuild::debian::io), help("is the disk full? is the directory writable?"))]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The work was asked to stop.
    #[error("interrupted")]
    #[diagnostic(code(goatbuild::interrupted))]
    Cancelled(#[from] Cancelled),
}

impl DebianError {
    /// Whether locking the image again would help: a locked package vanished from every source.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// A script that does what goatbuild doesn't know how to do without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownScript {
    /// The package.
    pub package: String,
    /// `preinst` or `postinst`.
    pub script: &'static str,
    /// The line's number, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
    /// For whose sake the package is there: a package that was asked for, one that this needs, and so on to
    /// the package itself. Empty where that isn't known.
    pub needed: Vec<String>,
}

impl std::fmt::Display for UnknownScript {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { package, script, line, text, needed } = self;
        write!(formatter, "{package}, {script}, line {line}: {text}")?;
        if needed.len() > 1 {
            write!(formatter, "\n    needed by {}", needed.join(" → "))?;
        }
        Ok(())
    }
}

fn wanted_by(required_by: Option<&str>) -> String {
    required_by.map(|name| format!(", which {name} needs")).unwrap_or_default()
}

fn unknown(scripts: &[UnknownScript]) -> String {
    let mut text = if let [_] = scripts {
        "a package's script does what goatbuild can't do without running it".to_owned()
    } else {
        let many = scripts.len();
        format!("the scripts of {many} packages do what goatbuild can't do without running them")
    };
    for script in scripts {
        let _ = write!(text, "\n  {script}");
    }
    text
}
