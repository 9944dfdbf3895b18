use super::*;
use crate::testing::{Bench, Fake, Thing, ids, ran};

/// `base → image → deploy → gateway`, with a smoke test beside.
fn model() -> Vec<Fake> {
    vec![
        Fake::pure("base:i").field("digest", 1),
        Fake::pure("image:i").takes_files("base:i").field("env.A", 1),
        Fake::effect("deploy:m").takes_files("image:i").field("flag", 1),
        Fake::effect("smoke:m").takes("deploy:m"),
        Fake::effect("gateway:m").takes("deploy:m").gated_by("smoke:m").field("alias", "m"),
    ]
}

fn edited(id: &str, label: &str, value: u32) -> Vec<Fake> {
    let edit = |step: Fake| if step.id().as_str() == id { step.field(label, value) } else { step };
    model().into_iter().map(edit).collect()
}

async fn applied() -> Bench {
    let bench = Bench::new();
    assert_eq!(bench.apply(&model()).await.ran.len(), 5);
    bench
}

fn told(then: &SavedPlan, now: &SavedPlan) -> Vec<String> {
    then.moved(now).iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_plan_is_read_back_as_it_was_saved() {
    let bench = applied().await;
    let saved = bench.saved(&edited("deploy:m", "flag", 2));
    let text = saved.render();
    assert_eq!(SavedPlan::parse("ci.plan", text.as_bytes()).unwrap(), saved);
    assert_eq!(bench.saved(&edited("deploy:m", "flag", 2)).render(), text, "the same bytes");
    assert!(saved.moved(&saved).is_empty());
}

#[tokio::test]
async fn every_cut_and_every_edit_of_the_file_is_noticed() {
    let bench = applied().await;
    let text = bench.saved(&edited("deploy:m", "flag", 2)).render();
    let code = |text: &str| {
        let error = SavedPlan::parse("ci.plan", text.as_bytes()).unwrap_err();
        Diagnostic::code(&error).unwrap().to_string()
    };
    // The last byte is a line break.
    for end in (0..text.len() - 2).step_by(97) {
        assert_eq!(code(&text[..end]), "goatbuild::plan_file::syntax", "cut at {end}");
    }
    for (from, to) in [
        ("\"flag\"", "\"flog\""),
        ("\"run\"", "\"fresh\""),
        ("\"p-1\"", "\"p-2\""),
        ("\"prune\": false", "\"prune\": true"),
        ("\"action\"", "\"axtion\""),
    ] {
        assert!(text.contains(from), "{from} is missing in {text}");
        assert_eq!(code(&text.replacen(from, to, 1)), "goatbuild::plan_file::edited", "{from}");
    }
    let newer = text.replacen("\"goatbuild_plan\": 1", "\"goatbuild_plan\": 2", 1);
    assert_eq!(code(&newer), "goatbuild::plan_file::version");
    assert_eq!(code("{\"format_version\":1}"), "goatbuild::plan_file::other");
    assert_eq!(code("image = \"tiny\""), "goatbuild::plan_file::other");
    assert_eq!(code("\u{0}"), "goatbuild::plan_file::other");
}

#[tokio::test]
async fn an_edit_since_then_is_told_by_its_field() {
    let bench = applied().await;
    let saved = bench.saved(&edited("gateway:m", "alias", 7));
    let also = edited("gateway:m", "alias", 7)
        .into_iter()
        .map(|step| if step.id().as_str() == "deploy:m" { step.field("flag", 2) } else { step });
    let now = bench.saved(&also.collect::<Vec<_>>());
    assert_eq!(
        told(&saved, &now),
        [
            "deploy:m: flag: 1 → 2",
            "smoke:m: action: fresh → pending",
            "gateway:m: action: run → pending",
        ]
    );
    let mut more = model();
    more.push(Fake::effect("deploy:n"));
    assert_eq!(told(&bench.saved(&model()), &bench.saved(&more)), ["deploy:n is new, to run"]);
    assert_eq!(told(&bench.saved(&more), &bench.saved(&model())), ["deploy:n is no step any more"]);
}

#[tokio::test]
async fn a_world_that_moved_is_told_by_what_it_holds_now() {
    let bench = applied().await;
    let plan = edited("gateway:m", "alias", 7);
    let saved = bench.saved(&plan);
    let things = [
        (Some(Thing::Drifted), "deploy:m: server: up → down"),
        (Some(Thing::Foreign), "→ in the way: project x"),
        (Some(Thing::Unseen), "as of the last run"),
        (None, "→ nothing"),
    ];
    for (thing, words) in things {
        bench.world.put("deploy:m", thing);
        let told = told(&saved, &bench.saved(&plan));
        assert!(told[0].starts_with("deploy:m: ") && told[0].contains(words), "{told:?}");
    }
}

#[tokio::test]
async fn another_instance_of_the_same_key_is_another_world() {
    let bench = applied().await;
    let plan = edited("gateway:m", "alias", 7);
    let saved = bench.saved(&plan);
    let key = saved.steps[2].key.unwrap();
    let facts = [("out".to_owned(), "another".to_owned())].into();
    bench.world.put("deploy:m", Some(Thing::Ours { key, facts }));
    let told = told(&saved, &bench.saved(&plan));
    assert!(told[0].starts_with("deploy:m: out: "), "{told:?}");
}

#[tokio::test]
async fn an_applied_plan_is_known_as_done() {
    let bench = applied().await;
    let plan = edited("deploy:m", "flag", 2);
    let saved = bench.saved(&plan);
    assert!(!saved.is_done(&bench.saved(&plan)));
    assert!(!saved.is_done(&bench.saved(&edited("deploy:m", "flag", 3))));
    bench.apply(&plan).await;
    let now = bench.saved(&plan);
    assert!(saved.is_done(&now), "{:?}", told(&saved, &now));
    // Nothing to do is never done: it can be applied again and again.
    assert!(!now.is_done(&bench.saved(&plan)) && now.moved(&bench.saved(&plan)).is_empty());
}

#[tokio::test]
async fn an_empty_cache_elsewhere_moves_nothing_and_builds_what_is_named() {
    let bench = applied().await;
    // Only a gateway runs: no files are needed.
    assert_eq!(bench.saved(&edited("gateway:m", "alias", 7)).rebuilt_if_missing, []);
    let plan = edited("deploy:m", "flag", 2);
    let saved = bench.saved(&plan);
    let named: Vec<&str> = saved.rebuilt_if_missing.iter().map(StepId::as_str).collect();
    assert_eq!(named, ["base:i", "image:i"]);
    let elsewhere = bench.elsewhere();
    elsewhere.world.evict("base:i");
    elsewhere.world.evict("image:i");
    let now = elsewhere.saved(&plan);
    assert_eq!(told(&saved, &now), [""; 0]);
    assert_eq!(told(&now, &saved), [""; 0], "nor the other way round");
    assert_eq!(now.rebuilt_if_missing, saved.rebuilt_if_missing);
    let report = elsewhere.apply(&plan).await;
    let allowed = |id: &&str| {
        let of = |step: &&SavedStep| step.id.as_str() == *id;
        named.contains(id) || saved.steps.iter().find(of).unwrap().action != Action::Fresh
    };
    assert!(ran(&report).iter().all(allowed), "{:?}", ran(&report));
}

#[tokio::test]
async fn trusted_rows_count_where_nothing_was_looked_at() {
    let mut bench = applied().await;
    bench.wishes.no_refresh = true;
    let plan = edited("deploy:m", "flag", 2);
    let saved = bench.saved(&plan);
    assert_eq!(ids(&bench.plan(&plan), Action::Run), ["deploy:m"]);
    assert!(saved.moved(&bench.saved(&plan)).is_empty());
    let told = told(&saved, &bench.elsewhere().saved(&plan));
    assert!(told[0].contains("→ nothing, as of the last run"), "{told:?}");
}
