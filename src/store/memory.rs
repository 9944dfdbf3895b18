//! The memory that a plan consults: rows and records read at once, the rest when asked for.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::digest::Digest;
use crate::fingerprint::{Fingerprint, Key};
use crate::plan::{self, Memory};
use crate::step::{Fact, Facts, StepId};

/// What the cache remembers, as of one moment, besides what the lock knows.
///
/// Facts stay the text that they are kept as until a step asks for them.
#[derive(Debug)]
pub struct Remembered<'a> {
    store: &'a Store,
    records: HashMap<Key, String>,
    rows: HashMap<StepId, (Key, String)>,
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
        let mut found = statement.query([]).map_err(failed)?;
        while let Some(row) = found.next().map_err(failed)? {
            if let Ok(key) = text(row, 0).map_err(failed)?.parse() {
                records.insert(key, text(row, 1).map_err(failed)?.to_owned());
            }
        }
        let mut rows = HashMap::new();
        let mut statement = connection
            .prepare("select step, key, facts from rows where environment = ?1")
            .map_err(failed)?;
        let mut found = statement.query([&self.environment]).map_err(failed)?;
        while let Some(row) = found.next().map_err(failed)? {
            if let Ok(key) = text(row, 1).map_err(failed)?.parse() {
                let step = StepId::from(text(row, 0).map_err(failed)?);
                rows.insert(step, (key, text(row, 2).map_err(failed)?.to_owned()));
            }
        }
        Ok(Remembered { store: self, records, rows, locked })
    }
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(column)?.as_str()?)
}

impl Remembered<'_> {
    /// The effect steps that have a row.
    pub fn made(&self) -> impl Iterator<Item = &StepId> {
        self.rows.keys()
    }
}

/// What is not as steps write it down is not remembered: it is made again.
fn facts(text: &str) -> Option<Facts> {
    let facts: Facts = serde_json::from_str(text).ok()?;
    let is_sound = |(name, value): (&String, &String)| {
        !Fact::is_digest(name) || value.parse::<Digest>().is_ok()
    };
    facts.iter().all(is_sound).then_some(facts)
}

impl Memory for Remembered<'_> {
    fn record(&self, step: &StepId, key: &Key) -> Option<Facts> {
        // The lock is what all machines agreed on; a cache that differs from it is the one to doubt.
        match self.locked.get(step) {
            Some((locked, facts)) if locked == key => Some(facts.clone()),
            _ => self.records.get(key).and_then(|text| facts(text)),
        }
    }

    fn row(&self, step: &StepId) -> Option<plan::Row> {
        let (key, text) = self.rows.get(step)?;
        Some(plan::Row { key: *key, facts: facts(text)? })
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
        let text: String = self
            .store
            .connection()
            .query_row(
                "select iif(outcome = 'failed', key, '') from attempts
                 where environment = ?1 and step = ?2 order by run desc limit 1",
                params![self.store.environment, step.as_str()],
                |row| row.get(0),
            )
            .optional()
            .ok()
            .flatten()?;
        text.parse().ok()
    }
}
