//! Taking back what failed its smoke test: Modal leads to a new version at once.
//!
//! That it failed is kept before anything is changed. Whoever is cut short then leaves a version that
//! has not passed, which the next apply tries out again.

use async_trait::async_trait;

use super::kept::{Deployed, Failed, Kept};
use super::look::Version;
use super::{Modal, ModalError, RollbackError};
use crate::clock::{now, written};
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::step::StepError;
use crate::targets::{Earlier, SmokeKey, Stands, TakenBack, TakesBack};

#[async_trait]
impl TakesBack for Modal {
    /// Goes back to the newest earlier version that had passed its smoke test, or stops the app where
    /// there is none. Holds nothing.
    async fn take_back(
        &self,
        model: &str,
        instance: &str,
        smoke: &SmokeKey<'_>,
        reporter: &Reporter,
    ) -> Result<TakenBack, StepError> {
        let failed = self.deployed(model).filter(|it| it.instance() == instance);
        let Some(failed) = failed.filter(|_| self.hold(model).is_none()) else {
            return Ok(TakenBack::Left);
        };
        // Where Modal itself can't be reached, nobody knows whether the deployment could be.
        let versions = self.versions(&failed.app, reporter).await?;
        self.keep_failed(model, &failed, reporter).await?;
        let newest = versions.first();
        if newest.is_none_or(|newest| newest.number != failed.version) {
            let stands = newest.map_or_else(|| "nothing".to_owned(), Version::describe);
            let message = format!("{stands} is deployed, and v{} was", failed.version);
            return Err(ModalError::Moved { app: failed.app, message }.into());
        }
        let earlier = self.kept(|kept| kept.earlier.get(model).cloned()).unwrap_or_default();
        let other = |it: &&Deployed| it.app == failed.app && it.key != failed.key;
        for passed in earlier.iter().filter(other) {
            if let Some(stands) =
                self.make_passed_newest(model, passed, &failed, &versions, smoke, reporter).await?
            {
                return Ok(TakenBack::WentBack { version: passed.version, stands });
            }
        }
        if let Some(back) = self.go_back_to_others(model, &failed, &versions, reporter).await? {
            return Ok(back);
        }
        self.stop(&failed.app, reporter).await?;
        self.keep(|kept| drop(kept.deployments.remove(model)), reporter).await?;
        Ok(TakenBack::Stopped)
    }
}

impl Modal {
    /// Goes back to what somebody else had deployed and this deployment took over: clients relied on
    /// that. Nothing where there is no such thing, or Modal doesn't go back to it. It is theirs again
    /// then, for whoever asks next.
    async fn go_back_to_others(
        &self,
        model: &str,
        failed: &Deployed,
        versions: &[Version],
        reporter: &Reporter,
    ) -> Result<Option<TakenBack>, StepError> {
        let Some(before) = newest_of_others(versions) else { return Ok(None) };
        reporter.message(format!("going back to v{}, which goatbuild took over", before.number));
        let earlier = Earlier {
            version: before.number,
            key: failed.key,
            allowed: true,
            stands: Some(Stands { version: failed.version, tag: failed.key.to_string() }),
            detail: String::new(),
        };
        let rolled = match self.make_newest(model, &earlier, None, reporter).await {
            Err(error) if error.downcast_ref::<RollbackError>().is_some() => return Ok(None),
            rolled => rolled?,
        };
        self.keep(|kept| drop(kept.deployments.remove(model)), reporter).await?;
        Ok(Some(TakenBack::WentBack { version: before.number, stands: rolled.version }))
    }

    /// The key that failed its smoke test last, as long as nothing has passed since.
    pub(super) fn failed_key(&self, model: &str) -> Option<Key> {
        self.kept(|kept| kept.failed.get(model).map(|failed| failed.key))
    }

    /// Keeps that what stands failed.
    async fn keep_failed(
        &self,
        model: &str,
        failed: &Deployed,
        reporter: &Reporter,
    ) -> Result<(), StepError> {
        let remark = |kept: &mut Kept| {
            let remark = Failed { key: failed.key, at: now() };
            kept.failed.insert(model.to_owned(), remark);
            if let Some(deployed) = kept.deployments.get_mut(model) {
                (deployed.smoke, deployed.answered) = (None, None);
                deployed.left_open = None;
            }
        };
        self.keep(remark, reporter).await
    }

    /// Makes a version that had passed the newest again; gives its new number, or nothing where
    /// neither Modal goes back to it nor its program is kept.
    async fn make_passed_newest(
        &self,
        model: &str,
        passed: &Deployed,
        failed: &Deployed,
        versions: &[Version],
        smoke: &SmokeKey<'_>,
        reporter: &Reporter,
    ) -> Result<Option<u32>, StepError> {
        let (program, _) = self.read_program(model, &passed.key, reporter).await?;
        let known = versions.iter().find(|it| {
            passed.id == failed.id && it.number == passed.version && it.key() == Some(passed.key)
        });
        let allowed = known.is_some_and(|version| version.rollback_allowed);
        if !allowed && program.is_none() {
            return Ok(None);
        }
        reporter.message(format!("going back to v{}", passed.version));
        let earlier = Earlier {
            version: passed.version,
            key: passed.key,
            allowed,
            stands: Some(Stands { version: failed.version, tag: failed.key.to_string() }),
            detail: String::new(),
        };
        let rolled = match self.make_newest(model, &earlier, program.as_deref(), reporter).await {
            Err(error) if error.downcast_ref::<RollbackError>().is_some() => return Ok(None),
            rolled => rolled?,
        };
        let mut deployed = Deployed {
            url: rolled.base_url(),
            id: rolled.id,
            version: rolled.version,
            at: written(rolled.at),
            smoke: None,
            left_open: None,
            ..passed.clone()
        };
        deployed.pass_as(passed, smoke);
        let stands = deployed.version;
        let change = |kept: &mut Kept| {
            kept.put(model, deployed);
            kept.drop_earlier(model, passed.key);
        };
        self.keep(change, reporter).await?;
        Ok(Some(stands))
    }
}

/// The newest version before the one that stands which somebody else deployed and Modal goes back to;
/// between the two may be others of goatbuild's, of which none has passed.
fn newest_of_others(versions: &[Version]) -> Option<&Version> {
    versions.iter().skip(1).find(|it| it.key().is_none() && it.rollback_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Fingerprint;

    #[test]
    fn what_was_taken_over_is_found_behind_what_never_passed() {
        let ours = Fingerprint::new("deploy", 2).key().to_string();
        let version = |number: u32, tag: &str, rollback_allowed: bool| Version {
            number,
            tag: tag.to_owned(),
            by: "ada".to_owned(),
            at: 0.0,
            rollback_allowed,
        };
        let found = |versions: &[Version]| newest_of_others(versions).map(|it| it.number);
        let [v5, v4] = [version(5, &ours, false), version(4, &ours, true)];
        let [v3, v2] = [version(3, "", true), version(2, "nightly", true)];
        assert_eq!(found(&[v5.clone(), v4.clone(), v3, v2.clone()]), Some(3));
        assert_eq!(found(&[v5.clone(), v4.clone(), version(3, "", false), v2]), Some(2));
        assert_eq!(found(&[v5, v4]), None);
        assert_eq!(found(&[version(1, "", true)]), None, "it is what stands");
    }
}
