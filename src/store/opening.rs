//! Opening a cache: made where there is none, private, and passed over where it can't be written.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::{DATABASE, Store, StoreError, Unwritable};
use crate::clock::now;
use crate::durable;

/// The layout of the database that this version reads and writes.
pub(super) const SCHEMA: i64 = 1;

/// How long others are waited for that have the database.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the database its owner's alone, which holds for what SQLite puts beside it from then on. One that
/// is there is kept from others; its group stays as it is, since groups share projects.
fn keep_private(database: &Path) {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    // What is wrong with it is told when it is used.
    let _ = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(database);
    for part in PARTS {
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
    /// Opens the cache, making it when there is none. One that can't be written, or whose database is damaged,
    /// is as none: what is looked up is told without it, and [`Self::unwritable`] or [`Self::damaged`] says why.
    ///
    /// `environment` is empty for the default one; rows of environments are apart.
    pub fn open(root: &Path, environment: &str) -> Result<Self, StoreError> {
        match Self::open_there(root, environment) {
            Err(error) => match (Unwritable::find(root), error) {
                (Some(unwritable), _) => Self::forgetful(root, environment, Some(unwritable), None),
                (None, error @ StoreError::Damaged { .. }) => {
                    Self::forgetful(root, environment, None, Some(error.to_string()))
                }
                (None, error) => Err(error),
            },
            opened => opened,
        }
    }

    /// A cache that remembers nothing beyond this process.
    fn forgetful(
        root: &Path,
        environment: &str,
        unwritable: Option<Unwritable>,
        damaged: Option<String>,
    ) -> Result<Self, StoreError> {
        let failed = |source| StoreError::of_database(&root.join(DATABASE), source);
        let connection = Connection::open_in_memory().map_err(failed)?;
        connection.execute_batch(include_str!("schema.sql")).map_err(failed)?;
        Ok(Self {
            root: root.to_owned(),
            environment: environment.to_owned(),
            connection: Mutex::new(connection),
            unwritable,
            damaged: Mutex::new(damaged),
        })
    }

    /// Puts a damaged database aside, under a name that it returns, and begins a new one. Whoever does that
    /// has the cache's lock: nobody else does, or writes. One that can't be opened for another reason stays:
    /// it is busy, say, or a newer goatbuild made it meanwhile.
    ///
    /// Nothing is deployed twice, or forgotten, by that: deployments, volumes and gateway entries carry marks
    /// of their own, and the lock has what was built. When steps ran, and how they failed, only this file knew.
    pub fn mend(&self) -> Result<Option<PathBuf>, StoreError> {
        if self.unwritable.is_some() || (self.damaged().is_none() && is_whole(&self.connection())) {
            return Ok(None);
        }
        // Whoever had the lock before may have done so.
        let again = Self::open_there(&self.root, &self.environment);
        let (opened, aside) = match again {
            Ok(opened) if is_whole(&opened.connection()) => (opened, None),
            Ok(_) | Err(StoreError::Damaged { .. }) => {
                let aside = put_aside(&self.root)?;
                (Self::open_there(&self.root, &self.environment)?, Some(aside))
            }
            Err(error) => return Err(error),
        };
        let connection = opened.connection.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.connection() = connection;
        *self.damaged.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(aside)
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
        let path = root.join(DATABASE);
        let failed = |source| StoreError::of_database(&path, source);
        keep_private(&path);
        let connection = Connection::open(&path).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        // Looked at first: a layout that isn't ours is left exactly as it is.
        let found: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path, found, known: SCHEMA });
        }
        write_ahead(&connection).map_err(failed)?;
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
            damaged: Mutex::default(),
        })
    }
}

/// Has the database keep what is written in a log of its own. For that SQLite waits for nobody, whatever its
/// timeout: several that open a new one at once find each other there.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
}

/// What SQLite puts beside a database has these at the end of its name.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// Renames a database with all of its parts, as other programs find them.
fn put_aside(root: &Path) -> Result<PathBuf, StoreError> {
    let when: String = now().chars().filter(|letter| !":-".contains(*letter)).collect();
    let aside = format!("{DATABASE}.damaged-{when}");
    for part in PARTS {
        let (from, to) =
            (root.join(format!("{DATABASE}{part}")), root.join(format!("{aside}{part}")));
        match durable::rename(&from, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            renamed => renamed.map_err(|source| StoreError::Write { path: from, source })?,
        }
    }
    Ok(root.join(aside))
}

/// Whether all of a database can be read. It takes as long as reading it.
fn is_whole(connection: &Connection) -> bool {
    let found = connection.query_row("pragma quick_check(1)", [], |row| row.get::<_, String>(0));
    // One that is busy, say, isn't damaged.
    let is_damaged = |error| {
        let error = StoreError::of_database(Path::new(DATABASE), error);
        matches!(error, StoreError::Damaged { .. })
    };
    found.map_or_else(|error| !is_damaged(error), |found| found == "ok")
}
