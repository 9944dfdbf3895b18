//! Going back to an earlier version, and holding that until somebody ends it.
//!
//! The intent is kept before anything is changed, so that a rollback that was cut short is finished
//! by asking for it again, and no apply comes between.

use async_trait::async_trait;
use miette::Diagnostic;
use serde_json::json;
use thiserror::Error;

use super::app::Program;
use super::kept::{Deployed, Hold, Kept};
use super::serve::{Recorded, understood};
use super::{Modal, ModalError};
use crate::clock::{now, written};
use crate::event::Reporter;
use crate::fingerprint::{Fingerprint, Key};
use crate::spec::{Auth, Model, ServedNames};
use crate::step::{Facts, Observation, StepError};
use crate::targets::{Earlier, SmokeKey, Versions};

/// Why there is no going back.
#[derive(Debug, Error, Diagnostic)]
pub enum RollbackError {
    /// Nothing of ours is deployed.
    #[error("{model} can't be rolled back: {why}")]
    #[diagnostic(
        code(goatbuild::rollback::not_deployed),
        help("`goatbuild status` shows what is deployed. Nothing was changed")
    )]
    NotDeployed {
        /// The model.
        model: String,
        /// What stands, or why nobody knows.
        why: String,
    },
    /// There is no such version of ours.
    #[error("{model} has no {wanted} to go back to")]
    #[diagnostic(code(goatbuild::rollback::no_version))]
    NoVersion {
        /// The model.
        model: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        #[help]
        help: String,
    },
    /// Modal does not go back to it, and what was deployed is not kept.
    #[error("Modal does not go back to v{version} of {model}, and its program is not kept")]
    #[diagnostic(
        code(goatbuild::rollback::no_program),
        help("undo the edit in the spec instead, and `goatbuild apply`. Nothing was changed")
    )]
    NoProgram {
        /// The model.
        model: String,
        /// Modal's number.
        version: u32,
    },
}

impl Hold {
    /// What is held, since when and by whom, and how that ends.
    fn note(&self, model: &str) -> String {
        let Self { key, version, by, since } = self;
        match version {
            Some(version) => format!(
                "held at v{version} by {} since {since}: `goatbuild release {model}` ends it",
                by.as_deref().unwrap_or("somebody")
            ),
            None => format!(
                "held: going back to {} was cut short at {since}: `goatbuild rollback {model}` \
                 finishes it, `goatbuild release {model}` gives it up",
                key.short()
            ),
        }
    }
}

#[async_trait]
impl Versions for Modal {
    fn earlier(&self, model: &str, wanted: Option<u32>) -> Result<Earlier, StepError> {
        self.earlier_version(model, wanted)
    }

    async fn other_auth(
        &self,
        model: &Model,
        earlier: &Earlier,
        reporter: &Reporter,
    ) -> Result<Option<(Auth, Auth)>, StepError> {
        let name = model.name.as_str();
        let (_, applied) = self.read_program(name, &earlier.key, reporter).await?;
        let was = applied.and_then(|applied| Auth::named(applied.get("serve.auth")?));
        let was = was.or_else(|| {
            let adopted = self.kept(|kept| kept.adopted.get(name).cloned())?;
            Auth::named(&adopted.auth).filter(|_| adopted.version == earlier.version)
        });
        let wanted = model.serve.auth;
        Ok(was.filter(|was| *was != wanted).map(|was| (was, wanted)))
    }

    async fn roll_back(
        &self,
        model: &str,
        earlier: &Earlier,
        smoke: &SmokeKey<'_>,
        reporter: &Reporter,
    ) -> Result<u32, StepError> {
        self.settle_account(reporter).await?;
        let Earlier { key, version, .. } = earlier;
        let before = self.deployed(model);
        let (program, applied) = self.read_program(model, key, reporter).await?;
        if !earlier.allowed && !earlier.is_there() && program.is_none() {
            let (model, version) = (model.to_owned(), *version);
            return Err(if earlier.stands.is_some() {
                RollbackError::NoProgram { model, version }
            } else {
                let why = format!("it is not deployed, and the program of v{version} is not kept");
                RollbackError::NotDeployed { model, why }
            }
            .into());
        }
        let replaced = self.hold(model);
        let begun = Hold { key: *key, version: None, by: None, since: now() };
        self.keep(|kept| drop(kept.holds.insert(model.to_owned(), begun)), reporter).await?;
        let rolled = match self.go_back(model, earlier, program.as_deref(), reporter).await {
            Ok(rolled) => rolled,
            Err(error) => {
                // Where it is certain that nothing was changed, nothing is under way.
                if matches!(
                    error.downcast_ref::<ModalError>(),
                    Some(ModalError::Moved { .. } | ModalError::Refused { .. })
                ) || error.downcast_ref::<RollbackError>().is_some()
                {
                    let undo = |kept: &mut Kept| match replaced {
                        Some(hold) => drop(kept.holds.insert(model.to_owned(), hold)),
                        None => drop(kept.holds.remove(model)),
                    };
                    self.keep(undo, reporter).await?;
                }
                return Err(error);
            }
        };
        let version = rolled.version;
        let applied = applied.unwrap_or_else(|| match rolled.auth() {
            // What somebody else deployed: no more is known of it than who may ask it.
            Some(auth) => {
                let mut made = Fingerprint::new("made by hand", 1);
                made.field("serve.auth", auth);
                made
            }
            None => Fingerprint::new("deploy", 0),
        });
        let served = applied.get("serve.served-name").map(ServedNames::first_of).map(str::to_owned);
        let served = served.or_else(|| before.as_ref().map(|before| before.served_name.clone()));
        let mut deployed = Deployed {
            app: self.app(model),
            url: rolled.base_url(),
            id: rolled.id,
            version,
            key: *key,
            applied,
            served_name: served.unwrap_or_else(|| model.to_owned()),
            at: written(rolled.at),
            smoke: None,
            answered: None,
            // Those of then, whatever stands now.
            volumes: std::collections::BTreeMap::new(),
            // Nothing else there has its key.
            marked: program.is_some_and(|program| program.contains(&key.to_string())),
            left_open: None,
        };
        let passed = self.kept(|kept| kept.earlier.get(model).cloned()).unwrap_or_default();
        if let Some(passed) = passed.iter().chain(&before).find(|it| it.key == *key) {
            deployed.pass_as(passed, smoke);
        }
        let rejected = before.map(|before| before.key);
        let (by, since) = (Some(rolled.by), written(rolled.at));
        let hold = Hold { key: *key, version: Some(version), by, since };
        let change = |kept: &mut Kept| {
            kept.put(model, deployed);
            // Somebody went away from what stood: nothing goes back there by itself.
            for key in [rejected, Some(*key)].into_iter().flatten() {
                kept.drop_earlier(model, key);
            }
            kept.holds.insert(model.to_owned(), hold);
        };
        self.keep(change, reporter).await?;
        Ok(version)
    }

    async fn release(&self, model: &str) -> Result<Option<String>, StepError> {
        if let Observation::Unobserved(Some(why)) = self.stands(model) {
            let model = model.to_owned();
            return Err(RollbackError::NotDeployed { model, why }.into());
        }
        let Some(hold) = self.hold(model) else { return Ok(None) };
        self.keep(|kept| drop(kept.holds.remove(model)), &Reporter::silent()).await?;
        Ok(Some(match hold.version {
            Some(version) => format!("v{version}"),
            None => hold.key.short(),
        }))
    }
}

impl Modal {
    pub(super) fn hold(&self, model: &str) -> Option<Hold> {
        self.kept(|kept| kept.holds.get(model).cloned())
    }

    /// The facts of a deployment that is held, and what there is to say about that.
    pub(super) fn held(&self, model: &str) -> Option<(Facts, String)> {
        let (hold, deployed) = (self.hold(model)?, self.deployed(model)?);
        let mut note = hold.note(model);
        let newest = self.seen_app(model).filter(|app| app.deployed);
        let newest = newest.and_then(|app| app.history.first().cloned());
        match (hold.version, newest) {
            (Some(_), None) => note.push_str("; nothing is deployed now"),
            (Some(version), Some(newest)) if newest.number != version => {
                note = format!("{note}; now {} stands", newest.describe());
            }
            _ => {}
        }
        Some((deployed.facts(), note))
    }

    /// How a step is held that is there for a deployment alone: it would cost GPU time in vain.
    pub(super) fn held_behind(&self, model: &str) -> Option<Observation> {
        self.held(model)?;
        self.world().is_ok().then(|| Observation::Held {
            facts: Facts::new(),
            note: format!("held, like deploy:{model}"),
        })
    }

    /// Fails when what is deployed is to stay.
    pub(super) fn refuse_held(&self, model: &str) -> Result<(), ModalError> {
        match self.held(model) {
            Some((_, note)) => Err(ModalError::Held { model: model.to_owned(), note }),
            None => Ok(()),
        }
    }

    /// Has Modal go back, or deploys what was deployed then where Modal doesn't.
    async fn go_back(
        &self,
        model: &str,
        earlier: &Earlier,
        program: Option<&str>,
        reporter: &Reporter,
    ) -> Result<Recorded, StepError> {
        if earlier.is_there() {
            let app = self.app(model);
            let request = json!({"app": app});
            return understood(self.client.call(&app, "recorded", request, reporter).await?);
        }
        self.make_newest(model, earlier, program, reporter).await
    }

    /// The same for a version that doesn't stand.
    pub(super) async fn make_newest(
        &self,
        model: &str,
        earlier: &Earlier,
        program: Option<&str>,
        reporter: &Reporter,
    ) -> Result<Recorded, StepError> {
        let Earlier { key, version, allowed, stands, .. } = earlier;
        let app = self.app(model);
        if let (true, Some(stands)) = (allowed, stands) {
            let request = json!({"app": app, "version": version, "stands": stands.version});
            match self.client.call(&app, "rollback", request, reporter).await {
                Ok(answer) => return understood(answer),
                Err(error) => match error.downcast_ref::<ModalError>() {
                    Some(ModalError::Refused { message, .. }) => {
                        reporter.message(format!("Modal does not go back: {message}"));
                    }
                    _ => return Err(error),
                },
            }
        }
        let Some(program) = program else {
            let (model, version) = (model.to_owned(), *version);
            return Err(RollbackError::NoProgram { model, version }.into());
        };
        reporter.message("deploying the kept program of that version");
        let directory = self.programs.join(model).join("versions").join(key.to_string());
        let file = Program::Serve.write_text(&directory, program)?;
        let request = json!({
            "app": app,
            "file": file,
            "tag": key,
            "replaces": stands.as_ref().map(|stands| &stands.tag),
            "strategy": "rolling",
        });
        understood(self.client.call(&app, "deploy", request, reporter).await?)
    }

    /// The files that keep what was deployed for a key.
    pub(super) fn kept_program(
        &self,
        model: &str,
        key: &Key,
        program: String,
        applied: &Fingerprint,
    ) -> Vec<(String, String)> {
        let path = Kept::program(&self.owner, model, key);
        let applied = serde_json::to_string(applied).unwrap_or_else(|error| panic!("BUG: {error}"));
        vec![(format!("{path}.json"), applied), (format!("{path}.py"), program)]
    }

    pub(super) async fn read_program(
        &self,
        model: &str,
        key: &Key,
        reporter: &Reporter,
    ) -> Result<(Option<String>, Option<Fingerprint>), StepError> {
        let path = Kept::program(&self.owner, model, key);
        let request = json!({
            "volume": self.volume("model-cache").name,
            "paths": [format!("{path}.py"), format!("{path}.json")],
        });
        let what = format!("the program of {model}");
        let [program, applied]: [Option<String>; 2] =
            understood(self.client.call(&what, "read", request, reporter).await?)?;
        let applied = applied.and_then(|text| serde_json::from_str::<Fingerprint>(&text).ok());
        Ok((program, applied.filter(|applied| applied.key() == *key)))
    }
}
