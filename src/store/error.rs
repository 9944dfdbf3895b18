//! Why the cache could not be used.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

/// Why the cache could not be used.
#[derive(Debug, Error, Diagnostic)]
pub enum StoreError {
    /// A newer goatbuild made this cache.
    #[error("{} was made by a newer goatbuild (layout {found}, this one knows {known})", path.display())]
    #[diagnostic(
        code(goatbuild::store::newer),
        help(
            "use that goatbuild, or move `cache/` away: what is deployed is recognised without it, and only time is lost"
        )
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The database can't be read or written.
    #[error("{} can't be used: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::store::database),
        help(
            "is the disk full, or the directory read-only? If the file is damaged, move `cache/` away: only time is lost"
        )
    )]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A directory or file of the cache can't be made.
    #[error("{} can't be written: {source}", path.display())]
    #[diagnostic(code(goatbuild::store::write), help("check the free space and the permissions"))]
    Write {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
