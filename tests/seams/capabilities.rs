//! What the folder can do besides: be leased, go back to a version, try something out first. All of it is
//! files, and a journal tells in which order things were done.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use goatbuild::event::Reporter;
use goatbuild::fingerprint::Key;
use goatbuild::spec::{Auth, Model};
use goatbuild::step::{Facts, Observation, StepError, Task};
use goatbuild::targets::{
    Candidates, Deployment, Earlier, Holder, Lease, Leases, SmokeKey, Stands, Tell, Versions,
};

use super::folder::Folder;

impl Folder {
    /// Adds a line to the journal; with who has the lease.
    pub(super) fn tell(&self, what: &str) {
        let holder = fs::read_to_string(self.lease()).unwrap_or_else(|_| "nobody".to_owned());
        let path = self.path.join("journal");
        let mut journal = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(journal, "{holder}: {what}").unwrap();
    }

    fn lease(&self) -> PathBuf {
        self.path.join("lease")
    }

    fn version(&self, model: &str, number: u32) -> PathBuf {
        self.path.join("versions").join(format!("{model}-{number}"))
    }

    /// The number of the version that stands.
    fn stands(&self, model: &str) -> u32 {
        (1..100).rev().find(|number| self.version(model, *number).exists()).unwrap_or(0)
    }

    /// Keeps what stands as one more version; its number.
    pub(super) fn keep(&self, model: &str) -> u32 {
        let number = self.stands(model) + 1;
        fs::create_dir_all(self.path.join("versions")).unwrap();
        fs::copy(self.file(model), self.version(model, number)).unwrap();
        number
    }

    fn hold(&self, model: &str) -> PathBuf {
        self.path.join("versions").join(format!("{model}.held"))
    }

    /// What a model is held at.
    pub(super) fn held(&self, model: &str) -> Option<String> {
        fs::read_to_string(self.hold(model)).ok()
    }

    fn failure(&self, model: &str) -> PathBuf {
        self.path.join("next").join(format!("{model}.failed"))
    }

    /// The key of what failed last.
    pub(super) fn failed(&self, model: &str) -> Option<Key> {
        fs::read_to_string(self.failure(model)).ok()?.parse().ok()
    }
}

#[async_trait(?Send)]
impl Leases for Folder {
    async fn take(
        &self,
        command: &str,
        _: Option<String>,
        timeout: Duration,
        waiting: &Tell<'_>,
    ) -> Result<(Box<dyn Lease>, bool), StepError> {
        fs::create_dir_all(&self.path).unwrap();
        let mut waited = false;
        while File::create_new(self.lease()).is_err() {
            let holder = fs::read_to_string(self.lease()).unwrap();
            if timeout.is_zero() {
                return Err(miette::miette!("{holder} has the folder"));
            }
            assert!(!waited, "whoever is told for whom it waits ends that, here");
            waited = true;
            waiting(&holder);
        }
        fs::write(self.lease(), command).unwrap();
        Ok((Box::new(Had(self.lease())), waited))
    }

    async fn holder(&self) -> Result<Option<Holder>, StepError> {
        let what = fs::read_to_string(self.lease()).ok();
        Ok(what.map(|what| Holder { id: what.clone(), what }))
    }

    async fn free(&self, _: &Holder) -> Result<(), StepError> {
        fs::remove_file(self.lease()).unwrap();
        Ok(())
    }
}

/// The file of a lease that somebody has.
struct Had(PathBuf);

#[async_trait]
impl Lease for Had {
    async fn end(self: Box<Self>) -> Result<(), StepError> {
        fs::remove_file(self.0).unwrap();
        Ok(())
    }
}

#[async_trait]
impl Versions for Folder {
    fn earlier(&self, model: &str, wanted: Option<u32>) -> Result<Earlier, StepError> {
        let stands = self.stands(model);
        let version = wanted.unwrap_or(stands - 1);
        let whole = fs::read_to_string(self.version(model, version)).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
        let key = whole["key"].as_str().unwrap().parse().unwrap();
        let stands = Some(Stands { version: stands, tag: String::new() });
        Ok(Earlier { version, key, allowed: true, stands, detail: "a file".to_owned() })
    }

    async fn other_auth(
        &self,
        _: &Model,
        _: &Earlier,
        _: &Reporter,
    ) -> Result<Option<(Auth, Auth)>, StepError> {
        Ok(None)
    }

    async fn roll_back(
        &self,
        model: &str,
        earlier: &Earlier,
        _: &SmokeKey<'_>,
        _: &Reporter,
    ) -> Result<u32, StepError> {
        fs::copy(self.version(model, earlier.version), self.file(model)).unwrap();
        fs::write(self.hold(model), format!("held at v{}", earlier.version)).unwrap();
        self.tell(&format!("goes back to v{}", earlier.version));
        Ok(self.keep(model))
    }

    async fn release(&self, model: &str) -> Result<Option<String>, StepError> {
        let held = self.held(model);
        let _ = fs::remove_file(self.hold(model));
        Ok(held)
    }
}

#[async_trait]
impl Candidates for Folder {
    async fn deploy(
        &self,
        deployment: &Deployment,
        task: &Task,
    ) -> Result<Option<Facts>, StepError> {
        let stands = self.observe(&deployment.model, None);
        if matches!(stands, Observation::Present { key, .. } if key == task.key) {
            return Ok(None);
        }
        Ok(Some(self.serve(&format!("next/{}", deployment.model), deployment, task)))
    }

    async fn end(&self, model: &str, failed: Option<Key>, _: &Reporter) -> Result<(), StepError> {
        fs::remove_file(self.file(&format!("next/{model}"))).unwrap();
        let _ = fs::remove_file(self.failure(model));
        if let Some(key) = failed {
            fs::write(self.failure(model), key.to_string()).unwrap();
        }
        self.tell(if failed.is_some() { "ends what failed" } else { "ends what went first" });
        Ok(())
    }

    fn left(&self, model: &str) -> Option<String> {
        let file = self.file(&format!("next/{model}"));
        file.exists().then(|| file.display().to_string())
    }
}
