//! What goatbuild keeps at Modal beside what it made there: one file per project and environment,
//! in the volume that has the weights.
//!
//! With it a machine without a cache knows what stands, and since when.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Modal;
use super::error::ModalError;
use crate::event::Reporter;
use crate::fingerprint::{Fingerprint, Key};
use crate::step::{Fact, Facts, StepError};
use crate::targets::{Measured, SmokeKey};

/// The directory in volumes that is goatbuild's.
pub(super) const DIRECTORY: &str = ".goatbuild";

/// The newest format that is understood.
const FORMAT: u32 = 1;

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) format: u32,
    /// Whose it is.
    pub(super) project: String,
    /// The workspace that the credentials belong to.
    #[serde(default)]
    pub(super) workspace: Option<String>,
    /// What addresses have behind the workspace.
    #[serde(default)]
    pub(super) suffix: Option<String>,
    /// The images that Modal built, by key.
    #[serde(default)]
    pub(super) images: BTreeMap<Key, String>,
    /// What is deployed, by model.
    #[serde(default)]
    pub(super) deployments: BTreeMap<String, Deployed>,
    /// What stays as it is, by model.
    #[serde(default)]
    pub(super) holds: BTreeMap<String, Hold>,
    /// What stood before and had passed its smoke test, by model, the newest first.
    #[serde(default)]
    pub(super) earlier: BTreeMap<String, Vec<Deployed>>,
    /// What failed its smoke test last, by model.
    #[serde(default)]
    pub(super) failed: BTreeMap<String, Failed>,
    /// What was taken over last, by model.
    #[serde(default)]
    pub(super) adopted: BTreeMap<String, Adopted>,
}

/// How many earlier deployments of a model are kept.
const MOST: usize = 5;

/// A version that somebody else had deployed, and goatbuild deployed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Adopted {
    /// Modal's number of it.
    pub(super) version: u32,
    /// Who could ask it, as specs write that.
    pub(super) auth: String,
}

/// A deployment that failed its smoke test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    pub(super) key: Key,
    /// RFC 3339.
    pub(super) at: String,
}

/// How quickly a deployment answered in its smoke test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answered {
    /// Milliseconds until the first answer.
    first_answer_ms: u64,
    /// Milliseconds until the first piece of a streamed answer.
    first_token_ms: u64,
}

impl From<Measured> for Answered {
    fn from(measured: Measured) -> Self {
        let milliseconds = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        Self {
            first_answer_ms: milliseconds(measured.first_answer),
            first_token_ms: milliseconds(measured.first_token),
        }
    }
}

impl From<Answered> for Measured {
    fn from(answered: Answered) -> Self {
        Self {
            first_answer: Duration::from_millis(answered.first_answer_ms),
            first_token: Duration::from_millis(answered.first_token_ms),
        }
    }
}

/// A deployment that stays as it is until somebody ends that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    /// What it was rolled back to.
    pub(super) key: Key,
    /// Modal's number of the version that this made; none as long as it is under way.
    pub(super) version: Option<u32>,
    /// Who did it, as Modal calls them.
    pub(super) by: Option<String>,
    /// RFC 3339.
    pub(super) since: String,
}

/// A deployment as it was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deployed {
    /// The app's name.
    pub(super) app: String,
    /// Modal's own name for it.
    pub(super) id: String,
    /// Modal's number of the version.
    pub(super) version: u32,
    pub(super) key: Key,
    /// What the key is made of.
    pub(super) applied: Fingerprint,
    /// The base URL of the engine's API.
    pub(super) url: String,
    pub(super) served_name: String,
    /// RFC 3339.
    pub(super) at: String,
    /// The key of the smoke test that this version passed.
    #[serde(default)]
    pub(super) smoke: Option<Key>,
    /// What that was like.
    #[serde(default)]
    pub(super) answered: Option<Answered>,
    /// The ids of the volumes that it is bound to, by name, where that was written down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) volumes: BTreeMap<String, String>,
    /// Whether it answers to its key, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) marked: bool,
    /// The key of the smoke test of which it was left open whether this version passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) left_open: Option<Key>,
}

impl Deployed {
    /// The same program, which had passed as `passed`, under another number: what it passed is what
    /// would be asked of it today.
    pub(super) fn pass_as(&mut self, passed: &Self, smoke: &SmokeKey<'_>) {
        if passed.smoke == Some(smoke(&passed.facts())) {
            (self.smoke, self.answered) = (Some(smoke(&self.facts())), passed.answered);
        }
    }

    /// What identifies it: nothing that Modal does not know too.
    pub(super) fn instance(&self) -> String {
        format!("{}/v{}", self.id, self.version)
    }

    pub(super) fn facts(&self) -> Facts {
        [
            Fact::INSTANCE.is(self.instance()),
            Fact::URL.is(&self.url),
            Fact::SERVED_NAME.is(&self.served_name),
        ]
        .into()
    }
}

impl Kept {
    pub(super) fn new(owner: &str) -> Self {
        Self {
            format: FORMAT,
            project: owner.to_owned(),
            workspace: None,
            suffix: None,
            images: BTreeMap::new(),
            deployments: BTreeMap::new(),
            holds: BTreeMap::new(),
            earlier: BTreeMap::new(),
            failed: BTreeMap::new(),
            adopted: BTreeMap::new(),
        }
    }

    /// Puts a deployment in the place of what stood, which is remembered if it had passed its smoke
    /// test.
    pub(super) fn put(&mut self, model: &str, deployed: Deployed) {
        let before = self.deployments.insert(model.to_owned(), deployed);
        let Some(before) = before.filter(|before| before.smoke.is_some()) else { return };
        let earlier = self.earlier.entry(model.to_owned()).or_default();
        earlier.retain(|it| it.key != before.key);
        earlier.insert(0, before);
        earlier.truncate(MOST);
    }

    /// Takes a key out of what there is to go back to.
    pub(super) fn drop_earlier(&mut self, model: &str, key: Key) {
        if let Some(earlier) = self.earlier.get_mut(model) {
            earlier.retain(|it| it.key != key);
        }
    }

    /// Forgets all of a model but the programs that were deployed.
    pub(super) fn forget(&mut self, model: &str) {
        self.deployments.remove(model);
        self.holds.remove(model);
        self.earlier.remove(model);
        self.failed.remove(model);
        self.adopted.remove(model);
    }

    /// Where the program that was deployed for a key is in the volume, and what the key is made of:
    /// with the ends `.py` and `.json`.
    pub(super) fn program(owner: &str, model: &str, key: &Key) -> String {
        format!("/{DIRECTORY}/{}/{model}/{key}", Self::programs(owner))
    }

    /// The directory of such programs.
    pub(super) fn programs(owner: &str) -> String {
        format!("deployed-{}", owner.replace('/', "."))
    }

    /// The name of the file. An owner's `/` becomes a dot, which no project's id has.
    pub(super) fn file(owner: &str) -> String {
        format!("project-{}.json", owner.replace('/', "."))
    }

    /// Reads the file; an empty one is a project's first.
    pub(super) fn read(text: &str, owner: &str, volume: &str) -> Result<Self, ModalError> {
        #[derive(Deserialize)]
        struct Formatted {
            format: u32,
        }
        if text.is_empty() {
            return Ok(Self::new(owner));
        }
        match serde_json::from_str::<Formatted>(text) {
            Ok(Formatted { format }) if format > FORMAT => Err(ModalError::Newer {
                file: format!("{DIRECTORY}/{}", Self::file(owner)),
                volume: volume.to_owned(),
                format,
            }),
            // What can't be read is written anew: apps carry their keys themselves.
            _ => Ok(serde_json::from_str(text).unwrap_or_else(|_| Self::new(owner))),
        }
    }

    pub(super) fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| panic!("BUG: {error}"))
    }
}

impl Modal {
    /// What is known of what is kept.
    pub(super) fn kept<T>(&self, read: impl FnOnce(&Kept) -> T) -> T {
        read(&self.kept.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is kept at Modal, and what is known of it here.
    pub(super) async fn keep(
        &self,
        change: impl FnOnce(&mut Kept),
        reporter: &Reporter,
    ) -> Result<(), StepError> {
        self.keep_with(change, Vec::new(), reporter).await
    }

    /// The same, with other files beside it: paths and texts.
    pub(super) async fn keep_with(
        &self,
        change: impl FnOnce(&mut Kept),
        mut files: Vec<(String, String)>,
        reporter: &Reporter,
    ) -> Result<(), StepError> {
        let _writing = self.writing.lock().await;
        let mut kept = self.kept(Kept::clone);
        change(&mut kept);
        files.push((format!("/{DIRECTORY}/{}", Kept::file(&self.owner)), kept.write()));
        let request = json!({"volume": self.volume("model-cache").name, "files": files});
        self.client.call("what is kept", "put", request, reporter).await?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first version wrote it.
    const BEFORE: &str = r#"{"format": 1, "project": "p", "deployments": {"m": {"app": "p-m", "id": "ap-1",
        "version": 1, "key": "KEY", "applied": {"kind": "deploy", "version": 2, "fields": []},
        "url": "https://m/v1", "served_name": "m", "at": "2026-11-28T08:00:00Z", "smoke": "KEY"}}}"#;

    fn before() -> Kept {
        let fingerprint = Fingerprint::new("deploy", 2);
        let applied = serde_json::to_string(&fingerprint).unwrap();
        let text = BEFORE.replace("KEY", &fingerprint.key().to_string());
        let (head, rest) = text.split_once("\"applied\": ").unwrap();
        let (_, tail) = rest.split_once("},").unwrap();
        let text = format!("{head}\"applied\": {applied},{tail}");
        let kept: Kept = serde_json::from_str(&text).unwrap();
        assert_eq!(Kept::read(&kept.write(), "p", "v").unwrap(), kept);
        Kept::read(&text, "p", "v").unwrap()
    }

    #[test]
    fn what_an_earlier_goatbuild_kept_is_read() {
        let kept = before();
        assert_eq!(kept.deployments["m"].instance(), "ap-1/v1");
        assert!(kept.earlier.is_empty() && kept.failed.is_empty());
        assert_eq!(kept.deployments["m"].answered, None);
    }

    #[test]
    fn only_what_had_passed_is_gone_back_to_the_newest_first_and_each_key_once() {
        let mut kept = before();
        let passed = kept.deployments["m"].clone();
        let of = |version: u32, flag: u32, smoke: bool| {
            let mut applied = Fingerprint::new("deploy", 2);
            applied.field("flag", flag);
            let key = applied.key();
            Deployed { version, key, applied, smoke: smoke.then_some(key), ..passed.clone() }
        };
        for (version, flag, smoke) in [(2, 2, true), (3, 3, false), (4, 4, true), (5, 2, true)] {
            kept.put("m", of(version, flag, smoke));
        }
        kept.put("m", of(6, 6, false));
        let earlier = kept.earlier["m"].iter().map(|it| it.version);
        assert_eq!(earlier.collect::<Vec<_>>(), [5, 4, 1]);
        for version in 7..20 {
            kept.put("m", of(version, version, true));
        }
        assert_eq!(kept.earlier["m"].len(), MOST);
        kept.forget("m");
        assert!(kept.deployments.is_empty() && kept.earlier.is_empty());
    }
}
