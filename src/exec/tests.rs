use std::sync::Mutex;

use super::*;
use crate::plan::Action;
use crate::step::Resource;
use crate::testing::{Bench, Fake, Script, Thing, ids, ran, reasons};

#[tokio::test]
async fn independent_branches_go_on_after_a_failure() {
    let steps = [
        Fake::effect("a:1"),
        Fake::effect("a:2").takes("a:1"),
        Fake::effect("a:3").after("a:2"),
        Fake::effect("b:1"),
        Fake::effect("b:2").takes("b:1"),
    ];
    let bench = Bench::new();
    bench.world.script("a:1", Some(Script::Fail));
    let report = bench.apply(&steps).await;
    assert_eq!(ran(&report), ["b:1", "b:2"]);
    assert_eq!(report.failed[0].id.as_str(), "a:1");
    assert_eq!(report.blocked, ["a:2".into(), "a:3".into()]);
    assert!(!report.facts.contains_key(&"a:2".into()));
    let log = std::fs::read_to_string(bench.root().join("logs/1/a_1.log")).unwrap();
    assert!(log.contains("scripted failure"), "{log}");
    // Only what failed, and what stands behind it, is left.
    bench.world.script("a:1", None);
    assert_eq!(ran(&bench.apply(&steps).await), ["a:1", "a:2", "a:3"]);
}

#[tokio::test]
async fn what_failed_left_neither_row_nor_record() {
    let steps = [Fake::pure("p:1"), Fake::effect("e:1")];
    let bench = Bench::new();
    bench.world.script("p:1", Some(Script::Fail));
    bench.world.script("e:1", Some(Script::Fail));
    bench.apply(&steps).await;
    let plan = bench.plan(&steps);
    assert_eq!(reasons(&plan, "p:1"), ["first", "failed-before"]);
    assert_eq!(reasons(&plan, "e:1"), ["first", "failed-before"]);
    assert_eq!(bench.store.last_attempt(&"e:1".into()).unwrap().unwrap().outcome, "failed");
}

#[tokio::test]
async fn what_depends_on_a_conflict_is_blocked() {
    let steps = [Fake::effect("a:1"), Fake::effect("b:1").after("a:1"), Fake::effect("c:1")];
    let bench = Bench::new();
    bench.world.put("a:1", Some(Thing::Foreign));
    let report = bench.apply(&steps).await;
    assert_eq!(ran(&report), ["c:1"]);
    assert_eq!(report.blocked, ["a:1".into(), "b:1".into()]);
}

#[tokio::test]
async fn one_writer_per_exclusive_thing() {
    let steps = ["a:1", "a:2", "a:3"].map(|id| Fake::effect(id).alone_on("volume"));
    let bench = Bench::new();
    assert_eq!(bench.apply(&steps).await.ran.len(), 3);
    assert_eq!(bench.world.most_at_once(), 1);
}

#[tokio::test]
async fn a_resource_has_so_many_places() {
    for (resource, most) in [
        (Resource::Network, 4),
        (Resource::Cpu, 2),
        (Resource::Disk, 2),
        (Resource::Accelerator, 2),
    ] {
        let names: Vec<String> = (0..9).map(|name| format!("a:{name}")).collect();
        let steps: Vec<Fake> = names.iter().map(|name| Fake::effect(name).uses(resource)).collect();
        let bench = Bench::new();
        assert_eq!(bench.apply(&steps).await.ran.len(), 9);
        assert_eq!(bench.world.most_at_once(), most, "{resource:?}");
    }
}

/// Two models of three steps each, the second in turn after the first.
fn in_turn(note: u32) -> [Fake; 5] {
    [
        Fake::effect("deploy:a").field("note", note),
        Fake::effect("smoke:a").takes("deploy:a").field("note", note),
        Fake::effect("gateway:a").gated_by("smoke:a"),
        Fake::effect("deploy:b").field("note", note).in_turn_after("smoke:a"),
        Fake::effect("smoke:b").takes("deploy:b").field("note", note),
    ]
}

#[tokio::test]
async fn a_turn_comes_once_what_is_before_it_has_ended_and_not_after_a_failure() {
    let mut bench = Bench::new();
    let order = ["deploy:a", "smoke:a", "deploy:b", "smoke:b"];
    let without_gateway = |report: &Report| -> Vec<String> {
        let ran = ran(report).into_iter().filter(|id| *id != "gateway:a");
        ran.map(str::to_owned).collect()
    };
    assert_eq!(without_gateway(&bench.apply(&in_turn(1)).await), order);
    for (fails, ran) in [("smoke:a", vec!["deploy:a"]), ("deploy:a", vec![])] {
        bench.world.script(fails, Some(Script::Fail));
        let report = bench.apply(&in_turn(2)).await;
        assert_eq!(without_gateway(&report), ran);
        assert_eq!(report.turns, [("deploy:b".into(), fails.into())].into());
        assert!(report.blocked.contains(&"smoke:b".into()), "{:?}", report.blocked);
        bench.world.script(fails, None);
        bench.wishes.replace = [StepId::from("deploy:a")].into();
    }
    // Whoever wants to goes on, one after the other all the same.
    bench.world.script("smoke:a", Some(Script::Fail));
    bench.keep_going = true;
    let report = bench.apply(&in_turn(3)).await;
    assert_eq!(without_gateway(&report), ["deploy:a", "deploy:b", "smoke:b"]);
    assert!(report.turns.is_empty());
}

#[tokio::test]
async fn an_interruption_is_no_failure_that_ends_turns() {
    let bench = Bench::new();
    bench.world.script("smoke:a", Some(Script::Tidy));
    let report = interrupted(&bench, &in_turn(1), "smoke:a", 1).await;
    assert!(report.interrupted && report.turns.is_empty(), "{:?}", report.turns);
    assert!(report.blocked.contains(&"deploy:b".into()), "{:?}", report.blocked);
}

#[tokio::test]
async fn what_is_left_open_fails_nothing_and_has_what_needs_it_wait() {
    let bench = Bench::new();
    bench.world.script("smoke:a", Some(Script::LeaveOpen));
    let report = bench.apply(&in_turn(1)).await;
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert_eq!(report.unproven[0].id.as_str(), "smoke:a");
    assert_eq!(report.waiting, ["gateway:a".into()]);
    // A change that may be no good reaches nothing else.
    assert_eq!(report.turns, [("deploy:b".into(), "smoke:a".into())].into());
    assert_eq!(bench.store.last_attempt(&"smoke:a".into()).unwrap().unwrap().outcome, "unproven");
    assert_eq!(reasons(&bench.plan(&in_turn(1)), "smoke:a"), ["first"]);
    bench.world.script("smoke:a", None);
    assert!(bench.apply(&in_turn(1)).await.failed.is_empty());
    assert!(bench.plan(&in_turn(1)).is_empty());
}

/// An effect that takes the files of `image`, which takes those of `base`.
fn chain(flag: u32, note: u32) -> [Fake; 4] {
    [
        Fake::pure("base:i").field("digest", 1),
        Fake::pure("image:i").takes_files("base:i"),
        Fake::pure("script:s").field("note", note),
        Fake::effect("deploy:m").takes_files("image:i").takes("script:s").field("flag", flag),
    ]
}

#[tokio::test]
async fn evicted_inputs_of_what_runs_are_made_again_first() {
    let bench = Bench::new();
    bench.apply(&chain(1, 1)).await;
    bench.world.evict("image:i");
    bench.world.evict("base:i");
    assert_eq!(ran(&bench.apply(&chain(2, 1)).await), ["base:i", "image:i", "deploy:m"]);
    assert!(bench.plan(&chain(2, 1)).is_empty());
}

#[tokio::test]
async fn evicted_inputs_of_what_is_cut_off_are_left_alone() {
    let bench = Bench::new();
    bench.apply(&chain(1, 1)).await;
    bench.world.evict("image:i");
    bench.world.evict("base:i");
    let plan = bench.plan(&chain(1, 2));
    assert_eq!(ids(&plan, Action::Pending), ["base:i", "image:i", "deploy:m"]);
    let report = bench.apply(&chain(1, 2)).await;
    assert_eq!(ran(&report), ["script:s"]);
    assert_eq!(report.cut_off.len(), 3);
    assert!(bench.plan(&chain(1, 2)).is_empty());
}

#[tokio::test]
async fn what_is_cut_off_runs_after_all_when_its_files_are_gone_and_needed() {
    let steps = |note: u32, flag: u32| {
        [
            Fake::pure("base:i").field("note", note),
            Fake::pure("image:i").takes("base:i"),
            Fake::pure("script:s").field("flag", flag),
            Fake::effect("deploy:m").takes_files("image:i").takes("script:s"),
        ]
    };
    let bench = Bench::new();
    bench.apply(&steps(1, 1)).await;
    bench.world.evict("image:i");
    let report = bench.apply(&steps(2, 2)).await;
    let mut ran = ran(&report);
    ran.sort_unstable();
    assert_eq!(ran, ["base:i", "deploy:m", "image:i", "script:s"]);
}

#[tokio::test]
async fn files_found_missing_late_are_waited_for() {
    // `image` is evicted, and can't be looked at before `base` (foretold, and slow) has run; the
    // consumer is decided before that.
    let steps = |flag: u32| {
        [
            Fake::effect("base:i").foretold(),
            Fake::pure("image:i").takes("base:i"),
            Fake::pure("script:s").field("flag", flag),
            Fake::effect("deploy:m").takes_files("image:i").takes("script:s"),
        ]
    };
    let bench = Bench::new();
    bench.apply(&steps(1)).await;
    bench.world.evict("image:i");
    bench.world.put("base:i", Some(Thing::Drifted));
    let report = bench.apply(&steps(2)).await;
    assert!(report.failed.is_empty());
    assert_eq!(report.ran.len(), 4);
}

#[tokio::test]
#[should_panic(expected = "BUG: a:1 was predicted to make out = red")]
async fn a_wrong_prediction_is_a_bug() {
    Bench::new().apply(&[Fake::effect("a:1").foretells("red")]).await;
}

#[tokio::test]
async fn a_rebuild_that_differs_fails_and_is_not_recorded() {
    let steps = [Fake::pure("image:i")];
    let mut bench = Bench::new();
    let facts = bench.apply(&steps).await.facts;
    bench.wishes.replace.insert("image:i".into());
    bench.world.script("image:i", Some(Script::Make("other")));
    let report = bench.apply(&steps).await;
    assert_eq!(
        report.failed[0].error.code().unwrap().to_string(),
        "goatbuild::build::not_reproducible"
    );
    bench.wishes = Wishes::default();
    bench.world.evict("image:i");
    assert_eq!(bench.plan(&steps).steps[0].facts, facts[&"image:i".into()]);
}

#[tokio::test]
#[should_panic(expected = "scripted panic")]
async fn a_panic_of_a_step_goes_on() {
    let bench = Bench::new();
    bench.world.script("a:1", Some(Script::Panic));
    bench.apply(&[Fake::effect("a:1")]).await;
}

/// Applies until the step has started, then asks to stop so many times.
async fn interrupted(bench: &Bench, steps: &[Fake], at: &'static str, asks: usize) -> Report {
    let interrupt = Interrupt::default();
    let asked = interrupt.clone();
    let events = move |event: Event| {
        if matches!(event, Event::StepStarted { id } if id.as_str() == at) {
            let asked = asked.clone();
            tokio::spawn(async move {
                for _ in 0..asks {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    asked.ask();
                }
            });
        }
    };
    let plan = bench.plan(steps);
    bench.apply_plan(steps, &plan, &interrupt, Arc::new(events)).await
}

#[tokio::test]
async fn an_interruption_drops_pure_steps_and_starts_nothing() {
    let steps = [Fake::pure("p:1"), Fake::effect("e:1").takes("p:1")];
    let bench = Bench::new();
    bench.world.script("p:1", Some(Script::Deaf));
    let report = interrupted(&bench, &steps, "p:1", 1).await;
    assert!(report.interrupted && report.failed.is_empty() && report.ran.is_empty());
    assert_eq!(bench.world.log(), ["p:1"]);
    assert_eq!(report.blocked, ["e:1".into()]);
    assert_eq!(bench.store.last_attempt(&"p:1".into()).unwrap().unwrap().outcome, "interrupted");
    // To be interrupted is not to fail.
    assert_eq!(reasons(&bench.plan(&steps), "p:1"), ["first"]);
}

#[tokio::test]
async fn an_interrupted_effect_puts_things_in_order() {
    let steps = [Fake::effect("e:1"), Fake::effect("e:2").after("e:1")];
    let bench = Bench::new();
    bench.world.script("e:1", Some(Script::Tidy));
    let report = interrupted(&bench, &steps, "e:1", 1).await;
    assert!(report.interrupted);
    assert_eq!(bench.world.log(), ["e:1", "e:1 tidied"]);
}

#[tokio::test]
async fn a_deaf_effect_is_dropped_when_the_grace_is_over() {
    let bench = Bench::new();
    bench.world.script("e:1", Some(Script::Deaf));
    let began = Instant::now();
    let report = interrupted(&bench, &[Fake::effect("e:1")], "e:1", 1).await;
    assert!(report.interrupted && report.ran.is_empty());
    assert!(began.elapsed() >= GRACE);
    let attempt = bench.store.last_attempt(&"e:1".into()).unwrap().unwrap();
    assert!(attempt.seconds >= GRACE.as_secs_f64(), "it took {} s", attempt.seconds);
}

#[tokio::test]
async fn asked_twice_nothing_is_waited_for() {
    let bench = Bench::new();
    bench.world.script("e:1", Some(Script::Deaf));
    let began = Instant::now();
    let report = interrupted(&bench, &[Fake::effect("e:1")], "e:1", 2).await;
    assert!(report.interrupted && report.ran.is_empty());
    assert!(began.elapsed() < GRACE);
}

#[tokio::test]
async fn asked_before_it_begins_an_apply_runs_nothing_and_says_so() {
    let bench = Bench::new();
    let interrupt = Interrupt::default();
    interrupt.ask();
    let report = bench.apply_until(&[Fake::pure("p:1"), Fake::effect("e:1")], &interrupt).await;
    assert!(report.interrupted && report.ran.is_empty() && bench.world.log().is_empty());
    assert_eq!(report.blocked.len(), 2);
}

#[tokio::test]
async fn what_waited_for_a_place_at_an_interruption_is_reported() {
    let steps = ["e:1", "e:2"].map(|id| Fake::effect(id).alone_on("port"));
    let bench = Bench::new();
    bench.world.script("e:1", Some(Script::Tidy));
    bench.world.script("e:2", Some(Script::Tidy));
    // Whichever came first.
    let first = bench.plan(&steps).steps[0].id.clone();
    let at = if first.as_str() == "e:1" { "e:1" } else { "e:2" };
    let report = interrupted(&bench, &steps, at, 1).await;
    assert_eq!(report.blocked.len(), 1);
    assert_ne!(report.blocked[0], first);
}

#[tokio::test]
async fn an_apply_that_is_dropped_midway_is_taken_up_again() {
    let steps = [
        Fake::pure("p:1"),
        Fake::effect("e:1").takes("p:1"),
        Fake::effect("e:2").takes("e:1"),
        Fake::effect("e:3").takes("e:2"),
    ];
    let bench = Bench::new();
    bench.world.script("e:2", Some(Script::Deaf));
    let killed = tokio::time::timeout(Duration::from_millis(100), bench.apply(&steps)).await;
    assert!(killed.is_err());
    assert_eq!(bench.world.log(), ["p:1", "e:1", "e:2"]);
    assert_eq!(bench.store.last_attempt(&"e:2".into()).unwrap().unwrap().outcome, "running");
    bench.world.script("e:2", None);
    assert_eq!(reasons(&bench.plan(&steps), "e:2"), ["first"]);
    assert_eq!(ran(&bench.apply(&steps).await), ["e:2", "e:3"]);
}

#[tokio::test]
async fn an_effect_whose_row_was_lost_is_recognised() {
    let steps = [Fake::effect("e:1"), Fake::effect("e:2").takes("e:1")];
    let bench = Bench::new();
    bench.apply(&steps).await;
    bench.store.forget(&"e:1".into()).unwrap();
    assert!(bench.plan(&steps).is_empty());
}

#[tokio::test]
async fn events_tell_of_what_ran_and_of_nothing_else() {
    let bench = Bench::new();
    bench.apply(&chain(1, 1)).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    let plan = bench.plan(&chain(1, 2));
    let events = move |event: Event| {
        let word = match event {
            Event::StepStarted { id } => format!("{id} started"),
            Event::StepProgress { id, .. } => format!("{id} progress"),
            Event::StepFinished { id, ending, .. } => format!("{id} {ending:?}"),
        };
        told.lock().unwrap().push(word);
    };
    bench.apply_plan(&chain(1, 2), &plan, &Interrupt::default(), Arc::new(events)).await;
    assert_eq!(*heard.lock().unwrap(), ["script:s started", "script:s Done"]);
}

mod properties;
