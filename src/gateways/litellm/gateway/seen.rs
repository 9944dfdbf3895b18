//! What the gateway's files showed at the last look.

use std::collections::HashMap;
use std::path::Path;

use crate::fingerprint::{Change, Key};
use crate::gateways::facts;
use crate::gateways::litellm::{self, Detour, Document, Entry, Own};
use crate::step::{Adoptable, Observation};

/// What the files showed at the last look.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) document: Document,
    pub(super) keys: HashMap<String, String>,
    pub(super) mirror: Option<(String, String)>,
}

impl Seen {
    pub(super) fn observe(
        &self,
        root: &Path,
        entry: &Entry,
        complete: Option<&Key>,
    ) -> Observation {
        let found = litellm::observe(&self.document, entry);
        // Plans are saved and compared: where the project lies is no part of one.
        let shown = |path: &str| {
            let path = Path::new(path);
            path.strip_prefix(root).unwrap_or(path).display().to_string()
        };
        if let Some(Detour { path, line, map, target }) = &found.detour {
            let place = format!("{}:{line}, {map}", shown(path));
            return Observation::Foreign {
                owner: format!("requests for `{}` go to `{target}` by {place}", entry.alias),
                adoptable: Adoptable::No,
                ours: false,
                differs: Vec::new(),
            };
        }
        if let Some(rival) = found.rivals.first() {
            let id = |owner: &str| owner.split('/').next().map(str::to_owned);
            let ours = rival.owner.as_ref().is_some_and(|marker| {
                marker.project != entry.project && id(&marker.project) == id(&entry.project)
            });
            let owner = match &rival.owner {
                None => "an entry made by hand".to_owned(),
                Some(marker) if ours => {
                    let environment = marker.project.split_once('/');
                    let environment = environment
                        .map_or("the default environment".to_owned(), |it| {
                            format!("environment {}", it.1)
                        });
                    format!("this project's own entry for {environment}, model {}", marker.model)
                }
                Some(marker) => {
                    format!("an entry of project {}, model {}", marker.project, marker.model)
                }
            };
            let file = shown(&rival.path);
            return Observation::Foreign {
                owner: format!("`{}` at {file}:{}, {owner}", entry.alias, rival.line),
                // An included file is never edited, and of several entries none is the one.
                adoptable: if found.rivals.len() == 1 && !rival.included {
                    Adoptable::Yes
                } else {
                    Adoptable::No
                },
                ours,
                differs: Vec::new(),
            };
        }
        let marked = self.keys.get(&entry.model).and_then(|key| key.parse::<Key>().ok());
        match (found.own, complete, marked) {
            (Own::Absent, _, _) => Observation::Absent,
            (Own::Duplicated { lines }, _, _) => {
                let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
                drifted("entries", "1", &format!("{} (lines {})", lines.len(), lines.join(", ")))
            }
            (Own::Present { differs, .. }, Some(key), Some(marked)) if marked == *key => {
                if differs.is_empty() {
                    return self.mirrored(entry, marked);
                }
                let changes = differs.into_iter().map(|change| Change {
                    // The plan tells what the hand made of it, then what it will be.
                    old: Some(match change.old {
                        None => "(missing)".to_owned(),
                        // A key that somebody typed in is a secret: plans are saved and published.
                        Some(_) if litellm::is_secret(&change.field) => "(not shown)".to_owned(),
                        Some(old) => old,
                    }),
                    field: change.field,
                    new: Some(change.new),
                });
                Observation::Drifted { changes: changes.collect() }
            }
            (Own::Present { .. }, _, Some(marked)) => {
                Observation::Present { key: marked, facts: facts(&entry.alias) }
            }
            (Own::Present { .. }, _, None) => drifted("model_info.goatbuild.key", "a key", "none"),
        }
    }

    fn mirrored(&self, entry: &Entry, key: Key) -> Observation {
        match &self.mirror {
            Some((name, text)) => match litellm::mirror_is_current(name, text, entry) {
                Ok(true) => Observation::Present { key, facts: facts(&entry.alias) },
                Ok(false) => drifted(name, "as written", "edited or missing"),
                Err(error) => drifted(name, "readable", &error.to_string()),
            },
            None => Observation::Present { key, facts: facts(&entry.alias) },
        }
    }
}

fn drifted(field: &str, old: &str, new: &str) -> Observation {
    let change =
        Change { field: field.to_owned(), old: Some(old.to_owned()), new: Some(new.to_owned()) };
    Observation::Drifted { changes: vec![change] }
}
