use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use super::ContainerEngine;
use crate::oci::OciError;

/// Why Docker or Podman could not do something.
#[derive(Debug, Error, Diagnostic)]
pub enum ContainerError {
    /// The program is not there.
    #[error("{kind} is not installed")]
    #[diagnostic(code(goatbuild::container::missing), help("`{}` is not on PATH", kind.program()))]
    Missing {
        /// Which of the two.
        kind: ContainerEngine,
    },
    /// The program is there, and what it talks to is not.
    #[error("{kind} does not answer: {reason}")]
    #[diagnostic(
        code(goatbuild::container::unreachable),
        help("does `{} info` work for this user?", kind.program())
    )]
    Unreachable {
        /// Which of the two.
        kind: ContainerEngine,
        /// What it said, or how long it was silent.
        reason: String,
    },
    /// It answers, and can't serve here.
    #[error("{kind} can't be used: {reason}")]
    #[diagnostic(code(goatbuild::container::unsuitable))]
    Unsuitable {
        /// Which of the two.
        kind: ContainerEngine,
        /// What is in the way.
        reason: String,
        /// What to do.
        #[help]
        help: String,
    },
    /// It refused to do what was asked.
    #[error("{kind} could not {deed}: {said}")]
    #[diagnostic(code(goatbuild::container::refused))]
    Refused {
        /// Which of the two.
        kind: ContainerEngine,
        /// What was asked.
        deed: String,
        /// The end of what it said.
        said: String,
        /// What to do.
        #[help]
        help: Option<String>,
    },
    /// It took the image and has another one.
    #[error("{kind} has {found} as {name}, and {wanted} was handed over")]
    #[diagnostic(
        code(goatbuild::container::other_image),
        help("`{} image rm {name}`, then run `goatbuild apply` again", kind.program())
    )]
    OtherImage {
        /// Which of the two.
        kind: ContainerEngine,
        /// What the image is called there.
        name: String,
        /// The digest of the configuration that was handed over.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// The server's log can't be written.
    #[error("{} cannot be used as the log: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::container::log),
        help("it must be writable for the user who runs goatbuild")
    )]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The image could not be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Image(#[from] OciError),
}

impl ContainerError {
    /// Whether nothing at all is known of what runs there.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Unreachable { .. })
    }
}
