//! A cache that this user may not write, or that lies on a disk that nobody may write.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use nix::unistd::{AccessFlags, Uid, User, access, geteuid};
use thiserror::Error;

/// Why a cache can't be written, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
pub enum Unwritable {
    /// It is somebody else's, or so was made read-only.
    #[error("{} belongs to {owner}, and {user} may not write there", path.display())]
    #[diagnostic(
        code(goatbuild::store::not_ours),
        help(
            "run goatbuild as {owner}; or take it over with `sudo chown -R {user} {}`; or move it away: only time is lost",
            path.display()
        )
    )]
    Permission {
        /// What can't be written.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who we are.
        user: String,
    },
    /// Its file system is mounted read-only.
    #[error("{} is on a file system that is read-only", path.display())]
    #[diagnostic(
        code(goatbuild::store::read_only),
        help("mount it so that it can be written, or work in a copy of the project")
    )]
    ReadOnly {
        /// What can't be written.
        path: PathBuf,
    },
}

impl Unwritable {
    /// Looks for what of a cache can't be written: its directory or its database, or where it would be
    /// made.
    pub(super) fn find(root: &Path) -> Option<Self> {
        let there = root.ancestors().find(|path| path.exists())?;
        let files = ["state.db", "state.db-wal", "state.db-shm"].map(|name| root.join(name));
        let files = files.into_iter().filter(|path| path.exists());
        std::iter::once(there.to_owned()).chain(files).find_map(|path| {
            let error = access(&path, AccessFlags::W_OK).err()?;
            if error == nix::errno::Errno::EROFS {
                return Some(Self::ReadOnly { path });
            }
            let owner = named(Uid::from_raw(std::fs::metadata(&path).ok()?.uid()));
            Some(Self::Permission { path, owner, user: named(geteuid()) })
        })
    }
}

/// A user's name, or the number where there is none.
fn named(user: Uid) -> String {
    let known = User::from_uid(user).ok().flatten();
    known.map_or_else(|| user.to_string(), |user| user.name)
}
