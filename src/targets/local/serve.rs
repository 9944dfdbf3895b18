//! Starting, replacing and stopping a server on this machine.

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::Snapshot;
use super::state::Served;
use super::{Deployment, Local, LocalError, Mount, end_of, length};
use crate::blocking::blocking;
use crate::clock::now;
use crate::event::Reporter;
use crate::fetch::hex;
use crate::hub::ModelCache;
use crate::oci;
use crate::openai::Server;
use crate::runtime::{self, Bind, Sandbox};
use crate::step::{Facts, Outcome, StepError, Task};

/// How long a server may take to end when asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Where the directory that names the model is inside the image.
const WORK: &str = "/srv/goatbuild";

/// The address of a server on this machine.
pub(super) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/v1")
}

impl Local {
    /// Serves a model: stops what served it, starts the new server on the same port, waits until it
    /// is healthy; when it does not get there, starts the old one again.
    pub(super) async fn serve(
        &self,
        deployment: &Deployment,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        let began = Instant::now();
        let model = &deployment.model;
        // Also that of a start that was cut short: the plan predicted it.
        let kept = self.served(model).map(|served| served.port);
        let old = self.settled(model).await?;
        task.reporter.message("unpacking the image");
        let root = self.root(&deployment.image, &task.reporter).await?;
        let running = old.as_ref().and_then(|old| old.instance.as_ref());
        let ours = old.as_ref().filter(|_| running.is_some_and(runtime::is_alive));
        let port = match deployment.port.or(kept) {
            Some(port) if ours.is_none_or(|ours| ours.port != port) && is_taken(port) => {
                return Err(LocalError::Port { port }.into());
            }
            Some(port) => port,
            None => free_port()?,
        };
        let sandbox = self.sandbox(deployment, root, port)?;
        let instance_id = random_id();
        let facts: Facts = [
            ("instance".to_owned(), instance_id.clone()),
            ("url".to_owned(), url(port)),
            ("served-name".to_owned(), deployment.served_name.clone()),
        ]
        .into();
        let mut served = Served {
            key: task.key,
            healthy: false,
            facts: facts.clone(),
            port,
            instance: None,
            sandbox,
            health: deployment.health.clone(),
            since: now(),
            smoke: None,
            previous: old.clone().map(Box::new),
        };
        self.keep(model, &served).await?;
        if let Some(old) = &old {
            task.reporter.message("stopping the old server");
            self.stop(old).await?;
        }
        task.reporter.message(format!("starting on port {port}"));
        let begins = length(&self.log_file(model));
        let started = self.start(&mut served, &instance_id);
        let outcome = match started {
            Ok(()) => {
                self.keep(model, &served).await?;
                self.healthy(model, &served, deployment.startup_timeout, &task.reporter).await
            }
            Err(error) => Err(Unserved::Other(error)),
        };
        if let Err(unserved) = outcome {
            self.stop(&served).await?;
            // The old server goes on in the same log.
            let log = end_of(&self.log_file(model), begins);
            let restored = self.restore(model, old).await?;
            return Err(explain(deployment, unserved, restored, log));
        }
        served.healthy = true;
        served.previous = None;
        self.keep(model, &served).await?;
        let seconds = format!("{:.1}", began.elapsed().as_secs_f64());
        Ok(Outcome { facts, evidence: [("seconds".to_owned(), seconds)].into() })
    }

    /// What serves the model for good: an unfinished start of an earlier run is stopped first.
    async fn settled(&self, model: &str) -> Result<Option<Served>, StepError> {
        match self.served(model) {
            Some(served) if !served.healthy => {
                self.stop(&served).await?;
                Ok(served.previous.map(|previous| *previous))
            }
            served => Ok(served),
        }
    }

    /// Stops a server, whatever its state.
    pub(super) async fn stop(&self, served: &Served) -> Result<(), StepError> {
        // A start that was cut short may run without having been written down.
        let started = || served.facts.get("instance").and_then(|id| runtime::find(id));
        if let Some(instance) = served.instance.clone().or_else(started) {
            runtime::stop(&instance, GRACE).await?;
        }
        Ok(())
    }

    fn start(&self, served: &mut Served, instance: &str) -> Result<(), StepError> {
        served.instance = Some(runtime::spawn(&served.sandbox, instance, &self.places.supervisor)?);
        Ok(())
    }

    async fn keep(&self, model: &str, served: &Served) -> Result<(), StepError> {
        self.change(|state| drop(state.served.insert(model.to_owned(), served.clone()))).await
    }

    /// Puts the old server back. Says what became of it, for the error.
    async fn restore(&self, model: &str, old: Option<Served>) -> Result<String, StepError> {
        let Some(mut old) = old else {
            self.change(|state| drop(state.served.remove(model))).await?;
            return Ok(String::new());
        };
        let instance = random_id();
        let timeout = Duration::from_secs(600);
        old.facts.insert("instance".to_owned(), instance.clone());
        (old.smoke, old.instance) = (None, None);
        // Before the start and right after it: whatever kills this process, the next one finds it.
        self.keep(model, &old).await?;
        let started = self.start(&mut old, &instance);
        self.keep(model, &old).await?;
        let outcome = match started {
            Ok(()) => self.healthy(model, &old, timeout, &Reporter::silent()).await,
            Err(error) => Err(Unserved::Other(error)),
        };
        Ok(match outcome {
            Ok(()) => " (the old server runs again)".to_owned(),
            Err(_) => " (the old server could not be started again either)".to_owned(),
        })
    }

    /// Waits until a server that was started answers.
    pub(super) async fn healthy(
        &self,
        model: &str,
        served: &Served,
        timeout: Duration,
        reporter: &Reporter,
    ) -> Result<(), Unserved> {
        let api = Server::local(&url(served.port), Duration::from_secs(5))
            .map_err(|error| Unserved::Other(error.into()))?;
        let began = Instant::now();
        let mut last = None;
        while began.elapsed() < timeout {
            reporter.check().map_err(|_| Unserved::Interrupted)?;
            last = api.status(&served.health).await.or(last);
            if last.is_some_and(|status| (200..300).contains(&status)) {
                // Something else may answer there; only our own process counts.
                if served.instance.as_ref().is_some_and(runtime::is_alive) {
                    return Ok(());
                }
            }
            if !served.instance.as_ref().is_some_and(runtime::is_alive) {
                return Err(Unserved::Ended);
            }
            reporter.message(format!("{model}: waiting for {}", served.health));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Unserved::Late(last))
    }

    /// The image flattened into one directory, made once per digest.
    pub(super) async fn root(
        &self,
        image: &str,
        reporter: &Reporter,
    ) -> Result<PathBuf, StepError> {
        let roots = self.places.state.join("roots");
        let root = roots.join(image.replace(':', "-"));
        if root.is_dir() {
            return Ok(root);
        }
        let (layout, image, reporter) = (self.layout()?, image.to_owned(), reporter.clone());
        blocking(move || {
            let unusable = |source| LocalError::File { path: roots.clone(), source };
            let _unpacking = unpacking(&roots, true, &reporter)?;
            if root.is_dir() {
                return Ok(root);
            }
            let unpacked = tempfile::Builder::new()
                .prefix(".unpacking-")
                .tempdir_in(&roots)
                .map_err(unusable)?;
            oci::unpack_layers(&layout, &layout.read_image(&image)?, unpacked.path(), &reporter)?;
            runtime::prepare_root(unpacked.path())?;
            std::fs::create_dir_all(unpacked.path().join(WORK.trim_start_matches('/')))
                .map_err(unusable)?;
            let made = unpacked.keep();
            if let Err(source) = std::fs::rename(&made, &root) {
                let _ = std::fs::remove_dir_all(&made);
                if !root.is_dir() {
                    return Err(LocalError::File { path: root, source }.into());
                }
            }
            Ok(root)
        })
        .await
    }

    pub(super) fn sandbox(
        &self,
        deployment: &Deployment,
        root: PathBuf,
        port: u16,
    ) -> Result<Sandbox, StepError> {
        let mut binds = Vec::new();
        for mount in [&self.model_cache, &self.compile_cache].into_iter().chain(&self.others) {
            binds.push(self.bind(mount, deployment)?);
        }
        let work = self.work(deployment)?;
        binds.push(Bind { source: work, target: WORK.into(), read_only: true });
        let layout = self.layout()?;
        let mut environment = layout.read_image(&deployment.image)?.environment();
        environment.extend(deployment.environment.clone());
        let log = self.log_file(&deployment.model);
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|source| LocalError::File { path: parent.to_owned(), source })?;
        }
        Ok(Sandbox {
            root,
            binds,
            env: environment,
            command: (deployment.command)(&deployment.served_name, port),
            workdir: WORK.to_owned(),
            log,
        })
    }

    /// The volume's directory; of the compile cache, the part that belongs to the warm-up.
    fn bind(&self, mount: &Mount, deployment: &Deployment) -> Result<Bind, StepError> {
        let mut source = self.volume(mount);
        let mut read_only = *mount == self.model_cache;
        if *mount == self.compile_cache
            && let Some(key) = &deployment.warm_cache
        {
            source = source.join(key.to_string());
            read_only = false;
        }
        std::fs::create_dir_all(&source)
            .map_err(|error| LocalError::File { path: source.clone(), source: error })?;
        let source = std::path::absolute(&source)
            .map_err(|error| LocalError::File { path: source.clone(), source: error })?;
        Ok(Bind { source, target: PathBuf::from(&mount.path), read_only })
    }

    /// A directory in which the served name is a link to the weights, so that one name serves on
    /// the command line, in requests and as a path.
    fn work(&self, deployment: &Deployment) -> Result<PathBuf, StepError> {
        let work = self.places.ours.join("work").join(&deployment.model);
        let Snapshot { repository, commit } = &deployment.weights;
        let target = format!(
            "{}/{}",
            self.model_cache.path.trim_end_matches('/'),
            ModelCache::snapshot(repository, commit)
        );
        let link = work.join(&deployment.served_name);
        let unusable = |source| LocalError::File { path: link.clone(), source };
        std::fs::create_dir_all(link.parent().unwrap_or(&work)).map_err(unusable)?;
        if std::fs::read_link(&link).is_ok_and(|found| found.as_os_str() == target.as_str()) {
            return Ok(work);
        }
        let next = work.join(".next");
        let _ = std::fs::remove_file(&next);
        std::os::unix::fs::symlink(&target, &next).map_err(unusable)?;
        std::fs::rename(&next, &link).map_err(unusable)?;
        Ok(work)
    }
}

/// Tells why a server that was started does not serve, what became of the one before, and the log's
/// last lines.
pub(super) fn explain(
    deployment: &Deployment,
    unserved: Unserved,
    outcome: String,
    log: String,
) -> StepError {
    let model = deployment.model.clone();
    match unserved {
        Unserved::Ended => LocalError::Ended { model, outcome, log }.into(),
        Unserved::Late(status) => {
            let seconds = deployment.startup_timeout.as_secs();
            let health = &deployment.health;
            let (heard, help) = match status {
                Some(status) => (
                    format!("answered HTTP {status} to GET {health}, never 200,"),
                    "does that path answer 200 once it is up? `engine.health` names another",
                ),
                None => (
                    "did not answer".to_owned(),
                    "does it listen on the host and port it is given? `serve.startup-timeout` gives it more time",
                ),
            };
            let help = format!("{help}; `goatbuild logs {model}` shows the whole log");
            LocalError::Unhealthy { model, seconds, heard, outcome, log, help }.into()
        }
        Unserved::Interrupted => LocalError::Interrupted { outcome }.into(),
        Unserved::Other(error) => error,
    }
}

/// The right to make roots, of which all projects of this machine share one directory.
pub(super) fn unpacking(roots: &Path, wait: bool, reporter: &Reporter) -> Result<File, StepError> {
    let unusable = |source| LocalError::File { path: roots.to_owned(), source };
    std::fs::create_dir_all(roots).map_err(unusable)?;
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(roots.join(".lock"))
        .map_err(unusable)?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if wait => {
                reporter.check()?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => return Err(unusable(error.into()).into()),
        }
    }
}

/// Why a server that was started does not serve.
#[derive(Debug)]
pub(super) enum Unserved {
    /// Its process ended.
    Ended,
    /// It took too long; the last HTTP status it answered, if any.
    Late(Option<u16>),
    /// The user interrupted the wait.
    Interrupted,
    /// Anything else.
    Other(StepError),
}

fn is_taken(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

pub(super) fn free_port() -> Result<u16, StepError> {
    let failed = |source| LocalError::File { path: "127.0.0.1".into(), source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}

pub(super) fn random_id() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let half = || RandomState::new().hash_one(Instant::now()).to_be_bytes();
    hex(&[half(), half()].concat())
}
