//! Starting, replacing and stopping a server on this machine.

use std::time::{Duration, Instant};

use super::address::{LOOPBACK, free_port, host, is_taken, url};
use super::caches::Writer;
use super::guard::is_up;
use super::log::{end_of, length};
use super::mounts::written_down;
use super::server::{Recipe, Started, Stay};
use super::state::Served;
use super::unserved::{Unserved, explain};
use super::{Deployment, Local, LocalError};
use crate::clock::now;
use crate::digest::hex;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::openai::Server;
use crate::spec::Smoke;
use crate::step::{Evidence, Fact, Facts, Outcome, StepError, Task};

/// How long to wait between the first two questions whether a server is healthy.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The same, once it has been asked for a while: servers note down each question.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A server that was started, on its way.
struct Start {
    served: Served,
    running: Result<Started, StepError>,
    /// How long it may still take to get healthy.
    timeout: Duration,
    /// Where in the log it begins.
    begins: u64,
    /// What served before.
    old: Option<Served>,
    /// Whether that ran until it was stopped.
    ran: bool,
}

impl Local {
    /// Serves a model: stops what served it, starts the new server on the same port, waits until it
    /// is healthy; when it does not get there, starts the old one again.
    ///
    /// A server that said nothing and answers again stays, and so does a start that still has time.
    pub(super) async fn serve(
        &self,
        deployment: &Deployment,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        let began = Instant::now();
        let model = &deployment.model;
        if !task.replaced {
            if let Some(facts) = self.recovered(model, task.key).await? {
                task.reporter.log("it answers again: it was left as it is");
                return Ok(Outcome { facts, evidence: Evidence::new() });
            }
            if let Some(start) = self.unfinished(model, task.key).await? {
                // Where its key can't be had, it goes on.
                self.secrets.credentials(&start.served.secrets).await?;
                task.reporter.message("waiting for a start that goes on");
                return self.finish(deployment, start, task, began).await;
            }
        }
        // Also that of a start that was cut short: the plan predicted it.
        let kept = self.served(model).map(|served| served.port);
        let old = self.settled(model).await?;
        let ours = match &old {
            Some(served) if self.may_listen(served).await => Some(served.port),
            _ => None,
        };
        let ran = match &old {
            Some(served) => self.is_alive(served).await.unwrap_or(true),
            None => false,
        };
        let host = host(&deployment.spec);
        let port = match deployment.port.or(kept) {
            Some(port) if ours != Some(port) && is_taken(host, port) => {
                return Err(LocalError::Port { port }.into());
            }
            Some(port) => port,
            None => free_port(host)?,
        };
        // Of starts that failed or were cut short.
        self.forget_own(model, old.as_ref());
        let instance = random_id();
        let writer = Writer::Deployment(&instance);
        let recipe = self.recipe(deployment, writer, (host, port), &task.reporter).await?;
        let facts: Facts = [
            Fact::INSTANCE.is(instance),
            Fact::URL.is(url(host, port)),
            Fact::SERVED_NAME.is(&deployment.served_name),
        ]
        .into();
        let is_tried = deployment.spec.serve.smoke != Smoke::Never;
        let again = old.as_ref().filter(|old| old.key == task.key);
        let mut served = Served {
            key: task.key,
            applied: Some(task.fingerprint.clone()),
            healthy: false,
            facts: facts.clone(),
            host: Some(host).filter(|host| *host != LOOPBACK),
            port,
            instance: None,
            recipe,
            health: deployment.health.clone(),
            startup_timeout: Some(deployment.startup_timeout),
            since: now(),
            smoke: None,
            trial: is_tried && again.is_none_or(|old| old.trial),
            failed: false,
            tested: None,
            mounted: Vec::new(),
            secrets: self.secrets.of(&deployment.spec),
            previous: None,
        };
        // What ran just before is what a start that fails goes back to, proven or not; but for what is known to
        // have failed.
        let back = match &old {
            Some(Served { trial: true, failed: true, previous: Some(previous), .. }) => {
                Some((**previous).clone())
            }
            _ => old.clone(),
        };
        served.previous = back.clone().map(Box::new);
        // What can't be had or used is known before anything is stopped.
        self.secrets.check(&served.secrets).await?;
        if let Some(back) = &back
            && let Err(error) = self.secrets.check(&back.secrets).await
        {
            task.reporter.notice(format!("the old server could not be started again: {error}"));
        }
        if let Some(old) = &old {
            if back.as_ref().is_none_or(|back| back.instance_id() == old.instance_id()) {
                // Killed from here on, the next one finds both.
                self.keep(model, &served).await?;
            }
            task.reporter.message("stopping the old server");
            self.stop(old).await?;
        }
        self.keep(model, &served).await?;
        self.clear(model).await?;
        task.reporter.message(format!("starting on port {port}"));
        let begins = length(&self.log_file(model));
        let running = self.make_and_start(model, &mut served).await;
        let timeout = deployment.startup_timeout;
        let start = Start { served, running, timeout, begins, old: back, ran };
        self.finish(deployment, start, task, began).await
    }

    /// The start of this key that another command began, and did not see the end of.
    async fn unfinished(&self, model: &str, key: Key) -> Result<Option<Start>, StepError> {
        let served = self.served(model).filter(|served| !served.healthy && served.key == key);
        let Some(served) = served else { return Ok(None) };
        if !self.is_alive(&served).await? {
            return Ok(None);
        }
        let timeout = match served.left_of_start() {
            Some(left) => left,
            // Late, but up by now: nobody stops what answers.
            None if self.answers(model, &served).await? => Duration::from_secs(5),
            None => return Ok(None),
        };
        let old = served.previous.as_deref().cloned();
        let running = Ok(Started::default());
        Ok(Some(Start { served, running, timeout, begins: 0, old, ran: false }))
    }

    /// A client for a server, with the key that it asks for.
    pub(super) async fn asking(
        &self,
        model: &str,
        served: &Served,
        patience: Duration,
    ) -> Result<Server, StepError> {
        let credentials = self.secrets.credentials(&served.secrets).await?;
        Ok(Server::local_with(&served.url(), model, patience, credentials)?)
    }

    /// Whether a server that runs says that it is up.
    async fn answers(&self, model: &str, served: &Served) -> Result<bool, StepError> {
        let probe = self.probe(model, served).await?;
        let heard = probe.without_key().await;
        Ok(is_up(probe.with_key(heard).await))
    }

    /// Waits until a server that was started is healthy, and keeps it or puts the old one back.
    async fn finish(
        &self,
        deployment: &Deployment,
        start: Start,
        task: &Task,
        began: Instant,
    ) -> Result<Outcome, StepError> {
        let model = &deployment.model;
        let Start { mut served, running, timeout, begins, old, ran } = start;
        let mut started = Started::default();
        let outcome = match running {
            Ok(running) => {
                started = running;
                match self.healthy(model, &served, timeout, &task.reporter).await {
                    Ok(()) => self.turns_away(deployment, &served, &task.reporter).await,
                    unserved => unserved,
                }
            }
            Err(error) => Err(Unserved::Other(error)),
        };
        if let Err(unserved) = outcome {
            self.stop_started(&served, started).await?;
            // The old server goes on in the same log.
            let log = match self.secrets.values(&served.secrets).await {
                Ok(_) => self.secrets.hidden(end_of(&self.log_file(model), begins)),
                // Nobody could tell what in it is secret.
                Err(_) => String::new(),
            };
            let timeout = deployment.startup_timeout;
            let restored = match old {
                // Started once more, it would do what the new one just did.
                Some(old) if !ran && old.key == task.key => {
                    self.keep(model, &old).await?;
                    ""
                }
                Some(old) => self.restore(model, old, timeout, &task.reporter).await?,
                None => {
                    self.change(|state| drop(state.served.remove(model))).await?;
                    ""
                }
            };
            return Err(explain(deployment, unserved, restored.to_owned(), &log));
        }
        served.healthy = true;
        served.previous = match served.previous {
            _ if !served.trial => None,
            // A failed test goes back to what has passed one, as long as there is something that had.
            Some(unproven) if unproven.trial && unproven.previous.is_some() => unproven.previous,
            previous => previous,
        };
        self.keep(model, &served).await?;
        self.forget_own(model, Some(&served));
        let seconds = format!("{:.1}", began.elapsed().as_secs_f64());
        Ok(Outcome { facts: served.facts, evidence: [("seconds".to_owned(), seconds)].into() })
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

    /// Starts a server, and writes it down before and after.
    async fn make_and_start(&self, model: &str, served: &mut Served) -> Result<Started, StepError> {
        served.mounted = written_down(&served.recipe);
        self.make(model, served).await?;
        if served.instance.is_some() {
            self.keep(model, served).await?;
        }
        let started = self.start(served, Stay::ForGood).await?;
        self.keep(model, served).await?;
        Ok(started)
    }

    async fn keep(&self, model: &str, served: &Served) -> Result<(), StepError> {
        self.change(|state| drop(state.served.insert(model.to_owned(), served.clone()))).await
    }

    /// Puts the old server back; until it is healthy it is a start like any other, which may be cut
    /// short. Says what became of it, for the error.
    pub(super) async fn restore(
        &self,
        model: &str,
        old: Served,
        timeout: Duration,
        reporter: &Reporter,
    ) -> Result<&'static str, StepError> {
        // One interruption that ended the new start is no reason to leave nothing behind.
        let reporter = &match reporter.check() {
            Ok(()) => reporter.clone(),
            Err(_) => reporter.unstoppable(),
        };
        let timeout = old.startup_timeout.unwrap_or(timeout);
        let words = format!("starting the old server again, within {} s", timeout.as_secs());
        reporter.log(&words);
        reporter.message(words);
        // Still on trial, it may have to give its place to what it replaced.
        let kept = old.previous.clone().filter(|_| old.trial);
        let mut again = Served {
            healthy: false,
            instance: None,
            since: now(),
            previous: Some(Box::new(old.clone())),
            ..old
        };
        let before = again.facts.insert(Fact::INSTANCE.name().to_owned(), random_id());
        // The test that was passed is remembered as another instance's.
        again.tested = again.tested.or(before);
        // Before the start and right after it: whatever kills this process, the next one finds it.
        self.keep(model, &again).await?;
        if let Recipe::Container(recipe) = &mut again.recipe
            && let Ok(image) = self.layout()?.image(recipe.digest)
        {
            // Somebody may have removed it there meanwhile.
            recipe.image =
                self.hand_over(recipe.engine, &image, &recipe.image_name, reporter).await?;
        }
        let mut started = Started::default();
        let outcome = match self.make_and_start(model, &mut again).await {
            Ok(running) => {
                started = running;
                let name = format!("the old server of {model}");
                self.healthy(&name, &again, timeout, reporter).await
            }
            Err(error) => Err(Unserved::Other(error)),
        };
        Ok(match outcome {
            Ok(()) => {
                (again.healthy, again.previous) = (true, kept);
                self.keep(model, &again).await?;
                " (the old server runs again)"
            }
            Err(Unserved::Interrupted) => " (interrupted while the old server was starting again)",
            Err(_) => {
                self.stop_started(&again, started).await?;
                again.previous = kept;
                self.keep(model, &again).await?;
                " (the old server could not be started again either)"
            }
        })
    }

    /// Waits until a server that was started answers. It gets its key only once it is known to run, and where it
    /// wants it at its health path.
    pub(super) async fn healthy(
        &self,
        model: &str,
        served: &Served,
        timeout: Duration,
        reporter: &Reporter,
    ) -> Result<(), Unserved> {
        let probe = self.probe(model, served).await.map_err(Unserved::Other)?;
        let pause = match served.recipe {
            Recipe::Embedded(_) => Duration::ZERO,
            // To ask is to run a program.
            Recipe::Container(_) => Duration::from_millis(500),
        };
        let began = Instant::now();
        let mut asked: Option<Instant> = None;
        let mut last = None;
        let mut wait = FIRST_WAIT;
        while began.elapsed() < timeout {
            reporter.check().map_err(|_| Unserved::Interrupted)?;
            let mut heard = probe.without_key().await;
            if is_up(heard) || asked.is_none_or(|asked| asked.elapsed() >= pause) {
                // Something else may answer there; only our own server counts.
                if !self.is_alive(served).await.map_err(Unserved::Other)? {
                    return Err(Unserved::Ended);
                }
                heard = probe.with_key(heard).await;
                if is_up(heard) {
                    return Ok(());
                }
                asked = Some(Instant::now());
            }
            last = heard.or(last);
            reporter.message(format!("{model}: waiting for {}", served.health));
            tokio::time::sleep(wait).await;
            wait = (wait * 3 / 2).min(LONGEST_WAIT);
        }
        Err(Unserved::Late(last))
    }
}

pub(super) fn random_id() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let half = || RandomState::new().hash_one(Instant::now()).to_be_bytes();
    hex(&[half(), half()].concat())
}
