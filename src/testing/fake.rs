//! A step that does nothing real, and the world that it does it in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use crate::event::Cancelled;
use crate::fingerprint::{Change, Fingerprint, Key};
use crate::step::{
    Adoptable, At, Class, Concerns, Difference, Edge, Fact, Facts, Head, Input, Inputs,
    Observation, Outcome, Resource, Step, StepError, StepId, StepKind, Task, Unproven, Wanted,
};

/// The one fact that a fake step makes.
const OUT: Fact = Fact::of_tests("out");

/// What the world holds of an effect step.
#[derive(Debug, Clone)]
pub(crate) enum Thing {
    Ours { key: Key, facts: Facts },
    Drifted,
    Foreign,
    Held { facts: Facts },
    Unseen,
}

/// How a fake step behaves when it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Script {
    Fail,
    Make(&'static str),
    /// Runs until it is asked to stop, then puts things in order and ends.
    Tidy,
    /// Runs until it is dropped.
    Deaf,
    Panic,
    /// Leaves it open what came of it.
    LeaveOpen,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    things: Mutex<BTreeMap<StepId, Thing>>,
    seen: Mutex<BTreeMap<StepId, Thing>>,
    files: Mutex<BTreeSet<(StepId, String)>>,
    scripts: Mutex<BTreeMap<StepId, Script>>,
    log: Mutex<Vec<String>>,
    running: Mutex<BTreeSet<StepId>>,
    most: Mutex<usize>,
}

pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl World {
    pub(crate) fn put(&self, id: &str, thing: Option<Thing>) {
        match thing {
            Some(thing) => held(&self.things).insert(id.into(), thing),
            None => held(&self.things).remove(&StepId::from(id)),
        };
    }

    pub(crate) fn holds(&self, id: &str) -> bool {
        held(&self.things).contains_key(&StepId::from(id))
    }

    pub(crate) fn script(&self, id: &str, script: Option<Script>) {
        match script {
            Some(script) => held(&self.scripts).insert(id.into(), script),
            None => held(&self.scripts).remove(&StepId::from(id)),
        };
    }

    /// Deletes all files that a pure step ever made.
    pub(crate) fn evict(&self, id: &str) {
        held(&self.files).retain(|(maker, _)| maker.as_str() != id);
    }

    /// What happened since the last call.
    pub(crate) fn log(&self) -> Vec<String> {
        std::mem::take(&mut held(&self.log))
    }

    /// The most steps that ever ran at once.
    pub(crate) fn most_at_once(&self) -> usize {
        *held(&self.most)
    }

    pub(super) fn look(&self) {
        let things = held(&self.things).clone();
        *held(&self.seen) = things;
    }
}

/// Removes a step from those that run, also when it is dropped.
struct Running<'a>(&'a World, &'a StepId);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        held(&self.0.running).remove(self.1);
    }
}

/// What a pure step says of itself, whatever a test calls it.
fn head(id: StepId) -> Head {
    Head {
        kind: id.kind().unwrap_or(StepKind::Base),
        class: Class::Pure,
        at: At::Here,
        engine: None,
        errand: std::time::Duration::ZERO,
        resource: Resource::Network,
        models: vec!["m".to_owned()],
        inputs: Vec::new(),
        note: None,
        id,
    }
}

/// A step as a test describes it.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(super) head: Head,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) exclusive: Option<String>,
    pub(super) predicted: Option<String>,
    pub(super) predicts: bool,
    pub(super) unlocked: Option<String>,
    /// What it goes after when it runs, beside its inputs.
    pub(super) after: Vec<StepId>,
    pub(super) world: Option<Arc<World>>,
}

impl Fake {
    pub(crate) fn pure(id: &str) -> Self {
        Self {
            head: head(id.into()),
            fields: BTreeMap::new(),
            exclusive: None,
            predicted: None,
            predicts: false,
            unlocked: None,
            after: Vec::new(),
            world: None,
        }
    }

    pub(crate) fn effect(id: &str) -> Self {
        let pure = Self::pure(id);
        Self { head: Head { class: Class::Effect, at: At::Target, ..pure.head }, ..pure }
    }

    pub(crate) fn id(&self) -> &StepId {
        &self.head.id
    }

    /// A field; one whose label begins with `note` is hashed and changes nothing that is made.
    pub(crate) fn field(mut self, label: &str, value: impl std::fmt::Display) -> Self {
        self.fields.insert(label.to_owned(), value.to_string());
        self
    }

    pub(crate) fn takes(mut self, id: &str) -> Self {
        self.head.inputs.push(Input::facts(id.into(), &[OUT]));
        self
    }

    pub(crate) fn takes_files(mut self, id: &str) -> Self {
        self.head.inputs.push(Input::blobs(id.into(), &[OUT]));
        self
    }

    pub(crate) fn after(mut self, id: &str) -> Self {
        self.head.inputs.push(Input { step: id.into(), edge: Edge::Order, blobs: false });
        self
    }

    pub(crate) fn in_turn_after(mut self, id: &str) -> Self {
        self.after.push(id.into());
        self
    }

    pub(crate) fn gated_by(mut self, id: &str) -> Self {
        self.head.inputs.push(Input { step: id.into(), edge: Edge::Gate, blobs: false });
        self
    }

    pub(crate) fn uses(mut self, resource: Resource) -> Self {
        self.head.resource = resource;
        self
    }

    pub(crate) fn alone_on(mut self, name: &str) -> Self {
        self.exclusive = Some(name.to_owned());
        self
    }

    /// Foretells what it makes, rightly. Only for steps that consume nothing.
    pub(crate) fn foretold(mut self) -> Self {
        self.predicts = true;
        self
    }

    pub(crate) fn unlocked(mut self, what: &str) -> Self {
        self.unlocked = Some(what.to_owned());
        self
    }

    pub(crate) fn foretells(mut self, out: &str) -> Self {
        self.predicted = Some(out.to_owned());
        self
    }

    fn out(&self, inputs: &Inputs) -> String {
        let mut content = Fingerprint::new("content", 1);
        content.field("id", &self.head.id);
        for (label, value) in self.fields.iter().filter(|(label, _)| !label.starts_with("note")) {
            content.field(format!("field.{label}"), value);
        }
        self.take(inputs, &mut content);
        content.key().short()
    }

    fn take(&self, inputs: &Inputs, fingerprint: &mut Fingerprint) {
        let consumed: BTreeSet<&StepId> = self
            .head
            .inputs
            .iter()
            .filter(|input| matches!(input.edge, Edge::Consumes(_)))
            .map(|input| &input.step)
            .collect();
        for id in consumed {
            fingerprint.field(format!("input.{id}"), inputs.fact(id, OUT));
        }
    }
}

#[async_trait]
impl Step for Fake {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new(self.head.kind.word(), 1);
        fingerprint.field("id", &self.head.id);
        for (label, value) in &self.fields {
            fingerprint.field(label, value);
        }
        self.take(inputs, &mut fingerprint);
        fingerprint
    }

    fn predict(&self) -> Facts {
        let out = match &self.predicted {
            Some(out) => Some(out.clone()),
            None => self.predicts.then(|| self.out(&Inputs::default())),
        };
        out.map(|out| OUT.is(out)).into_iter().collect()
    }

    fn exclusive(&self) -> Option<String> {
        self.exclusive.clone()
    }

    fn observe(&self, _: Option<Wanted<'_>>) -> Observation {
        let Some(world) = &self.world else { return Observation::Absent };
        match held(&world.seen).get(&self.head.id) {
            None => Observation::Absent,
            Some(Thing::Ours { key, facts }) => {
                Observation::Present { key: *key, facts: facts.clone() }
            }
            Some(Thing::Drifted) => Observation::Drifted {
                changes: vec![Change {
                    field: "server".to_owned(),
                    old: Some("up".to_owned()),
                    new: Some("down".to_owned()),
                }],
            },
            Some(Thing::Foreign) => {
                let owner = "project x".to_owned();
                let change = Change {
                    field: "size".to_owned(),
                    old: Some("1".to_owned()),
                    new: Some("2".to_owned()),
                };
                let differs = vec![Difference { concerns: Concerns::Money, change }];
                Observation::Foreign { owner, adoptable: Adoptable::Yes, ours: false, differs }
            }
            Some(Thing::Held { facts }) => {
                Observation::Held { facts: facts.clone(), note: "held by ada".to_owned() }
            }
            Some(Thing::Unseen) => Observation::Unobserved(Some("no credentials".to_owned())),
        }
    }

    fn unlocked(&self) -> Option<String> {
        self.unlocked.clone()
    }

    fn has_blobs(&self, facts: &Facts) -> bool {
        let Some(world) = &self.world else { return true };
        held(&world.files).contains(&(self.head.id.clone(), facts["out"].clone()))
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let world = self.world.as_deref().expect("a fake that runs has a world");
        for input in self.head.inputs.iter().filter(|input| input.blobs) {
            let wanted = (input.step.clone(), task.inputs.fact(&input.step, OUT).to_owned());
            assert!(held(&world.files).contains(&wanted), "{} ran without its files", self.head.id);
        }
        let _running = Running(world, &self.head.id);
        {
            let mut running = held(&world.running);
            assert!(running.insert(self.head.id.clone()), "{} ran twice at once", self.head.id);
            let mut most = held(&world.most);
            *most = running.len().max(*most);
        }
        held(&world.log).push(self.head.id.to_string());
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let script = held(&world.scripts).get(&self.head.id).cloned();
        let mut facts: Facts = [("out".to_owned(), self.out(&task.inputs))].into();
        match script {
            Some(Script::Fail) => return Err(miette::miette!("scripted failure")),
            Some(Script::Make(out)) => {
                facts.insert("out".to_owned(), out.to_owned());
            }
            Some(Script::Tidy) => {
                while task.reporter.check().is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                held(&world.log).push(format!("{} tidied", self.head.id));
                return Err(Cancelled.into());
            }
            Some(Script::Deaf) => std::future::pending().await,
            Some(Script::LeaveOpen) => {
                let (why, help) = ("scripted".to_owned(), String::new());
                return Err(Unproven { why, help }.into());
            }
            Some(Script::Panic) => panic!("scripted panic"),
            None => {}
        }
        match self.head.class {
            Class::Pure => {
                held(&world.files).insert((self.head.id.clone(), facts["out"].clone()));
            }
            Class::Effect => {
                let thing = Thing::Ours { key: task.key, facts: facts.clone() };
                held(&world.things).insert(self.head.id.clone(), thing);
            }
        }
        // A kill may fall between the effect and its row.
        tokio::task::yield_now().await;
        Ok(Outcome { facts, evidence: Facts::new() })
    }
}
