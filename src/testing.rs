//! Steps that do nothing real, in a world that is a map: for tests of the core.

mod fake;
#[path = "../tests/support/peers.rs"]
#[allow(dead_code, reason = "the tests of the binary use the rest")]
pub(crate) mod peers;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crate::event::Event;
use crate::exec::{Executor, Interrupt, Report};
use crate::fingerprint::Key;
use crate::graph::Graph;
use crate::plan::saved::{Request, SavedPlan};
use crate::plan::{self, Action, Plan, Unwanted, Wishes};
use crate::step::{Facts, Step, StepId};
use crate::store::Store;

use fake::held;
pub(crate) use fake::{Fake, Script, Thing, World};

/// A cache, a lock and a world to plan and apply fake steps in.
pub(crate) struct Bench {
    pub(crate) world: Arc<World>,
    pub(crate) store: Store,
    pub(crate) wishes: Wishes,
    pub(crate) unwanted: Vec<Unwanted>,
    pub(crate) keep_going: bool,
    locked: Mutex<HashMap<StepId, (Key, Facts)>>,
    directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self {
            world: Arc::default(),
            store: Store::open(directory.path(), "").expect("an empty cache"),
            wishes: Wishes::default(),
            unwanted: Vec::new(),
            keep_going: false,
            locked: Mutex::default(),
            directory,
        }
    }

    /// The same world and lock, with an empty cache. Files are in the world, so they stay.
    pub(crate) fn elsewhere(&self) -> Self {
        Self {
            world: Arc::clone(&self.world),
            locked: Mutex::new(held(&self.locked).clone()),
            wishes: self.wishes.clone(),
            ..Self::new()
        }
    }

    pub(crate) fn root(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub(crate) fn graph(&self, steps: &[Fake]) -> Graph {
        let steps = steps.iter().map(|step| {
            let world = Some(Arc::clone(&self.world));
            Arc::new(Fake { world, ..step.clone() }) as Arc<dyn Step>
        });
        Graph::new(steps.collect()).expect("a DAG")
    }

    pub(crate) fn plan(&self, steps: &[Fake]) -> Plan {
        self.world.look();
        let memory = self.store.remember(held(&self.locked).clone()).expect("a memory");
        let mut plan = plan::plan(&self.graph(steps), &memory, &self.unwanted, &self.wishes);
        for planned in &mut plan.steps {
            let fake = steps.iter().find(|fake| fake.id() == &planned.id);
            if let (Some(fake), Action::Run | Action::Pending) = (fake, planned.action) {
                planned.after.clone_from(&fake.after);
            }
        }
        plan
    }

    pub(crate) fn saved(&self, steps: &[Fake]) -> SavedPlan {
        let plan = self.plan(steps);
        let memory = self.store.remember(held(&self.locked).clone()).expect("a memory");
        let request = Request { no_refresh: self.wishes.no_refresh, ..Request::default() };
        let bound = BTreeMap::from([("goatbuild.lock".to_owned(), "1".to_owned())]);
        SavedPlan::new("p-1", None, request, bound, &self.graph(steps), &plan, &memory)
    }

    pub(crate) async fn apply(&self, steps: &[Fake]) -> Report {
        self.apply_until(steps, &Interrupt::default()).await
    }

    pub(crate) async fn apply_until(&self, steps: &[Fake], interrupt: &Interrupt) -> Report {
        let plan = self.plan(steps);
        self.apply_plan(steps, &plan, interrupt, Arc::new(|_| ())).await
    }

    pub(crate) async fn apply_plan(
        &self,
        steps: &[Fake],
        plan: &Plan,
        interrupt: &Interrupt,
        events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Report {
        let graph = self.graph(steps);
        let memory = self.store.remember(held(&self.locked).clone()).expect("a memory");
        let executor = Executor {
            keep_going: self.keep_going,
            graph: &graph,
            plan,
            memory: &memory,
            wishes: &self.wishes,
            store: &self.store,
            events,
            interrupt,
            cores: 2,
        };
        let report = executor.apply().await.expect("a cache that can be written");
        for (id, key, facts) in &report.built {
            held(&self.locked).insert(id.clone(), (*key, facts.clone()));
        }
        report
    }
}

/// Ids of the steps with this action.
pub(crate) fn ids(plan: &Plan, action: Action) -> Vec<&str> {
    plan.steps.iter().filter(|step| step.action == action).map(|step| step.id.as_str()).collect()
}

/// Ids of the steps that ran.
pub(crate) fn ran(report: &Report) -> Vec<&str> {
    report.ran.iter().map(|(id, _)| id.as_str()).collect()
}

/// Reasons as text: `kind field old → new`.
pub(crate) fn reasons(plan: &Plan, id: &str) -> Vec<String> {
    let planned = plan.get(&id.into()).expect("a step of the plan");
    let text = |reason: &plan::Reason| {
        let kind = serde_json::to_value(reason.kind).expect("a word");
        let mut text = kind.as_str().expect("a word").to_owned();
        if let Some(field) = &reason.field {
            text = format!("{text} {field}");
        }
        if reason.old.is_some() || reason.new.is_some() {
            let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            text = format!("{text} {} → {}", word(&reason.old), word(&reason.new));
        }
        text
    };
    planned.reasons.iter().map(text).collect()
}
