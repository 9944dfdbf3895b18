//! The gateway's files of one project: looked at once per plan, edited one entry at a time.

mod seen;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use async_trait::async_trait;

use self::seen::Seen;
use super::error::ReloadError;
use crate::bounded::output::output;
use crate::durable::{self, TEMPORARY};
use crate::fingerprint::{Fingerprint, Key};
use crate::gateways::litellm::file::File;
use crate::gateways::litellm::{self, Document, Entry, GatewayError, Own, mode};
use crate::gateways::{Endpoint, Gateway, Problem};
use crate::leftovers::sweep;
use crate::plan::Unwanted;
use crate::step::{Observation, StepError, StepId};

/// `[gateway.litellm]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The configuration that holds our entries, relative to the project.
    pub config: PathBuf,
    /// A second file that holds the same entries, commented out; relative to the project.
    pub mirror: Option<PathBuf>,
    /// What to run after the file changed: a program and its arguments.
    pub reload: Option<Vec<String>>,
}

/// The files that hold a project's entries.
#[derive(Debug)]
pub struct LiteLlm {
    root: PathBuf,
    project: String,
    config: PathBuf,
    mirror: Option<PathBuf>,
    reload: Option<Vec<String>>,
    seen: RwLock<Option<Seen>>,
    writing: Mutex<()>,
}

impl LiteLlm {
    /// The gateway of the project at `root`.
    pub fn new(root: &Path, project: &str, settings: &Settings) -> Self {
        Self {
            root: root.to_owned(),
            project: project.to_owned(),
            config: settings.config.clone(),
            mirror: settings.mirror.clone(),
            reload: settings.reload.clone(),
            seen: RwLock::default(),
            writing: Mutex::default(),
        }
    }

    fn read(&self) -> Result<Seen, GatewayError> {
        let document = File::read(&self.root.join(&self.config))?.document()?;
        let mirror = match &self.mirror {
            Some(path) => {
                let text = File::read(&self.root.join(path))?.text().to_owned();
                Some((path.display().to_string(), text))
            }
            None => None,
        };
        let owned = litellm::owned(&document, &self.project);
        let keys = owned.into_iter().map(|owned| (owned.model, owned.key)).collect();
        Ok(Seen { document, keys, mirror })
    }

    fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> Option<T> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }

    fn describe_entry(&self, entry: &Entry, fingerprint: &mut Fingerprint) {
        fingerprint
            .field("gateway.config", self.name())
            .field("gateway.alias", &entry.alias)
            .field("url", &entry.api_base)
            .field("served-name", &entry.served_name)
            .optional("gateway.mode", mode::of(entry.api));
        for (label, value) in entry.access.described() {
            fingerprint.field(label, value);
        }
    }

    /// Our entry of the same model as it stands in the file, when there is exactly one.
    fn found(&self, wanted: &Entry) -> Option<Entry> {
        let found = self.seen(|seen| litellm::observe(&seen.document, wanted))?;
        let Own::Present { differs, .. } = found.own else { return None };
        let mut entry = Entry { key: self.key(&wanted.model)?, ..wanted.clone() };
        // What asks it goes with the mode, and may be the one thing that somebody changed.
        let mut model = mode::model(wanted.api, &wanted.served_name);
        for change in differs {
            if entry.access.set(&change.field, change.old.clone()) {
                continue;
            }
            if change.field == mode::FIELD.join(".") {
                entry.api = mode::api(change.old.as_deref())?;
                continue;
            }
            let old = change.old?;
            match change.field.as_str() {
                "model_name" => entry.alias = old,
                "litellm_params.model" => model = old,
                "litellm_params.api_base" => entry.api_base = old,
                _ => {}
            }
        }
        mode::served_name(entry.api, &model)?.clone_into(&mut entry.served_name);
        Some(entry)
    }

    fn edit(
        &self,
        config: impl FnOnce(&Document) -> Result<String, GatewayError>,
        mirror: impl FnOnce(&str, &str) -> Result<String, GatewayError>,
    ) -> Result<bool, StepError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let file = File::read(&self.root.join(&self.config))?;
        let text = config(&file.document()?)?;
        let mut changed = text != file.text();
        if changed {
            self.mark()?;
            file.write(&text)?;
        }
        if let Some(path) = &self.mirror {
            let file = File::read(&self.root.join(path))?;
            let text = mirror(&path.display().to_string(), file.text())?;
            changed |= text != file.text();
            file.write(&text)?;
        }
        Ok(changed)
    }

    fn mark_file(&self) -> PathBuf {
        self.root.join("cache/gateway-reload-due")
    }

    /// Notes that a reload is due, so that it is not forgotten when this process is killed.
    fn mark(&self) -> Result<(), ReloadError> {
        if self.reload.is_none() {
            return Ok(());
        }
        let path = self.mark_file();
        let written = std::fs::create_dir_all(self.root.join("cache"))
            .and_then(|()| durable::write(&path, b"", 0o644));
        written.map_err(|source| ReloadError::Mark { path, source })
    }
}

#[async_trait]
impl Gateway for LiteLlm {
    /// The file's path, relative to the project.
    fn name(&self) -> String {
        self.config.display().to_string()
    }

    fn look(&self) -> Result<(), StepError> {
        let seen = self.read()?;
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(())
    }

    fn describe(&self, wanted: &Endpoint, fingerprint: &mut Fingerprint) {
        self.describe_entry(&Entry::of(wanted), fingerprint);
    }

    fn describe_found(&self, wanted: &Endpoint, fingerprint: &mut Fingerprint) -> Option<()> {
        self.describe_entry(&self.found(&Entry::of(wanted))?, fingerprint);
        Some(())
    }

    fn is_as_wanted(&self, wanted: &Endpoint) -> bool {
        let wanted = Entry::of(wanted);
        self.found(&wanted).is_some_and(|found| found == wanted)
    }

    fn observe(&self, wanted: &Endpoint, complete: Option<&Key>) -> Observation {
        self.seen(|seen| seen.observe(&self.root, &Entry::of(wanted), complete))
            .unwrap_or(Observation::Unobserved(None))
    }

    fn key(&self, model: &str) -> Option<String> {
        self.seen(|seen| seen.keys.get(model).cloned()).flatten()
    }

    fn unwanted(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Unwanted> {
        let file = self.name();
        let of = |seen: &Seen| {
            let mut unwanted: Vec<Unwanted> = litellm::owned(&seen.document, &self.project)
                .into_iter()
                .filter(|owned| !wanted(&owned.model))
                .map(|owned| Unwanted {
                    id: StepId::gateway(&owned.model),
                    detail: format!("{} at {file}:{}", owned.alias, owned.line),
                    model: owned.model,
                    absent: false,
                })
                .collect();
            if let Some((name, text)) = &seen.mirror {
                for block in litellm::mirrored(name, text, &self.project).unwrap_or_default() {
                    let known = unwanted.iter().any(|unwanted| unwanted.model == block.model);
                    if !known && !wanted(&block.model) {
                        unwanted.push(Unwanted {
                            id: StepId::gateway(&block.model),
                            detail: format!("{name}:{}", block.line),
                            model: block.model,
                            absent: false,
                        });
                    }
                }
            }
            unwanted
        };
        self.seen(of).unwrap_or_default()
    }

    fn upsert(&self, wanted: &[Endpoint], adopt: bool) -> Result<bool, StepError> {
        let entries: Vec<Entry> = wanted.iter().map(Entry::of).collect();
        let changes: Vec<_> =
            entries.iter().map(|entry| litellm::Change::Upsert { entry, adopt }).collect();
        self.edit(
            |document| {
                // Ours move into the ones that are adopted.
                let moves = entries.iter().filter(|entry| {
                    let found = litellm::observe(document, entry);
                    let in_reach = !found.rivals.iter().any(|rival| rival.included);
                    adopt && in_reach && found.own != Own::Absent && !found.rivals.is_empty()
                });
                let (project, model) = (&*self.project, |entry: &'_ Entry| entry.model.clone());
                let moving: Vec<String> = moves.map(model).collect();
                if moving.is_empty() {
                    return litellm::edit(document, &changes);
                }
                let away: Vec<_> =
                    moving.iter().map(|model| litellm::Change::Remove { project, model }).collect();
                let without = Document::parse(document.name(), &litellm::edit(document, &away)?)?;
                litellm::edit(&without, &changes)
            },
            |name, text| {
                entries.iter().try_fold(text.to_owned(), |text, entry| {
                    litellm::mirror_upsert(name, &text, entry)
                })
            },
        )
    }

    fn remove(&self, model: &str) -> Result<bool, StepError> {
        // Those of its adapters are marked with its name, too.
        let is_of = |owned: &litellm::Owned| {
            owned
                .model
                .strip_prefix(model)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let names = |owned: Vec<litellm::Owned>| -> BTreeSet<String> {
            owned.into_iter().filter(is_of).map(|owned| owned.model).collect()
        };
        self.edit(
            |document| {
                let names = names(litellm::owned(document, &self.project));
                let project = &*self.project;
                let changes: Vec<_> =
                    names.iter().map(|model| litellm::Change::Remove { project, model }).collect();
                litellm::edit(document, &changes)
            },
            |name, text| {
                let names = names(litellm::mirrored(name, text, &self.project)?);
                names.iter().try_fold(text.to_owned(), |text, model| {
                    litellm::mirror_remove(name, &text, &self.project, model)
                })
            },
        )
    }

    /// Runs the reload command when the configuration changed since it last ran.
    ///
    /// Returns the command line if it ran.
    async fn reload(&self) -> Result<Option<String>, StepError> {
        let Some(command) = self.reload.as_ref().filter(|_| self.mark_file().exists()) else {
            return Ok(None);
        };
        let line = command.join(" ");
        let failed = |status: String, output: String| ReloadError::Failed {
            command: line.clone(),
            status,
            output,
        };
        let (program, arguments) =
            command.split_first().ok_or_else(|| failed("it is empty".to_owned(), String::new()))?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).current_dir(&self.root).stdin(std::process::Stdio::null());
        let ran =
            output(&mut command).await.map_err(|error| failed(error.to_string(), String::new()))?;
        if !ran.status.success() {
            let output = [ran.stdout, ran.stderr].concat();
            let output = String::from_utf8_lossy(&output).trim_end().to_owned();
            return Err(failed(ran.status.to_string(), output).into());
        }
        let path = self.mark_file();
        std::fs::remove_file(&path).map_err(|source| ReloadError::Mark { path, source })?;
        Ok(Some(line))
    }

    fn render(&self, wanted: &[Endpoint]) -> Result<String, StepError> {
        let document = File::read(&self.root.join(&self.config))?.document()?;
        let entries: Vec<Entry> = wanted.iter().map(Entry::of).collect();
        let changes: Vec<_> =
            entries.iter().map(|entry| litellm::Change::Upsert { entry, adopt: false }).collect();
        Ok(litellm::edit(&document, &changes)?)
    }

    fn problems(&self) -> Result<Vec<Problem>, StepError> {
        let document = File::read(&self.root.join(&self.config))?.document()?;
        Ok(litellm::check(&document, &|name| std::env::var_os(name).is_some()))
    }

    /// The reload command would run as it is then.
    fn bound(&self) -> Option<(&'static str, String)> {
        let command = self.reload.as_ref()?;
        Some(("gateway.litellm.reload", command.join("\0")))
    }

    fn sweep(&self) {
        for file in std::iter::once(&self.config).chain(&self.mirror) {
            let file = self.root.join(file);
            let beside = std::fs::canonicalize(&file).unwrap_or(file);
            sweep(beside.parent().unwrap_or(&self.root), TEMPORARY);
        }
    }
}

#[cfg(test)]
mod tests;
