//! What stands at Modal, as it was last looked at.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::json;

use super::Modal;
use super::app::tags;
use super::by_hand::ServingFunction;
use super::kept::{DIRECTORY, Deployed, Kept};
use super::replicas::Told;
use super::spec::CANDIDATE;
use super::volumes::Ids;
use crate::clock::written;
use crate::event::Reporter;
use crate::fingerprint::{Change, Key};
use crate::step::{Observation, StepError};

/// What a look showed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By name, as far as they are of interest.
    apps: BTreeMap<String, App>,
    /// The names of the receipts in the volume that has the weights.
    weights: BTreeSet<String>,
    /// Those in the volumes that have compile caches.
    warmups: BTreeSet<String>,
    /// The ids of the volumes that models see.
    volumes: Ids,
    /// The keys of each secret; none where nobody needs any, or they were not to be seen.
    secrets: Option<Secrets>,
}

/// The keys of secrets, by name.
pub(super) type Secrets = BTreeMap<String, BTreeSet<String>>;

/// One app.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct App {
    pub(super) deployed: bool,
    pub(super) containers: u32,
    stopped_at: f64,
    /// Whose it is, where what is kept doesn't tell.
    #[serde(default)]
    pub(super) owner: Option<String>,
    /// How it is made that nothing is known of.
    #[serde(default)]
    pub(super) serves: Option<ServingFunction>,
    /// What its replicas told of themselves, the oldest first; none where that wasn't to be had.
    #[serde(default)]
    pub(super) told: Option<Vec<Told>>,
    /// Newest first.
    pub(super) history: Vec<Version>,
}

/// One version of an app.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Version {
    #[serde(rename = "version")]
    pub(super) number: u32,
    pub(super) tag: String,
    pub(super) by: String,
    /// Seconds since 1970.
    pub(super) at: f64,
    /// Whether Modal itself goes back to it.
    pub(super) rollback_allowed: bool,
}

impl Version {
    fn is_ours(&self) -> bool {
        self.key().is_some()
    }

    /// The key that it is marked with, when it is one of goatbuild's.
    pub(super) fn key(&self) -> Option<Key> {
        self.tag.parse().ok()
    }

    pub(super) fn describe(&self) -> String {
        let tag = if self.tag.is_empty() { "no tag" } else { &self.tag };
        format!("v{} by {} at {} ({tag})", self.number, self.by, written(self.at))
    }
}

#[derive(Deserialize)]
struct Volume {
    id: String,
    files: Vec<String>,
    text: String,
}

#[derive(Deserialize)]
struct Answer {
    apps: BTreeMap<String, App>,
    volumes: Vec<Option<Volume>>,
    #[serde(default)]
    secrets: Option<Secrets>,
}

impl Modal {
    /// Asks Modal what stands: six calls for the three volumes, one for all apps and two for each.
    pub(super) async fn ask(&self) -> Result<(Seen, Kept), StepError> {
        let volume = |name: &str, file| json!({"name": name, "directory": DIRECTORY, "file": file});
        let weights = &self.volume("model-cache").name;
        let mut volumes = vec![volume(weights, Some(Kept::file(&self.owner)))];
        volumes.extend(self.receipts_of_warmups().map(|name| volume(name, None)));
        // Of these nothing is read.
        volumes.extend(
            self.other_caches().iter().map(|name| json!({"name": name, "directory": null})),
        );
        let names: Vec<String> =
            volumes.iter().filter_map(|it| it["name"].as_str().map(str::to_owned)).collect();
        let request = json!({
            "apps": self.specs.keys().map(|model| self.app(model)).collect::<Vec<_>>(),
            "candidate": CANDIDATE,
            "volumes": volumes,
            "secrets": self.names_secrets(),
        });
        let reporter = Reporter::silent();
        let answer = self.client.call("look", "look", request, &reporter);
        let answer = tokio::time::timeout(super::client::LOOK, answer).await.map_err(|_| {
            super::ModalError::Unreachable { message: "no answer within a minute".to_owned() }
        })??;
        let answer: Answer = serde_json::from_value(answer).map_err(|error| {
            super::ModalError::Client { verb: "understood", message: error.to_string() }
        })?;
        let ids = answer.volumes.iter().map(|seen| seen.as_ref().map(|files| files.id.clone()));
        let ids: Ids = names.into_iter().zip(ids).collect();
        let mut volumes = answer.volumes.into_iter();
        let weights = volumes.next().flatten();
        let text = weights.as_ref().map(|it| it.text.clone()).unwrap_or_default();
        let kept = Kept::read(&text, &self.owner, &self.volume("model-cache").name)?;
        let weights = weights.into_iter().flat_map(|it| it.files).collect();
        let warmups = volumes.flatten().flat_map(|it| it.files).collect();
        let (apps, secrets) = (answer.apps, answer.secrets);
        Ok((Seen { apps, weights, warmups, volumes: ids, secrets }, kept))
    }

    /// The versions of an app as they are now, the newest first; none of one that isn't deployed.
    pub(super) async fn versions(
        &self,
        app: &str,
        reporter: &Reporter,
    ) -> Result<Vec<Version>, StepError> {
        #[derive(Deserialize)]
        struct Apps {
            apps: BTreeMap<String, App>,
        }
        let request = json!({"apps": [app], "candidate": CANDIDATE, "volumes": []});
        let answer = self.client.call(app, "look", request, reporter).await?;
        let Apps { mut apps } = super::serve::understood(answer)?;
        let found = apps.remove(app).filter(|app| app.deployed);
        Ok(found.map(|app| app.history).unwrap_or_default())
    }

    /// Tells of something that was looked at, or why it wasn't.
    fn seen<T>(&self, tell: impl FnOnce(&Seen) -> T) -> Result<T, Observation> {
        match &*self.world() {
            Ok(seen) => Ok(tell(seen)),
            Err(why) => Err(Observation::Unobserved(Some(why.clone()))),
        }
    }

    /// The ids of the volumes, where they were to be seen.
    pub(super) fn volume_ids(&self) -> Option<Ids> {
        self.seen(|seen| seen.volumes.clone()).ok()
    }

    /// The keys of each secret, where they were to be seen.
    pub(super) fn secrets(&self) -> Option<Secrets> {
        self.seen(|seen| seen.secrets.clone()).ok().flatten()
    }

    /// The names of the receipts that there are, of weights and of warm-ups.
    pub(super) fn receipts(&self) -> Result<(BTreeSet<String>, BTreeSet<String>), String> {
        match &*self.world() {
            Ok(seen) => Ok((seen.weights.clone(), seen.warmups.clone())),
            Err(why) => Err(why.clone()),
        }
    }

    pub(super) fn has_weights(&self, key: &Key) -> Result<bool, Observation> {
        self.seen(|seen| seen.weights.contains(&weights_receipt(key)))
    }

    pub(super) fn is_warm(&self, key: &Key) -> Result<bool, Observation> {
        self.seen(|seen| seen.warmups.contains(&format!("warmup-{key}.json")))
    }

    /// The app of a model, if there ever was one that Modal still knows.
    pub(super) fn seen_app(&self, model: &str) -> Option<App> {
        self.seen_by_name(&self.app(model))
    }

    /// An app that is of interest.
    pub(super) fn seen_by_name(&self, app: &str) -> Option<App> {
        self.seen(|seen| seen.apps.get(app).cloned()).ok().flatten()
    }

    /// The names of the apps of which that is so.
    pub(super) fn seen_apps(&self, wanted: impl Fn(&str, &App) -> bool) -> Vec<String> {
        let named = |seen: &Seen| -> Vec<String> {
            let apps = seen.apps.iter().filter(|(name, app)| wanted(name, app));
            apps.map(|(name, _)| name.clone()).collect()
        };
        self.seen(named).unwrap_or_default()
    }

    /// The first app of which that is so, and its newest version.
    pub(super) fn seen_where(
        &self,
        wanted: impl Fn(&str, &App) -> bool,
    ) -> Option<(String, Version)> {
        let found = self.seen(|seen| {
            let mut apps = seen.apps.iter().filter(|(name, app)| wanted(name, app));
            apps.find_map(|(name, app)| Some((name.clone(), app.history.first()?.clone())))
        });
        found.ok().flatten()
    }

    /// What serves a model, unless that is held.
    pub(super) fn observe_app(&self, model: &str) -> Observation {
        let stands = self.stands(model);
        match self.held(model) {
            Some((facts, note)) if !matches!(stands, Observation::Unobserved(_)) => {
                Observation::Held { facts, note }
            }
            _ => stands,
        }
    }

    /// What serves a model.
    pub(super) fn stands(&self, model: &str) -> Observation {
        let app = match self.seen(|seen| seen.apps.get(&self.app(model)).cloned()) {
            Ok(app) => app,
            Err(unseen) => return unseen,
        };
        let kept = self.kept(|kept| kept.deployments.get(model).cloned());
        let kept = kept.filter(|kept| kept.app == self.app(model));
        if app.as_ref().is_none_or(|app| !app.deployed)
            && let Some(alike) = self.alike(model)
        {
            return alike;
        }
        let Some(app) = app else {
            return match kept {
                Some(_) => drift("app", "deployed", "gone"),
                None => Observation::Absent,
            };
        };
        let Some(newest) = app.history.first().filter(|_| app.deployed) else {
            return match kept {
                Some(_) => {
                    drift("app", "deployed", &format!("stopped at {}", written(app.stopped_at)))
                }
                None => Observation::Absent,
            };
        };
        match kept {
            Some(kept) if kept.version == newest.number && newest.tag == kept.key.to_string() => {
                match self.replaced_volumes(model) {
                    changes if changes.is_empty() => {
                        Observation::Present { key: kept.key, facts: kept.facts() }
                    }
                    changes => Observation::Drifted { changes },
                }
            }
            // We deployed it, and were cut off before that was written down, or it was lost.
            _ if newest.is_ours() && self.is_marked(&app) => drift("record", "present", "gone"),
            // What others made was gone back to, and is held no more.
            Some(kept) if kept.version == newest.number => {
                drift("version", "one of goatbuild's", &newest.describe())
            }
            Some(kept) => drift("version", &format!("v{}", kept.version), &newest.describe()),
            None => self.foreign(model, &app, newest),
        }
    }

    /// Whether a mark is that of this project in another environment.
    pub(super) fn is_other_environment(&self, mark: &str) -> bool {
        let project = self.owner.split('/').next();
        mark.split('.').next() == project && mark != self.owner.replace('/', ".")
    }

    /// Whether an app says itself that it is this project's.
    pub(super) fn is_marked(&self, app: &App) -> bool {
        app.owner.as_deref() == tags(&self.owner)["goatbuild"].as_str()
    }

    /// Whether what is deployed is what this key stands for, though nothing that is kept says so.
    pub(super) fn is_deployed(&self, model: &str, key: &Key) -> bool {
        self.seen_app(model).is_some_and(|app| {
            let newest = app.history.first();
            app.deployed
                && self.is_marked(&app)
                && newest.is_some_and(|newest| newest.tag == key.to_string())
        })
    }

    /// The tag of what is deployed, which a deployment replaces.
    pub(super) fn deployed_tag(&self, model: &str) -> Option<String> {
        let app = self.seen_app(model).filter(|app| app.deployed)?;
        Some(app.history.first()?.tag.clone())
    }

    /// Whether an app is one that goatbuild knows it has deployed.
    pub(super) fn is_kept(&self, app: &str) -> bool {
        self.kept(|kept| kept.deployments.values().any(|deployed| deployed.app == app))
    }

    pub(super) fn deployed(&self, model: &str) -> Option<Deployed> {
        self.kept(|kept| kept.deployments.get(model).cloned())
    }
}

pub(super) fn weights_receipt(key: &Key) -> String {
    format!("weights-{key}.json")
}

pub(super) fn drift(field: &str, old: &str, new: &str) -> Observation {
    let change =
        Change { field: field.to_owned(), old: Some(old.to_owned()), new: Some(new.to_owned()) };
    Observation::Drifted { changes: vec![change] }
}
