//! What is remembered between runs: records, rows, attempts and logs, under `cache/`.
//!
//! Deleting `cache/` loses time, never truth: what is deployed says so itself.

mod error;
mod memory;
mod opening;
mod recent;
mod unwritable;
mod writer_lock;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::now;
use crate::fingerprint::{Fingerprint, Key};
use crate::lock::hub::FileDigest;
use crate::step::{Class, Facts, Outcome, StepId};

pub use error::StoreError;
pub use memory::Remembered;
pub use recent::Recent;
pub use unwritable::Unwritable;
pub use writer_lock::{Holder, WriterLock, WriterLockError};

/// The database's name in the cache.
const DATABASE: &str = "state.db";

/// How an attempt of a step ended, from the last run that tried it.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The run it was part of.
    pub run: i64,
    /// The step.
    pub step: StepId,
    /// `ok`, `failed` or `interrupted`; `running` when the process died.
    pub outcome: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Its log, relative to the cache.
    pub log: String,
}

/// A step that stands, though no run that this cache knows of made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// The step.
    pub step: StepId,
    /// Whether it has a row.
    pub class: Class,
    /// What it stands for.
    pub fingerprint: Fingerprint,
    /// What it made.
    pub facts: Facts,
}

/// The cache directory of a project.
pub struct Store {
    root: PathBuf,
    environment: String,
    connection: Mutex<Connection>,
    /// Why nothing is kept, where that is so.
    unwritable: Option<Unwritable>,
    /// What is said of a database that is damaged: nothing is kept until it is put aside.
    damaged: Mutex<Option<String>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Store {
    /// Why nothing can be kept, where that is so. Whoever changes something is refused then.
    pub fn unwritable(&self) -> Option<&Unwritable> {
        self.unwritable.as_ref()
    }

    /// Says that its database is damaged, where that is so, and nothing is known of it.
    pub fn damaged(&self) -> Option<String> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The cache directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::of_database(&self.root.join(DATABASE), source)
    }

    /// Begins a run and gives its number.
    pub fn begin_run(&self, command: &str) -> Result<i64, StoreError> {
        let connection = self.connection();
        connection
            .execute(
                "insert into runs (environment, command, started) values (?1, ?2, ?3)",
                params![self.environment, command, now()],
            )
            .map_err(|error| self.failed(error))?;
        Ok(connection.last_insert_rowid())
    }

    /// Ends a run.
    pub fn end_run(&self, run: i64, outcome: &str) -> Result<(), StoreError> {
        self.connection()
            .execute(
                "update runs set finished = ?2, outcome = ?3 where id = ?1",
                params![run, now(), outcome],
            )
            .map(drop)
            .map_err(|error| self.failed(error))
    }

    /// Where the log of a step in a run is, relative to the cache.
    pub fn log_name(run: i64, step: &StepId) -> String {
        let safe: String = step
            .as_str()
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() || "-._".contains(letter) { letter } else { '_' }
            })
            .collect();
        format!("logs/{run}/{safe}.log")
    }

    /// Writes down that a step is about to run: before anything happens.
    pub fn intend(&self, run: i64, step: &StepId, key: &Key) -> Result<(), StoreError> {
        self.connection()
            .execute(
                "insert or replace into attempts (run, environment, step, key, outcome, started, log)
                 values (?1, ?2, ?3, ?4, 'running', ?5, ?6)",
                params![
                    run,
                    self.environment,
                    step.as_str(),
                    key.to_string(),
                    now(),
                    Self::log_name(run, step)
                ],
            )
            .map(drop)
            .map_err(|error| self.failed(error))
    }

    /// Writes down how a step ended; on success also its record or row.
    pub fn finish(
        &self,
        run: i64,
        step: &StepId,
        class: Class,
        fingerprint: &Fingerprint,
        seconds: f64,
        ended: Result<&Outcome, &str>,
    ) -> Result<(), StoreError> {
        let key = fingerprint.key().to_string();
        let mut connection = self.connection();
        let write = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            let word = match ended {
                Ok(_) => "ok",
                Err(word) => word,
            };
            transaction.execute(
                "update attempts set outcome = ?3, seconds = ?4 where run = ?1 and step = ?2",
                params![run, step.as_str(), word, seconds],
            )?;
            if let Ok(outcome) = ended {
                let facts = json(&outcome.facts);
                let evidence = json(&outcome.evidence);
                match class {
                    Class::Pure => transaction.execute(
                        "insert or replace into records (key, step, facts, evidence, made)
                         values (?1, ?2, ?3, ?4, ?5)",
                        params![key, step.as_str(), facts, evidence, now()],
                    )?,
                    Class::Effect => transaction.execute(
                        "insert or replace into rows (environment, step, key, facts, evidence, made)
                         values (?1, ?2, ?3, ?4, ?5, ?6)",
                        params![self.environment, step.as_str(), key, facts, evidence, now()],
                    )?,
                };
                transaction.execute(
                    "insert or replace into applied (environment, step, fingerprint)
                     values (?1, ?2, ?3)",
                    params![self.environment, step.as_str(), json(fingerprint)],
                )?;
            }
            transaction.commit()
        };
        write(&mut connection).map_err(|error| self.failed(error))
    }

    /// Keeps what steps stand for that did not have to run: found in the world, or in the lock.
    pub fn keep(&self, steps: &[Stands]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let write = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for Stands { step, class, fingerprint, facts } in steps {
                let (environment, step) = (&self.environment, step.as_str());
                let key = fingerprint.key().to_string();
                if *class == Class::Effect {
                    // A row of this key has the evidence of the run that made it.
                    transaction.execute(
                        "insert into rows (environment, step, key, facts, evidence, made)
                         values (?1, ?2, ?3, ?4, '{}', ?5)
                         on conflict do update set key = excluded.key, facts = excluded.facts,
                         evidence = excluded.evidence, made = excluded.made
                         where key <> excluded.key",
                        params![environment, step, key, json(facts), now()],
                    )?;
                }
                transaction.execute(
                    "insert or replace into applied (environment, step, fingerprint)
                     values (?1, ?2, ?3)",
                    params![environment, step, json(fingerprint)],
                )?;
            }
            transaction.commit()
        };
        write(&mut connection).map_err(|error| self.failed(error))
    }

    /// Forgets the row of a resource that was removed.
    pub fn forget(&self, step: &StepId) -> Result<(), StoreError> {
        let connection = self.connection();
        for table in ["rows", "applied"] {
            connection
                .execute(
                    &format!("delete from {table} where environment = ?1 and step = ?2"),
                    params![self.environment, step.as_str()],
                )
                .map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// The last attempt of a step, in any run.
    pub fn last_attempt(&self, step: &StepId) -> Result<Option<Attempt>, StoreError> {
        self.connection()
            .query_row(
                "select run, outcome, started, coalesce(seconds, 0), log from attempts
                 where environment = ?1 and step = ?2 order by run desc limit 1",
                params![self.environment, step.as_str()],
                |row| {
                    Ok(Attempt {
                        run: row.get(0)?,
                        step: step.clone(),
                        outcome: row.get(1)?,
                        started: row.get(2)?,
                        seconds: row.get(3)?,
                        log: row.get(4)?,
                    })
                },
            )
            .optional()
            .map_err(|error| self.failed(error))
    }

    /// The evidence of a step's last outcome: of its row, or of the record with this key.
    pub fn evidence(&self, step: &StepId, key: &Key) -> Result<Option<Facts>, StoreError> {
        self.connection()
            .query_row(
                "select evidence from records where key = ?1
                 union all select evidence from rows
                 where environment = ?2 and step = ?3 and key = ?1 limit 1",
                params![key.to_string(), self.environment, step.as_str()],
                |row| row.get::<_, String>(0),
            )
            .optional()
            .map(|text| text.and_then(|text| serde_json::from_str(&text).ok()))
            .map_err(|error| self.failed(error))
    }

    /// The remembered hash of a file that has not changed since, by path and stamp.
    pub fn file_hash(&self, path: &str, stamp: &str) -> Option<FileDigest> {
        let digits: Option<String> = self
            .connection()
            .query_row(
                "select sha256 from files where path = ?1 and stamp = ?2",
                params![path, stamp],
                |row| row.get(0),
            )
            .optional()
            .ok()
            .flatten();
        FileDigest::from_hex(&digits?)
    }

    /// Remembers the hash of a file, so that large weights are not read at every plan.
    pub fn keep_file_hash(&self, path: &str, stamp: &str, digest: FileDigest) {
        // Only a shortcut: failing to remember costs time, nothing else.
        let _ = self.connection().execute(
            "insert or replace into files (path, stamp, sha256) values (?1, ?2, ?3)",
            params![path, stamp, digest.hex()],
        );
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| panic!("BUG: not JSON: {error}"))
}

#[cfg(test)]
mod tests;
