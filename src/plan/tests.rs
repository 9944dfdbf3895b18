use super::*;
use crate::step::Fact;
use crate::testing::{Bench, Fake, Script, Thing, ids, ran, reasons};

/// `base → image → deploy → gateway`, with weights, a warm-up and a smoke test beside.
fn model() -> Vec<Fake> {
    vec![
        Fake::pure("base:i").field("digest", 1),
        Fake::pure("image:i").takes_files("base:i").field("env.A", 1),
        Fake::effect("weights:w").field("revision", 1).foretold(),
        Fake::effect("warmup:m").takes_files("image:i").takes("weights:w").field("flag", 1),
        Fake::effect("deploy:m")
            .takes_files("image:i")
            .takes("weights:w")
            .after("warmup:m")
            .field("flag", 1),
        Fake::effect("smoke:m").takes("deploy:m"),
        Fake::effect("gateway:m").takes("deploy:m").gated_by("smoke:m").field("alias", "m"),
    ]
}

fn edit(steps: &mut [Fake], id: &str, label: &str, value: impl std::fmt::Display) {
    let step = steps.iter_mut().find(|step| step.id().as_str() == id).unwrap();
    *step = step.clone().field(label, value);
}

async fn applied(steps: &[Fake]) -> Bench {
    let bench = Bench::new();
    let report = bench.apply(steps).await;
    assert_eq!(report.ran.len(), steps.len(), "{:?}", report.failed);
    bench.world.log();
    bench
}

#[tokio::test]
async fn the_first_plan_knows_what_is_certain_and_what_hangs_on_it() {
    let bench = Bench::new();
    let plan = bench.plan(&model());
    assert_eq!(reasons(&plan, "base:i"), ["first"]);
    assert_eq!(plan.get(&"image:i".into()).unwrap().action, Action::Pending);
    assert_eq!(reasons(&plan, "image:i"), ["input base:i"]);
    // Nothing is there, so it runs whatever its key will be.
    assert_eq!(reasons(&plan, "deploy:m"), ["first", "input image:i"]);
    assert_eq!(plan.get(&"deploy:m".into()).unwrap().key, None);
    assert_eq!(plan.get(&"weights:w".into()).unwrap().action, Action::Run);
    assert!(plan.get(&"weights:w".into()).unwrap().key.is_some());
}

#[tokio::test]
async fn a_changed_field_is_told_with_both_values() {
    let mut steps = model();
    let bench = applied(&steps).await;
    edit(&mut steps, "deploy:m", "flag", 2);
    let plan = bench.plan(&steps);
    assert_eq!(reasons(&plan, "deploy:m"), ["changed flag 1 → 2"]);
    assert_eq!(ids(&plan, Action::Run), ["deploy:m"]);
    assert_eq!(ids(&plan, Action::Pending), ["smoke:m", "gateway:m"]);
    assert_eq!(reasons(&plan, "smoke:m"), ["input deploy:m"]);
}

#[tokio::test]
async fn a_change_of_what_has_a_place_per_key_is_no_drift() {
    let mut steps = vec![Fake::effect("weights:w").field("revision", 1)];
    let bench = applied(&steps).await;
    // The receipt of the new key is not there; the old one's says nothing.
    bench.world.put("weights:w", None);
    edit(&mut steps, "weights:w", "revision", 2);
    assert_eq!(reasons(&bench.plan(&steps), "weights:w"), ["changed revision 1 → 2"]);
}

#[tokio::test]
async fn what_is_held_is_left_as_it_is_until_that_ends() {
    let mut steps = model();
    let mut bench = applied(&steps).await;
    let standing = bench.plan(&steps).get(&"deploy:m".into()).unwrap().clone();
    let facts = standing.facts.clone();
    bench.world.put("deploy:m", Some(Thing::Held { facts: facts.clone() }));
    edit(&mut steps, "deploy:m", "flag", 2);
    let plan = bench.plan(&steps);
    assert!(plan.is_empty());
    let planned = plan.get(&"deploy:m".into()).unwrap();
    assert_eq!((planned.action, planned.held.as_deref()), (Action::Fresh, Some("held by ada")));
    assert!(plan.to_json().contains(r#""held":"held by ada""#));
    assert_eq!(ran(&bench.apply(&steps).await), [""; 0]);
    // Nor with an input that isn't known yet, nor when it is to be replaced.
    edit(&mut steps, "image:i", "env.A", 2);
    bench.wishes.replace.insert("deploy:m".into());
    assert_eq!(ran(&bench.apply(&steps).await), ["image:i", "warmup:m"]);
    // What it stands for was never taken for what the spec wants.
    bench.wishes.replace.clear();
    bench.world.put("deploy:m", Some(Thing::Ours { key: standing.key.unwrap(), facts }));
    let why = reasons(&bench.plan(&steps), "deploy:m");
    assert!(why.contains(&"changed flag 1 → 2".to_owned()), "{why:?}");
}

#[tokio::test]
async fn alias_edit_reruns_only_the_gateway() {
    let mut steps = model();
    let bench = applied(&steps).await;
    edit(&mut steps, "gateway:m", "alias", "n");
    let plan = bench.plan(&steps);
    assert_eq!(ids(&plan, Action::Run), ["gateway:m"]);
    assert_eq!(plan.summary(), Summary { run: 1, fresh: 6, ..Summary::default() });
}

#[tokio::test]
async fn order_and_gate_edges_rerun_nothing() {
    let mut steps = model();
    let bench = applied(&steps).await;
    edit(&mut steps, "warmup:m", "flag", 2);
    assert_eq!(ids(&bench.plan(&steps), Action::Run), ["warmup:m"]);
    assert_eq!(ids(&bench.plan(&steps), Action::Pending), [""; 0]);
    assert_eq!(ran(&bench.apply(&steps).await), ["warmup:m"]);
}

#[tokio::test]
async fn the_same_facts_cut_off_what_stands_behind() {
    let mut steps = model();
    let bench = applied(&steps).await;
    edit(&mut steps, "base:i", "note", "new");
    let plan = bench.plan(&steps);
    assert_eq!(ids(&plan, Action::Run), ["base:i"]);
    assert_eq!(
        ids(&plan, Action::Pending),
        ["image:i", "warmup:m", "deploy:m", "smoke:m", "gateway:m"]
    );
    let report = bench.apply(&steps).await;
    assert_eq!(ran(&report), ["base:i"]);
    assert_eq!(report.cut_off.len(), 5);
    assert!(bench.plan(&steps).is_empty());
}

#[tokio::test]
async fn the_way_back_redoes_effects_and_no_pure_work() {
    let mut steps = model();
    let bench = applied(&steps).await;
    edit(&mut steps, "image:i", "env.A", 2);
    assert!(ran(&bench.apply(&steps).await).contains(&"deploy:m"));
    edit(&mut steps, "image:i", "env.A", 1);
    let plan = bench.plan(&steps);
    assert_eq!(ids(&plan, Action::Fresh), ["weights:w", "base:i", "image:i"]);
    assert_eq!(ids(&plan, Action::Run), ["warmup:m", "deploy:m"]);
    bench.apply(&steps).await;
    // The image did not run, and yet it is what was applied last.
    edit(&mut steps, "image:i", "env.A", 3);
    assert_eq!(reasons(&bench.plan(&steps), "image:i"), ["changed env.A 1 → 3"]);
}

#[tokio::test]
async fn what_is_recognised_explains_the_next_change() {
    let mut steps = model();
    let bench = applied(&steps).await.elsewhere();
    assert!(bench.plan(&steps).is_empty());
    assert!(bench.apply(&steps).await.ran.is_empty());
    edit(&mut steps, "deploy:m", "flag", 2);
    assert_eq!(reasons(&bench.plan(&steps), "deploy:m"), ["changed flag 1 → 2"]);
    bench.world.put("deploy:m", None);
    edit(&mut steps, "deploy:m", "flag", 1);
    assert_eq!(reasons(&bench.plan(&steps), "deploy:m"), ["drift deploy present → gone"]);
}

#[tokio::test]
async fn drift_is_told_with_what_differs() {
    let steps = model();
    let bench = applied(&steps).await;
    bench.world.put("deploy:m", Some(Thing::Drifted));
    let plan = bench.plan(&steps);
    assert_eq!(reasons(&plan, "deploy:m"), ["drift server up → down"]);
    bench.world.put("deploy:m", None);
    assert_eq!(reasons(&bench.plan(&steps), "deploy:m"), ["drift deploy present → gone"]);
}

#[tokio::test]
async fn somebody_elses_change_of_ours_is_told_by_key() {
    let steps = [Fake::effect("deploy:m").field("flag", 1)];
    let bench = applied(&steps).await;
    let other = steps[0].clone().field("flag", 7).describe(&Inputs::default()).key();
    bench.world.put("deploy:m", Some(Thing::Ours { key: other, facts: Facts::new() }));
    let mine = steps[0].describe(&Inputs::default()).key();
    assert_eq!(reasons(&bench.plan(&steps), "deploy:m"), [format!("changed key {other} → {mine}")]);
}

#[tokio::test]
async fn evicted_files_matter_only_to_what_runs() {
    let mut steps = model();
    let bench = applied(&steps).await;
    bench.world.evict("base:i");
    bench.world.evict("image:i");
    assert!(bench.plan(&steps).is_empty());
    edit(&mut steps, "gateway:m", "alias", "n");
    assert_eq!(ids(&bench.plan(&steps), Action::Run), ["gateway:m"]);
    edit(&mut steps, "deploy:m", "flag", 2);
    let plan = bench.plan(&steps);
    assert_eq!(reasons(&plan, "image:i"), ["evicted deploy:m"]);
    assert_eq!(reasons(&plan, "base:i"), ["evicted image:i"]);
    // Their keys are known and so are their facts: nothing else has become uncertain.
    assert_eq!(ids(&plan, Action::Run), ["base:i", "image:i", "deploy:m"]);
    assert_eq!(ids(&plan, Action::Pending), ["smoke:m", "gateway:m"]);
}

#[tokio::test]
async fn replaced_and_failed_before_are_reasons() {
    let mut steps = model();
    let mut bench = applied(&steps).await;
    bench.wishes.replace.insert("smoke:m".into());
    assert_eq!(reasons(&bench.plan(&steps), "smoke:m"), ["replaced"]);
    assert_eq!(ids(&bench.plan(&steps), Action::Run), ["smoke:m"]);
    bench.wishes = Wishes::default();
    edit(&mut steps, "deploy:m", "flag", 2);
    bench.world.script("deploy:m", Some(Script::Fail));
    bench.apply(&steps).await;
    let plan = bench.plan(&steps);
    assert_eq!(reasons(&plan, "deploy:m"), ["changed flag 1 → 2", "failed-before"]);
    edit(&mut steps, "deploy:m", "flag", 3);
    assert_eq!(reasons(&bench.plan(&steps), "deploy:m"), ["changed flag 1 → 3"]);
    bench.world.script("deploy:m", None);
    bench.apply(&steps).await;
    edit(&mut steps, "deploy:m", "flag", 2);
    // The last attempt went well, whatever the one before did.
    assert_eq!(reasons(&bench.plan(&steps), "deploy:m"), ["changed flag 3 → 2"]);
}

#[tokio::test]
async fn a_foreign_thing_is_a_conflict_unless_adopted() {
    let steps = model();
    let mut bench = Bench::new();
    bench.world.put("deploy:m", Some(Thing::Foreign));
    let plan = bench.plan(&steps);
    assert_eq!(ids(&plan, Action::Conflict), ["deploy:m"]);
    assert_eq!(reasons(&plan, "deploy:m"), ["foreign project x", "for-money size 1 → 2"]);
    bench.wishes.replace.insert("deploy:m".into());
    assert_eq!(ids(&bench.plan(&steps), Action::Conflict), ["deploy:m"]);
    bench.wishes = Wishes { adopt: ["m".to_owned()].into(), ..Wishes::default() };
    assert_eq!(
        reasons(&bench.plan(&steps), "deploy:m"),
        ["adopted project x", "for-money size 1 → 2", "input image:i"]
    );
    let report = bench.apply(&steps).await;
    assert!(ran(&report).contains(&"deploy:m"));
    assert!(bench.plan(&steps).is_empty());
}

#[tokio::test]
async fn what_no_spec_wants_is_removed_last() {
    let steps = model();
    let mut bench = applied(&steps).await;
    bench.unwanted.push(Unwanted {
        id: "deploy:old".into(),
        model: "old".to_owned(),
        detail: "port 8001".to_owned(),
        absent: false,
    });
    let plan = bench.plan(&steps);
    assert_eq!(reasons(&plan, "deploy:old"), ["unwanted port 8001"]);
    assert_eq!(plan.steps.last().unwrap().action, Action::Remove);
    // It is listed, and kept: an apply finds nothing to do unless it was asked to prune.
    assert!(plan.is_empty());
    assert_eq!(plan.summary().remove, 0);
    bench.wishes.prune = true;
    let plan = bench.plan(&steps);
    assert!(!plan.is_empty());
    assert_eq!(plan.summary().remove, 1);
    // The executor leaves removals to whoever asked for them.
    assert!(bench.apply(&steps).await.ran.is_empty());
}

#[tokio::test]
async fn without_a_refresh_the_rows_decide_and_the_plan_says_so() {
    let mut steps = model();
    let mut bench = applied(&steps).await;
    bench.world.put("deploy:m", None);
    bench.wishes.no_refresh = true;
    let plan = bench.plan(&steps);
    assert!(plan.is_empty());
    assert!(!plan.get(&"deploy:m".into()).unwrap().observed);
    assert!(plan.get(&"image:i".into()).unwrap().observed);
    edit(&mut steps, "deploy:m", "flag", 2);
    assert_eq!(reasons(&bench.plan(&steps), "deploy:m"), ["changed flag 1 → 2"]);
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_never_fresh_and_never_certain() {
    let mut steps = model();
    let mut bench = applied(&steps).await;
    bench.world.put("deploy:m", Some(Thing::Unseen));
    let plan = bench.plan(&steps);
    let deploy = plan.get(&"deploy:m".into()).unwrap();
    assert_eq!((deploy.action, deploy.observed), (Action::Pending, false));
    assert!(deploy.key.is_some());
    assert_eq!(reasons(&plan, "deploy:m"), ["unobserved no credentials"]);
    // Nobody knows what it would make.
    assert_eq!(reasons(&plan, "smoke:m"), ["input deploy:m"]);
    // What is known to have changed is told all the same.
    edit(&mut steps, "deploy:m", "flag", 2);
    let plan = bench.plan(&steps);
    assert_eq!(plan.get(&"deploy:m".into()).unwrap().action, Action::Pending);
    assert_eq!(reasons(&plan, "deploy:m"), ["changed flag 1 → 2", "unobserved no credentials"]);
    edit(&mut steps, "image:i", "env.A", 2);
    let plan = bench.plan(&steps);
    assert_eq!(reasons(&plan, "deploy:m"), ["input image:i", "unobserved no credentials"]);
    // Whoever asks for the rows instead gets them.
    edit(&mut steps, "image:i", "env.A", 1);
    edit(&mut steps, "deploy:m", "flag", 1);
    bench.wishes.no_refresh = true;
    assert!(bench.plan(&steps).is_empty());
    bench.wishes = Wishes::default();
    let cold = bench.elsewhere();
    assert_eq!(reasons(&cold.plan(&steps), "deploy:m"), ["unobserved no credentials"]);
}

#[tokio::test]
async fn what_is_not_locked_waits_with_all_that_stands_behind() {
    let mut steps = model();
    let bench = applied(&steps).await;
    let weights = steps.iter_mut().find(|step| step.id().as_str() == "weights:w").unwrap();
    *weights = weights.clone().unlocked("weights of w");
    let plan = bench.plan(&steps);
    let weights = plan.get(&"weights:w".into()).unwrap();
    assert_eq!((weights.action, weights.key), (Action::Pending, None));
    assert_eq!(reasons(&plan, "weights:w"), ["unlocked weights of w"]);
    assert_eq!(reasons(&plan, "deploy:m"), ["input weights:w"]);
    assert_eq!(ids(&plan, Action::Fresh), ["base:i", "image:i"]);
}

#[tokio::test]
async fn the_json_has_the_documented_shape() {
    let mut steps = vec![Fake::effect("deploy:m").field("flag", 1)];
    let bench = applied(&steps).await;
    edit(&mut steps, "deploy:m", "flag", 2);
    let json: serde_json::Value = serde_json::from_str(&bench.plan(&steps).to_json()).unwrap();
    let key = steps[0].describe(&Inputs::default()).key();
    assert_eq!(
        json,
        serde_json::json!({
            "format_version": 1,
            "models": [],
            "usd_per_hour": 0.0,
            "steps": [{
                "id": "deploy:m", "kind": "deploy", "models": ["m"], "action": "run",
                "observed": true, "key": key.to_string(), "inputs": [],
                "reasons": [{"kind": "changed", "field": "flag", "old": "1", "new": "2"}],
            }],
            "summary": {"run": 1, "pending": 0, "fresh": 0, "remove": 0, "conflict": 0},
            "warnings": [],
        })
    );
}

#[test]
fn facts_taken_twice_from_one_input_are_joined() {
    let mut inputs = Inputs::default();
    let (x, y) = (Fact::of_tests("x"), Fact::of_tests("y"));
    inputs.insert(&"a".into(), x, "1");
    inputs.insert(&"a".into(), y, "2");
    assert_eq!((inputs.fact(&"a".into(), x), inputs.fact(&"a".into(), y)), ("1", "2"));
}
