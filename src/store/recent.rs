//! What of the past counts, and forgetting the rest.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;

use super::{Store, StoreError};
use crate::fingerprint::Key;
use crate::step::Facts;

/// What stands for steps that count, and what the last runs made or tried, in all environments.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// The runs that count, by number.
    pub runs: BTreeSet<i64>,
    /// Keys of those rows, and of what those runs tried.
    pub keys: BTreeSet<Key>,
    /// Facts of those rows, and of records with those keys.
    pub facts: Vec<Facts>,
}

impl Store {
    /// What stands, and what the last `runs` runs of each environment made or tried.
    ///
    /// Of what stands counts what those runs made, and what `counts` says, given an environment and
    /// a step: rows outlive the specs that they were made for.
    pub fn recent(
        &self,
        runs: u32,
        counts: impl Fn(&str, &str) -> bool,
    ) -> Result<Recent, StoreError> {
        let connection = self.connection();
        let read = || -> rusqlite::Result<Recent> {
            let mut recent = Recent::default();
            let mut statement = connection.prepare(
                "select id from (select id, row_number() over
                   (partition by environment order by id desc) as place from runs)
                 where place <= ?1",
            )?;
            for run in statement.query_map([runs], |row| row.get(0))? {
                recent.runs.insert(run?);
            }
            let mut statement = connection.prepare(
                "select run, attempts.key, facts from attempts left join records using (key)",
            )?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                if recent.runs.contains(&row.get(0)?) {
                    recent.add(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str_or_null()?);
                }
            }
            let mut statement =
                connection.prepare("select environment, step, key, facts from rows")?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str()?);
                let is_recent = text(2)?.parse().is_ok_and(|key| recent.keys.contains(&key));
                if is_recent || counts(text(0)?, text(1)?) {
                    recent.add(text(2)?, Some(text(3)?));
                }
            }
            Ok(recent)
        };
        read().map_err(|error| self.failed(error))
    }

    /// Forgets all other runs, the records that only they knew, and hashes of files that are gone.
    pub fn forget_all_but(
        &self,
        runs: &BTreeSet<i64>,
        keys: &BTreeSet<Key>,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let write = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            let ids = |sql: &str| -> rusqlite::Result<Vec<i64>> {
                transaction.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
            };
            for run in ids("select id from runs")?.into_iter().filter(|run| !runs.contains(run)) {
                transaction.execute("delete from attempts where run = ?1", [run])?;
                transaction.execute("delete from runs where id = ?1", [run])?;
            }
            let texts = |sql: &str| -> rusqlite::Result<Vec<String>> {
                transaction.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
            };
            let is_needed = |text: &String| text.parse().is_ok_and(|key: Key| keys.contains(&key));
            for key in texts("select key from records")?.iter().filter(|key| !is_needed(key)) {
                transaction.execute("delete from records where key = ?1", [key])?;
            }
            for path in texts("select path from files")? {
                if !Path::new(&path).exists() {
                    transaction.execute("delete from files where path = ?1", [path])?;
                }
            }
            transaction.commit()
        };
        write(&mut connection).map_err(|error| self.failed(error))
    }
}

impl Recent {
    fn add(&mut self, key: &str, facts: Option<&str>) {
        self.keys.extend(key.parse::<Key>());
        self.facts.extend(facts.and_then(|text| serde_json::from_str(text).ok()));
    }
}
