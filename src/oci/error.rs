//! Why the image store could not do something.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::digest::{Digest, NotADigest};
use crate::event::Cancelled;

/// Why the image store could not do something.
#[derive(Debug, Error, Diagnostic)]
pub enum OciError {
    /// A file of the store could not be read or written.
    #[error("{} could not be {doing}: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::oci::file),
        help("check permissions and free space; everything in the cache can be made again")
    )]
    File {
        /// The file.
        path: PathBuf,
        /// `read`, `written` and the like.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A name is no digest of a kind that is stored here.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Digest(#[from] NotADigest),
    /// A blob is not in the store.
    #[error("the blob {digest} is missing")]
    #[diagnostic(code(goatbuild::oci::missing), help("run `goatbuild apply` to make it again"))]
    Missing {
        /// Its digest.
        digest: Digest,
    },
    /// A blob's bytes are not those of its name.
    #[error("the blob {digest} is damaged: its bytes have the digest {found}")]
    #[diagnostic(
        code(goatbuild::oci::damaged),
        help("`goatbuild apply` makes or fetches it again; check the disk")
    )]
    Damaged {
        /// As named.
        digest: Digest,
        /// As computed.
        found: Digest,
    },
    /// There is no image of that tag or digest.
    #[error("there is no image `{name}` in {}", path.display())]
    #[diagnostic(
        code(goatbuild::oci::no_image),
        help("`goatbuild apply` builds the images of all specs")
    )]
    NoImage {
        /// The tag or digest.
        name: String,
        /// The layout's directory.
        path: PathBuf,
    },
    /// A JSON document is not what it should be.
    #[error("{what} can't be understood: {reason}")]
    #[diagnostic(
        code(goatbuild::oci::document),
        help("the image is broken, or of a kind that goatbuild does not know")
    )]
    Document {
        /// Which document.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer's entry can't be unpacked safely.
    #[error("layer {digest}: `{entry}` {reason}")]
    #[diagnostic(
        code(goatbuild::oci::unpack),
        help("the layer is broken or hostile; nothing outside the target was touched")
    )]
    Unpack {
        /// The layer.
        digest: Digest,
        /// The entry's path.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// An archive could not be written to its end.
    #[error("the image's archive could not be written: {source}")]
    #[diagnostic(code(goatbuild::oci::archive), help("is the disk full, or did the reader end?"))]
    Archive {
        /// What the system said.
        source: io::Error,
    },
    /// The work was asked to stop.
    #[error("interrupted")]
    #[diagnostic(code(goatbuild::interrupted))]
    Cancelled(#[from] Cancelled),
}

impl OciError {
    /// Whether a blob is why: gone, or not what it is called. What can't be read for another reason, such as
    /// a full disk or a permission, isn't mended by making blobs again.
    pub fn is_of_blobs(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::Damaged { .. }
                | Self::Document { .. }
                | Self::Unpack { .. }
        )
    }

    /// The blob that is why, where it is known.
    pub fn blob(&self) -> Option<Digest> {
        match self {
            Self::Missing { digest }
            | Self::Damaged { digest, .. }
            | Self::Unpack { digest, .. } => Some(*digest),
            _ => None,
        }
    }
}

/// Names the file and the deed in an error of the system.
pub(super) fn at<'path>(
    path: &'path Path,
    doing: &'static str,
) -> impl FnOnce(io::Error) -> OciError + use<'path> {
    move |source| OciError::File { path: path.to_owned(), doing, source }
}
