//! The versions that there is to go back to.

use super::kept::Hold;
use super::look::Version;
use super::{Modal, RollbackError};
use crate::clock::written;
use crate::fingerprint::{Fingerprint, Key};
use crate::step::{Observation, StepError};
use crate::targets::{Earlier, Stands};

/// What stands for a version that somebody else deployed, which has no key.
pub(super) fn of_others(app: &str, version: u32) -> Fingerprint {
    let mut fingerprint = Fingerprint::new("made by hand", 1);
    fingerprint.field("modal.app", app).field("version", version);
    fingerprint
}

impl Modal {
    /// The version to go back to: the one with this number, or the one before what stands.
    pub(super) fn earlier_version(
        &self,
        model: &str,
        wanted: Option<u32>,
    ) -> Result<Earlier, StepError> {
        let not_deployed = |why: String| RollbackError::NotDeployed { model: model.into(), why };
        match self.stands(model) {
            Observation::Unobserved(why) => {
                return Err(not_deployed(why.unwrap_or_default()).into());
            }
            Observation::Foreign { owner, .. } => {
                return Err(not_deployed(format!("{owner} is somebody else's")).into());
            }
            _ => {}
        }
        // Of what is stopped, only a version that is named: what it was is nothing to go back from.
        let app = self.seen_app(model).filter(|app| app.deployed || wanted.is_some());
        let is_deployed = app.as_ref().is_some_and(|app| app.deployed);
        let history = app.map(|app| app.history).unwrap_or_default();
        let Some(newest) = history.first() else {
            return Err(not_deployed("it is not deployed".to_owned()).into());
        };
        let ours: Vec<(&Version, Key)> = history
            .iter()
            .filter(|version| version.tag != newest.tag || !is_deployed)
            .filter_map(|version| Some((version, version.key()?)))
            .collect();
        // Of what somebody else deployed no program is kept: Modal itself may go back to it.
        let by_others: Vec<(&Version, Key)> = history
            .iter()
            .filter(|version| version.key().is_none() && version.rollback_allowed && is_deployed)
            .map(|version| (version, of_others(&self.app(model), version.number).key()))
            .collect();
        let failed = self.failed_key(model);
        let begun = self.hold(model).filter(|hold| hold.version.is_none());
        let found = match (wanted, begun) {
            (Some(wanted), _) => {
                let mut all = ours.iter().chain(&by_others);
                all.find(|(version, _)| version.number == wanted).copied()
            }
            // It was cut short just before that was written down.
            (None, Some(Hold { key, .. })) if newest.key() == Some(key) => Some((newest, key)),
            (None, Some(Hold { key, .. })) => {
                ours.iter().chain(&by_others).find(|(_, it)| *it == key).copied()
            }
            // Nobody means what has failed, unless by its number; nor what stood before goatbuild where
            // something of its own did, too.
            (None, None) => {
                let mut ours = ours.iter().filter(|(_, key)| Some(*key) != failed);
                ours.next().or(by_others.first()).copied()
            }
        };
        let Some((version, key)) = found else {
            let known = ours.iter().chain(&by_others);
            let known: Vec<String> =
                known.map(|(version, _)| format!("v{}", version.number)).collect();
            return Err(RollbackError::NoVersion {
                model: model.to_owned(),
                wanted: wanted.map_or("version".to_owned(), |version| format!("v{version}")),
                help: if known.is_empty() {
                    "nothing else was deployed by goatbuild, or Modal forgot it; and it goes back to \
                     nothing that others deployed: whoever did that has to do it again"
                        .to_owned()
                } else {
                    let word = if is_deployed { "stands" } else { "was stopped" };
                    format!("v{} {word}; there are: {}", newest.number, known.join(", "))
                },
            }
            .into());
        };
        Ok(Earlier {
            version: version.number,
            key,
            // Modal itself goes back from what is deployed only.
            allowed: version.rollback_allowed && is_deployed,
            stands: is_deployed.then(|| Stands { version: newest.number, tag: newest.tag.clone() }),
            detail: format!("deployed by {} at {}", version.by, written(version.at)),
        })
    }
}
