//! Why weights could not be read or put into a volume.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::event::Cancelled;

/// Why weights could not be read or put into a volume.
#[derive(Debug, Error, Diagnostic)]
pub enum WeightsError {
    /// The directory that the spec names is not there.
    #[error("{} is not a directory", path.display())]
    #[diagnostic(
        code(goatbuild::weights::no_directory),
        help("`model.source = \"path:…\"` is relative to the project's directory")
    )]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds nothing to serve.
    #[error("{} has no files", path.display())]
    #[diagnostic(
        code(goatbuild::weights::empty),
        help("put the model's files there; hidden files don't count")
    )]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// A link, or the directory itself, that leads out of the project.
    #[error("{} leads out of the project, to {}", path.display(), to.display())]
    #[diagnostic(
        code(goatbuild::weights::outside),
        help(
            "a project's weights are files of the project: copy them there (`cp --reflink=auto` or `ln` need no room), or move the project to where they are"
        )
    )]
    Outside {
        /// What leads there.
        path: PathBuf,
        /// Where all links end.
        to: PathBuf,
    },
    /// A link to a directory that it is in.
    #[error("{} is a link to {}, which it is in", path.display(), to.display())]
    #[diagnostic(code(goatbuild::weights::read), help("remove the link"))]
    Loop {
        /// The link.
        path: PathBuf,
        /// The directory.
        to: PathBuf,
    },
    /// A link to what can't be read.
    #[error("{} is a link to {}, which can't be read: {source}", path.display(), to.display())]
    #[diagnostic(code(goatbuild::weights::read), help("remove the link, or mend it"))]
    Dangling {
        /// The link.
        path: PathBuf,
        /// As it is written.
        to: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something that has no bytes of its own.
    #[error("{} is {what}, not a file", path.display())]
    #[diagnostic(
        code(goatbuild::weights::special),
        help("remove it: a model is made of files and directories")
    )]
    Special {
        /// Where it is.
        path: PathBuf,
        /// Such as `a FIFO`.
        what: &'static str,
    },
    /// A name that no manifest can hold.
    #[error("{} has a name that is not UTF-8", path.display())]
    #[diagnostic(code(goatbuild::weights::name))]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A file can't be read.
    #[error("{} can't be read: {source}", path.display())]
    #[diagnostic(code(goatbuild::weights::read))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The volume can't be written.
    #[error("{} can't be written: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::weights::write),
        help("is the disk full? what is complete is kept")
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A branch or tag whose name would lead out of its directory.
    #[error("`{reference}` of {repository} can't be the name of a branch or tag")]
    #[diagnostic(
        code(goatbuild::weights::reference),
        help("write a branch, a tag or a commit as `model.revision`")
    )]
    Reference {
        /// The repository.
        repository: String,
        /// The name.
        reference: String,
    },
    /// The source changed while it was copied.
    #[error("{} changed while it was copied", path.display())]
    #[diagnostic(code(goatbuild::weights::changed), help("run the command again once it is still"))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The work was asked to stop.
    #[error("interrupted")]
    #[diagnostic(code(goatbuild::interrupted))]
    Cancelled(#[from] Cancelled),
}
