//! Opening a cache: made where there is none, private, and passed over where it can't be written.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::Connection;

use super::{Store, StoreError, Unwritable};

/// The layout of the database that this version reads and writes.
pub(super) const SCHEMA: i64 = 1;

/// Makes the database its owner's alone, which holds for what SQLite puts beside it from then on. One that
/// is there is kept from others; its group stays as it is, since groups share projects.
fn keep_private(database: &Path) {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    // What is wrong with it is told when it is used.
    let _ = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(database);
    for part in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(part);
        let Ok(found) = std::fs::symlink_metadata(&path) else { continue };
        let mode = found.permissions().mode() & 0o777;
        if found.is_file() && mode & 0o007 != 0 {
            let closed = std::fs::Permissions::from_mode(mode & 0o770);
            let _ = std::fs::set_permissions(&path, closed);
        }
    }
}

impl Store {
    /// Opens the cache, making it when there is none. One that can't be written is as none: what is looked
    /// up is told without it, and [`Self::unwritable`] says why.
    ///
    /// `environment` is empty for the default one; rows of environments are apart.
    pub fn open(root: &Path, environment: &str) -> Result<Self, StoreError> {
        match Self::open_there(root, environment) {
            Err(error) => match Unwritable::find(root) {
                Some(unwritable) => Self::forgetful(root, environment, unwritable),
                None => Err(error),
            },
            opened => opened,
        }
    }

    /// A cache that remembers nothing beyond this process.
    fn forgetful(
        root: &Path,
        environment: &str,
        unwritable: Unwritable,
    ) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Database { path: root.join("state.db"), source };
        let connection = Connection::open_in_memory().map_err(failed)?;
        connection.execute_batch(include_str!("schema.sql")).map_err(failed)?;
        Ok(Self {
            root: root.to_owned(),
            environment: environment.to_owned(),
            connection: Mutex::new(connection),
            unwritable: Some(unwritable),
        })
    }

    fn open_there(root: &Path, environment: &str) -> Result<Self, StoreError> {
        let written = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Write { path, source }
        };
        std::fs::create_dir_all(root).map_err(written(root))?;
        let ignore = root.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(&ignore, "*\n!.gitignore\n").map_err(written(&ignore))?;
        }
        let path = root.join("state.db");
        let failed = |source| StoreError::Database { path: path.clone(), source };
        keep_private(&path);
        let connection = Connection::open(&path).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        // Looked at first: a layout that isn't ours is left exactly as it is.
        let found: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path, found, known: SCHEMA });
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        // A plan reads every row: from the page cache, without a copy of each page.
        connection.pragma_update(None, "mmap_size", 1_i64 << 30).map_err(failed)?;
        if found < SCHEMA {
            connection.execute_batch(include_str!("schema.sql")).map_err(failed)?;
        }
        Ok(Self {
            root: root.to_owned(),
            environment: environment.to_owned(),
            connection: Mutex::new(connection),
            unwritable: None,
        })
    }
}
