//! The memory that a plan consults: rows and records read at once, fingerprints when asked for.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError};
use crate::fingerprint::{Fingerprint, Key};
use crate::plan::{Memory, Row};
use crate::step::{Facts, StepId};

/// What the cache remembers, as of one moment, besides what the lock knows.
#[derive(Debug)]
pub struct Remembered<'a> {
    store: &'a Store,
    records: HashMap<Key, Facts>,
    rows: HashMap<StepId, Row>,
    failed: HashMap<StepId, Key>,
    locked: HashMap<StepId, (Key, Facts)>,
}

impl Store {
    /// Reads all that a plan needs. `locked` are the outcomes of pure steps that the lock knows.
    pub fn remember(
        &self,
        locked: HashMap<StepId, (Key, Facts)>,
    ) -> Result<Remembered<'_>, StoreError> {
        let connection = self.connection();
        let failed = |error| self.failed(error);
        let mut records = HashMap::new();
        let mut statement = connection.prepare("select key, facts from records").map_err(failed)?;
        let found = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            .map_err(failed)?;
        for record in found {
            let (key, facts) = record.map_err(failed)?;
            if let (Ok(key), Ok(facts)) = (key.parse(), serde_json::from_str(&facts)) {
                records.insert(key, facts);
            }
        }
        let mut rows = HashMap::new();
        let mut statement = connection
            .prepare("select step, key, facts from rows where environment = ?1")
            .map_err(failed)?;
        let found = statement
            .query_map([&self.environment], |row| {
                let step = StepId::from(row.get_ref(0)?.as_str()?);
                Ok((step, row.get_ref(1)?.as_str()?.parse(), row.get::<_, String>(2)?))
            })
            .map_err(failed)?;
        for row in found {
            let (step, key, facts) = row.map_err(failed)?;
            if let (Ok(key), Ok(facts)) = (key, serde_json::from_str(&facts)) {
                rows.insert(step, Row { key, facts });
            }
        }
        let mut failures = HashMap::new();
        let mut statement = connection
            .prepare(
                "select step, key, outcome, max(run) from attempts where environment = ?1
                 group by step having outcome = 'failed'",
            )
            .map_err(failed)?;
        let found = statement
            .query_map([&self.environment], |row| {
                Ok((StepId::from(row.get_ref(0)?.as_str()?), row.get_ref(1)?.as_str()?.parse()))
            })
            .map_err(failed)?;
        for failure in found {
            if let (step, Ok(key)) = failure.map_err(failed)? {
                failures.insert(step, key);
            }
        }
        Ok(Remembered { store: self, records, rows, failed: failures, locked })
    }
}

impl Memory for Remembered<'_> {
    fn record(&self, step: &StepId, key: &Key) -> Option<Facts> {
        // The lock is what all machines agreed on; a cache that differs from it is the one to doubt.
        match self.locked.get(step) {
            Some((locked, facts)) if locked == key => Some(facts.clone()),
            _ => self.records.get(key).cloned(),
        }
    }

    fn row(&self, step: &StepId) -> Option<Row> {
        self.rows.get(step).cloned()
    }

    fn applied(&self, step: &StepId) -> Option<Fingerprint> {
        let text: String = self
            .store
            .connection()
            .query_row(
                "select fingerprint from applied where environment = ?1 and step = ?2",
                params![self.store.environment, step.as_str()],
                |row| row.get(0),
            )
            .optional()
            .ok()
            .flatten()?;
        serde_json::from_str(&text).ok()
    }

    fn failed(&self, step: &StepId) -> Option<Key> {
        self.failed.get(step).copied()
    }
}
