//! Why the cache could not be used.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use rusqlite::ErrorCode;
use thiserror::Error;

use crate::exhausted::Exhausted;

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
    /// The database, or a part of it, is none any more.
    #[error("{} is damaged: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::store::damaged),
        help(
            "`goatbuild apply` puts this file aside and begins a new one: what is deployed is recognised without it, and when steps ran is forgotten"
        )
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The database can't be read or written.
    #[error("{} can't be used: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::store::database),
        help("is the disk full, or the directory read-only?")
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

impl StoreError {
    /// What came of a database.
    pub(super) fn of_database(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, source }
            }
            // Why it can't open one, only the system says.
            Some(ErrorCode::CannotOpen) => match out_of_files() {
                Some(source) => Self::Write { path, source },
                None => Self::Database { path, source },
            },
            _ => Self::Database { path, source },
        }
    }
}

/// Why no more files can be opened: a database needs three, with what is written ahead and what is shared.
fn out_of_files() -> Option<io::Error> {
    let opened: io::Result<Vec<File>> = (0..3).map(|_| File::open("/")).collect();
    opened.err().filter(|error| Exhausted::of_system(error).is_some())
}
