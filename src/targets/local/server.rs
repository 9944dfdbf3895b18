//! One server on this machine, whatever runs it.

use std::any::Any;
use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::is_taken;
use super::runner::Runner;
use super::state::Served;
use super::{Local, LocalError};
use crate::container::{self, Condition, Container, ContainerEngine, ContainerError, Labels};
use crate::runtime::{self, Bind, Instance, Sandbox};
use crate::step::{Fact, StepError};

/// How long a server may take to end when asked to.
const GRACE: Duration = Duration::from_secs(10);

/// How to start a server again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "runtime", rename_all = "kebab-case")]
pub(super) enum Recipe {
    /// With the embedded runtime.
    Embedded(Sandbox),
    /// With Docker or Podman.
    Container(container::Recipe),
}

impl Recipe {
    /// What of this machine is visible inside.
    pub(super) fn binds(&self) -> &[Bind] {
        match self {
            Self::Embedded(sandbox) => &sandbox.binds,
            Self::Container(recipe) => &recipe.binds,
        }
    }
}

/// What runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "runtime", rename_all = "kebab-case")]
pub(super) enum Running {
    /// Processes of this machine.
    Embedded(Instance),
    /// A container of Docker or Podman.
    Container(Container),
}

/// Whether a server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    /// It does.
    Runs,
    /// It does, and is of no use to anybody; why, in a word or two.
    Hangs(&'static str),
    /// It does not; what became of it, in a word or two.
    Ended(String),
}

/// Whether a server ends with this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// It serves on.
    ForGood,
    /// It ends with this process, and when [`Started`] is dropped.
    WithUs,
}

/// What this process holds of a server that it started.
#[derive(Debug, Default)]
pub(super) struct Started {
    tail: Option<container::Tail>,
    /// Ends the server when it is dropped.
    tie: Option<Box<dyn Any + Send + Sync>>,
}

impl Running {
    /// What it is, for people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Embedded(instance) => format!("process {}", instance.pid),
            Self::Container(container) => {
                format!("container {} in {}", container.name, container.engine)
            }
        }
    }

    /// What drift calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "process",
            Self::Container(_) => "container",
        }
    }

    fn container(&self) -> Option<&Container> {
        match self {
            Self::Embedded(_) => None,
            Self::Container(container) => Some(container),
        }
    }
}

impl Served {
    /// Who runs it, when that is Docker or Podman.
    fn engine(&self) -> Option<ContainerEngine> {
        match &self.recipe {
            Recipe::Embedded(_) => None,
            Recipe::Container(recipe) => Some(recipe.engine),
        }
    }

    pub(super) fn instance_id(&self) -> &str {
        Fact::INSTANCE.text_of(&self.facts)
    }
}

impl Local {
    /// Makes what is to be written down before it is started: nothing to do for the embedded runtime,
    /// whose processes are found by their instance's id.
    pub(super) async fn make(&self, model: &str, served: &mut Served) -> Result<(), StepError> {
        if let Recipe::Container(recipe) = &served.recipe {
            let labels = Labels {
                project: self.project.clone(),
                state: self.state_label(),
                model: model.to_owned(),
                key: served.key.to_string(),
                instance: served.instance_id().to_owned(),
            };
            let secrets = self.secrets.values(&served.secrets).await?;
            let container = container::create(recipe, &labels, &secrets).await?;
            served.instance = Some(Running::Container(container));
        }
        Ok(())
    }

    /// Starts what was made.
    pub(super) async fn start(
        &self,
        served: &mut Served,
        stay: Stay,
    ) -> Result<Started, StepError> {
        let mut started = Started::default();
        match (&served.recipe, &served.instance) {
            (Recipe::Embedded(sandbox), _) => {
                let mut sandbox = sandbox.clone();
                sandbox.env.extend(self.secrets.values(&served.secrets).await?);
                let (id, supervisor) = (served.instance_id(), &self.places.supervisor);
                let instance = match stay {
                    Stay::ForGood => runtime::spawn(&sandbox, id, supervisor)?,
                    Stay::WithUs => {
                        let attached = runtime::attach(&sandbox, id, supervisor)?;
                        let instance = attached.instance.clone();
                        started.tie = Some(Box::new(attached));
                        instance
                    }
                };
                served.instance = Some(Running::Embedded(instance));
            }
            (Recipe::Container(recipe), Some(Running::Container(made))) => {
                if stay == Stay::WithUs {
                    started.tie = Some(Box::new(container::guard(made)?));
                }
                let container = container::start(made, recipe).await?;
                started.tail = Some(container::follow(&container, recipe)?);
                self.saw(&container, Condition::Runs);
                served.instance = Some(Running::Container(container));
            }
            (Recipe::Container(_), _) => panic!("BUG: a container is started before it is made"),
        }
        Ok(started)
    }

    /// Whether a server runs right now.
    pub(super) async fn is_alive(&self, served: &Served) -> Result<bool, StepError> {
        Ok(match &served.instance {
            None => false,
            Some(Running::Embedded(instance)) => runtime::is_alive(instance),
            Some(Running::Container(container)) => {
                container::condition(container).await? == Condition::Runs
            }
        })
    }

    /// Whether a server may hold its port, so that it is free once the server is stopped.
    pub(super) async fn may_listen(&self, served: &Served) -> bool {
        match &served.instance {
            Some(Running::Container(container)) => !matches!(
                container::condition(container).await,
                Ok(Condition::Ended(_) | Condition::Gone)
            ),
            // Those of the embedded runtime can always be asked.
            _ => self.is_alive(served).await.unwrap_or(true),
        }
    }

    /// Whether a server ran when it was looked at.
    pub(super) fn life(&self, served: &Served) -> Life {
        match &served.instance {
            None => Life::Ended("never started".to_owned()),
            Some(Running::Embedded(instance)) if runtime::is_alive(instance) => {
                self.life_by_answer(served)
            }
            Some(Running::Embedded(instance)) if runtime::is_of_this_boot(instance) => {
                Life::Ended("ended".to_owned())
            }
            Some(Running::Embedded(_)) => {
                Life::Ended("ended when this machine was restarted".to_owned())
            }
            Some(Running::Container(container)) => match self.seen_of(&container.id) {
                Life::Runs => self.life_by_answer(served),
                other => other,
            },
        }
    }

    /// Stops what runs for a model, and leaves it as written down.
    pub(super) async fn halt_server(&self, model: &str) -> Result<bool, StepError> {
        let Some(served) = self.served(model) else { return Ok(false) };
        let mut ran = false;
        // Both may run when a start was cut short.
        for served in [Some(&served), served.previous.as_deref()].into_iter().flatten() {
            ran |= self.is_alive(served).await.unwrap_or(true);
            self.stop(served).await?;
        }
        Ok(ran)
    }

    /// Stops a server, whatever its state.
    pub(super) async fn stop(&self, served: &Served) -> Result<(), StepError> {
        self.stop_started(served, Started::default()).await
    }

    /// The same, and waits for the last of what it says.
    pub(super) async fn stop_started(
        &self,
        served: &Served,
        started: Started,
    ) -> Result<(), StepError> {
        let Started { tail, tie } = started;
        let stopped = match (&served.instance, served.engine()) {
            (Some(Running::Embedded(instance)), _) => Ok(runtime::stop(instance, GRACE).await?),
            // A start that was cut short may run without having been written down.
            (None, None) => match runtime::find(served.instance_id()) {
                Some(instance) => Ok(runtime::stop(&instance, GRACE).await?),
                None => Ok(()),
            },
            (Some(Running::Container(container)), _) => {
                let ended = self.end(container, tail).await;
                unless_silent(ended, served)
            }
            (None, Some(engine)) => {
                let found = async {
                    let (state, id) = (self.state_label(), served.instance_id());
                    for id in container::find(engine, &state, None, Some(id)).await? {
                        container::remove(engine, &id).await?;
                    }
                    Ok(())
                };
                unless_silent(found.await, served)
            }
        };
        drop(tie);
        stopped
    }

    async fn end(
        &self,
        container: &Container,
        tail: Option<container::Tail>,
    ) -> Result<(), ContainerError> {
        container::stop(container, GRACE).await?;
        if let Some(tail) = tail {
            tail.finish().await;
        }
        container::remove(container.engine, &container.id).await?;
        self.saw(container, Condition::Gone);
        Ok(())
    }

    /// Removes containers of this model that nothing tells of, which kills left behind.
    pub(super) async fn clear(&self, model: &str) -> Result<(), StepError> {
        let Runner::Engine(engine) = &self.chosen().await?.runner else { return Ok(()) };
        let known = self.served(model);
        let known: Vec<&str> = known
            .iter()
            .flat_map(Served::all)
            .filter_map(|served| Some(served.instance.as_ref()?.container()?.id.as_str()))
            .collect();
        for id in container::find(engine.kind, &self.state_label(), Some(model), None).await? {
            if !known.contains(&id.as_str()) {
                container::remove(engine.kind, &id).await?;
            }
        }
        Ok(())
    }

    /// Keeps how a container is.
    pub(super) fn saw(&self, container: &Container, condition: Condition) {
        let mut conditions = self.conditions.write().unwrap_or_else(PoisonError::into_inner);
        conditions.insert(container.id.clone(), condition);
    }

    pub(super) fn condition_of(&self, container: &str) -> Option<Condition> {
        let conditions = self.conditions.read().unwrap_or_else(PoisonError::into_inner);
        conditions.get(container).cloned()
    }

    /// How a container was when it was looked at.
    fn seen_of(&self, container: &str) -> Life {
        match self.condition_of(container) {
            Some(Condition::Runs) => Life::Runs,
            Some(Condition::Altered(how) | Condition::Ended(how)) => Life::Ended(how),
            Some(Condition::Gone) => Life::Ended("removed".to_owned()),
            None => Life::Ended("not looked at".to_owned()),
        }
    }

    /// Looks at all containers that the state tells of.
    pub(super) async fn look_at_containers(&self) {
        let containers: Vec<Container> = self.seen(|state| {
            let running = state.served.values().filter_map(|served| served.instance.as_ref());
            running.filter_map(|running| running.container().cloned()).collect()
        });
        for kind in [ContainerEngine::Docker, ContainerEngine::Podman] {
            let of_kind: Vec<&Container> =
                containers.iter().filter(|container| container.engine == kind).collect();
            match container::conditions(kind, &of_kind).await {
                Ok(mut conditions) => {
                    for container in of_kind {
                        let condition = conditions.remove(&container.id);
                        self.saw(container, condition.unwrap_or(Condition::Gone));
                    }
                }
                // Whatever serves there can't be managed: a plan has to say so.
                Err(error) => {
                    for container in of_kind {
                        self.saw(container, Condition::Ended(error.to_string()));
                    }
                }
            }
        }
    }

    /// What marks this project's and environment's containers on this machine.
    fn state_label(&self) -> String {
        self.places.ours.display().to_string()
    }
}

/// Who does not answer can't have anything running where nothing listens.
fn unless_silent(ended: Result<(), ContainerError>, served: &Served) -> Result<(), StepError> {
    let port = served.port;
    match ended {
        Err(error) if error.is_silence() && !is_taken(served.listens(), port) => Ok(()),
        Err(error) if error.is_silence() => {
            Err(LocalError::Unreachable { port, reason: error.to_string() }.into())
        }
        ended => Ok(ended?),
    }
}
