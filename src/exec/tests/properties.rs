//! The contract of plan and apply, on random graphs with random histories.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::plan::Plan;
use crate::step::StepId;

/// How a step takes another.
#[derive(Debug, Clone, Copy)]
enum Take {
    Facts,
    Files,
    After,
    Gate,
}

#[derive(Debug, Clone)]
struct Node {
    pure: bool,
    foretold: bool,
    inputs: Vec<(usize, Take)>,
    /// Whether it goes after the last effect before it.
    in_turn: bool,
}

/// What happens between two applies.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Edit(usize, u8),
    /// An edit that changes a key, but nothing that is made.
    Note(usize, u8),
    Evict(usize),
    Drift(usize),
    Vanish(usize),
    Fail(usize),
    LeaveOpen(usize),
    Replace(usize),
    /// The apply is dropped once its tasks were polled so many times.
    Kill(u8),
}

fn node(at: usize) -> impl Strategy<Value = Node> {
    let take = prop_oneof![
        3 => Just(Take::Facts), 3 => Just(Take::Files), 1 => Just(Take::After), 1 => Just(Take::Gate)
    ];
    let inputs = prop::collection::vec((0..at.max(1), take), 0..=at.min(3));
    let flags = (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.3));
    (flags, inputs).prop_map(move |((pure, foretold, in_turn), inputs)| {
        let mut seen = BTreeSet::new();
        let inputs: Vec<_> =
            inputs.into_iter().filter(|(input, _)| at > 0 && seen.insert(*input)).collect();
        Node { pure, foretold, inputs, in_turn }
    })
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    (2_usize..8).prop_flat_map(|size| (0..size).map(node).collect::<Vec<_>>())
}

fn happening() -> impl Strategy<Value = Happening> {
    let at = 0_usize..8;
    prop_oneof![
        3 => (at.clone(), 0_u8..3).prop_map(|(at, value)| Happening::Edit(at, value)),
        3 => (at.clone(), 0_u8..3).prop_map(|(at, value)| Happening::Note(at, value)),
        3 => at.clone().prop_map(Happening::Evict),
        1 => at.clone().prop_map(Happening::Drift),
        1 => at.clone().prop_map(Happening::Vanish),
        1 => at.clone().prop_map(Happening::Fail),
        1 => at.clone().prop_map(Happening::LeaveOpen),
        1 => at.prop_map(Happening::Replace),
        1 => (0_u8..40).prop_map(Happening::Kill),
    ]
}

fn history() -> impl Strategy<Value = Vec<Vec<Happening>>> {
    prop::collection::vec(prop::collection::vec(happening(), 0..4), 1..6)
}

fn name(nodes: &[Node], at: usize) -> String {
    format!("{}:{at}", if nodes[at].pure { "pure" } else { "effect" })
}

/// The steps, with so and so edited.
fn steps(nodes: &[Node], values: &[(u32, u32)]) -> Vec<Fake> {
    let make = |at: usize| {
        let node = &nodes[at];
        let id = name(nodes, at);
        let mut step = if node.pure { Fake::pure(&id) } else { Fake::effect(&id) };
        step = step.field("value", values[at].0).field("note", values[at].1);
        let mut consumes = false;
        for (input, take) in &node.inputs {
            let from = name(nodes, *input);
            step = match take {
                Take::Files if nodes[*input].pure => step.takes_files(&from),
                Take::Facts | Take::Files => step.takes(&from),
                Take::After => step.after(&from),
                Take::Gate => step.gated_by(&from),
            };
            consumes |= matches!(take, Take::Facts | Take::Files);
        }
        let before = (0..at).rev().find(|before| !nodes[*before].pure);
        if let Some(before) = before.filter(|_| node.in_turn && !node.pure) {
            step = step.in_turn_after(&name(nodes, before));
        }
        if node.foretold && !consumes { step.foretold() } else { step }
    };
    (0..nodes.len()).map(make).collect()
}

fn set<'a>(ids: impl IntoIterator<Item = &'a StepId>) -> BTreeSet<StepId> {
    ids.into_iter().cloned().collect()
}

fn with(plan: &Plan, action: Action) -> BTreeSet<StepId> {
    set(plan.steps.iter().filter(|step| step.action == action).map(|step| &step.id))
}

/// `run ⊆ ran ⊆ run ∪ pending`, and every step that was to run has exactly one fate.
fn holds(plan: &Plan, report: &Report) {
    let (run, pending) = (with(plan, Action::Run), with(plan, Action::Pending));
    let ran = set(report.ran.iter().map(|(id, _)| id));
    let cut_off = set(&report.cut_off);
    let failed = set(report.failed.iter().map(|failed| &failed.id));
    let blocked = set(&report.blocked);
    let unproven = set(report.unproven.iter().map(|open| &open.id));
    let waiting = set(&report.waiting);
    let planned = &run | &pending;
    assert!(ran.is_subset(&planned), "ran {ran:?}, planned {planned:?}");
    assert!(cut_off.is_subset(&pending), "cut off {cut_off:?}, pending {pending:?}");
    assert!(!unproven.is_empty() || waiting.is_empty(), "{waiting:?} wait for nothing");
    if failed.is_empty() && unproven.is_empty() {
        assert!(run.is_subset(&ran), "run {run:?}, ran {ran:?}");
        assert!(blocked.is_empty(), "blocked {blocked:?} though nothing failed");
    }
    let fates = [&ran, &cut_off, &failed, &unproven, &waiting, &blocked];
    let fates: Vec<&StepId> = fates.into_iter().flatten().collect();
    for step in &plan.steps {
        let place = |id: &StepId| report.ran.iter().position(|(it, _)| it == id);
        for before in &step.after {
            let (place, before) = (place(&step.id), place(before));
            assert!(place.is_none() || before.is_none() || before < place, "{} is early", step.id);
        }
        let failed = step.after.iter().find(|it| !ran.contains(it) && planned.contains(it));
        if let Some(before) = failed.filter(|it| !cut_off.contains(it)) {
            assert!(!ran.contains(&step.id), "{} ran after {before}, which did not", step.id);
        }
    }
    assert_eq!(fates.len(), planned.len(), "{fates:?} of {planned:?}");
    assert_eq!(set(fates), planned);
}

/// Drops the apply after so many polls.
async fn killed(bench: &Bench, steps: &[Fake], polls: u8) {
    let late = async {
        for _ in 0..polls {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = late => {}
        report = bench.apply(steps) => drop(report),
    }
    // Tasks that were dropped end at their next turn.
    tokio::task::yield_now().await;
}

async fn live(nodes: &[Node], history: &[Vec<Happening>], ways_back: bool) {
    let mut bench = Bench::new();
    let mut values = vec![(0, 0); nodes.len()];
    let mut fresh_value = 10;
    // Whether cache and lock know the same of pure steps.
    let mut comparable = !ways_back;
    for round in history {
        let mut kill = None;
        let mut failing = Vec::new();
        bench.wishes = Wishes::default();
        for happening in round {
            let mut value = |wanted: u8| {
                fresh_value += 1;
                if ways_back { u32::from(wanted) } else { fresh_value }
            };
            let id = |at: usize| name(nodes, at % nodes.len());
            match *happening {
                Happening::Edit(at, to) => values[at % nodes.len()].0 = value(to),
                Happening::Note(at, to) => values[at % nodes.len()].1 = value(to),
                Happening::Evict(at) => bench.world.evict(&id(at)),
                Happening::Drift(at) if bench.world.holds(&id(at)) => {
                    bench.world.put(&id(at), Some(Thing::Drifted));
                }
                Happening::Drift(_) => {}
                Happening::Vanish(at) => bench.world.put(&id(at), None),
                Happening::Fail(at) => failing.push((id(at), Script::Fail)),
                Happening::LeaveOpen(at) => failing.push((id(at), Script::LeaveOpen)),
                Happening::Replace(at) => {
                    bench.wishes.replace.insert(id(at).as_str().into());
                }
                Happening::Kill(polls) => kill = Some(polls),
            }
        }
        let steps = steps(nodes, &values);
        for (id, script) in &failing {
            bench.world.script(id, Some(script.clone()));
        }
        let plan = bench.plan(&steps);
        if comparable {
            let cold = bench.elsewhere().plan(&steps);
            for (cold, warm) in cold.steps.iter().zip(&plan.steps) {
                assert_eq!((&cold.id, cold.action), (&warm.id, warm.action));
                assert_eq!(cold.key, warm.key);
            }
        }
        if let Some(polls) = kill {
            killed(&bench, &steps, polls).await;
            comparable = false;
        } else {
            let report = bench.apply(&steps).await;
            holds(&plan, &report);
        }
        for (id, _) in &failing {
            bench.world.script(id, None);
        }
    }
    bench.wishes = Wishes::default();
    let steps = steps(nodes, &values);
    let plan = bench.plan(&steps);
    let report = bench.apply(&steps).await;
    assert!(report.failed.is_empty());
    holds(&plan, &report);
    assert!(bench.plan(&steps).is_empty(), "{:?}", bench.plan(&steps));
    assert!(bench.apply(&steps).await.ran.is_empty());
    assert!(!comparable || bench.elsewhere().plan(&steps).is_empty());
}

proptest! {
    #![proptest_config(Config { cases: 320, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_plan_is_the_truth(
        nodes in nodes(), history in history(), ways_back in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(live(&nodes, &history, ways_back));
    }
}
