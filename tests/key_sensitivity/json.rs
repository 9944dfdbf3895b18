//! What machines read: `plan --json`, `apply --json`, `status --json`; and that a plan is kept.

use serde_json::{Value, json};

use super::SPEC;
use super::support::project::Project;

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> =
        value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_plan_has_the_documented_fields_and_no_others() {
    let Some(project) = Project::applied() else { return };
    project.append(SPEC, "[env]\nGREETING = \"ciao\"\n");
    let plan = project.plan("").0;
    assert_eq!(
        keys(&plan),
        ["format_version", "models", "steps", "summary", "usd_per_hour", "warnings"]
    );
    assert_eq!(plan["format_version"], 1);
    let summary = json!({ "run": 1, "pending": 1, "fresh": 5, "remove": 0, "conflict": 0 });
    assert_eq!(plan["summary"], summary);
    for step in plan["steps"].as_array().unwrap() {
        let all = ["action", "id", "inputs", "key", "kind", "models", "observed", "reasons"];
        assert_eq!(keys(step), all);
        assert_eq!(step["models"], json!(["tiny"]));
        let id = step["id"].as_str().unwrap();
        assert_eq!(step["kind"], id.split_once(':').unwrap().0);
        if step["action"] == "pending" {
            assert_eq!(step["key"], Value::Null);
        } else {
            let key = step["key"].as_str().unwrap().strip_prefix("gb1-").expect("a key");
            assert!(key.len() == 40 && key.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        for reason in step["reasons"].as_array().unwrap() {
            assert_eq!(keys(reason), ["field", "kind", "new", "old"]);
        }
    }
    let deploy = plan["steps"].as_array().unwrap().iter().find(|it| it["id"] == "deploy:tiny");
    let deploy = deploy.unwrap();
    assert_eq!(deploy["inputs"], json!(["image:tiny", "weights:model"]));
    let reason = json!({ "kind": "changed", "field": "env.GREETING", "old": null, "new": "ciao" });
    assert_eq!(deploy["reasons"], json!([reason]));
}

#[test]
fn events_come_in_order_and_only_of_steps_that_run() {
    let Some(project) = Project::new() else { return };
    let applied = project.apply("");
    assert_eq!(applied.ran().len(), 4);
    assert_eq!(applied.events[0], json!({ "event": "apply_started", "format_version": 1 }));
    let place = |event: &str, id: &str| {
        let found = applied.events.iter().position(|it| it["event"] == event && it["id"] == id);
        found.unwrap_or_else(|| panic!("no {event} of {id}: {:#?}", applied.events))
    };
    let order = ["weights:model", "deploy:tiny", "smoke:tiny", "gateway:tiny"];
    for (id, next) in order.iter().zip(order.iter().skip(1)) {
        assert!(place("step_started", id) < place("step_finished", id));
        assert!(place("step_finished", id) < place("step_started", next));
    }
    for event in &applied.events[1..applied.events.len() - 1] {
        let id = event["id"].as_str().unwrap();
        assert!(order.contains(&id), "{event}");
        match event["event"].as_str().unwrap() {
            "step_started" => assert_eq!(keys(event), ["event", "id"]),
            "step_progress" => {
                assert_eq!(keys(event), ["done", "event", "expected", "id", "message"]);
            }
            "step_finished" => assert_eq!(event["outcome"], "ok"),
            other => panic!("{other}"),
        }
    }
    let end = applied.end();
    for list in ["ran", "cut_off", "failed", "blocked", "removed"] {
        assert!(end[list].is_array(), "{end}");
    }
    let again = project.apply("");
    assert_eq!(again.events.len(), 2, "{:?}", again.events);
    assert_eq!(again.stderr, "");
}

#[test]
fn status_tells_what_is_served_and_what_is_wanted() {
    let Some(project) = Project::new() else { return };
    let status = |project: &Project| -> Value {
        let ran = project.run("status --json").exits(0);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    assert_eq!(status(&project)["models"][0]["state"], "absent");
    project.apply("").ran();
    let now = status(&project);
    assert_eq!(now["format_version"], 1);
    let tiny = &now["models"][0];
    assert_eq!(tiny["state"], "running");
    assert_eq!(tiny["key"], tiny["wanted"]);
    assert_eq!(tiny["alias"], "tiny-local");
    assert_eq!(tiny["pid"], project.served("tiny").unwrap()["instance"]["pid"]);
    assert_eq!(tiny["url"], format!("http://127.0.0.1:{}/v1", project.port("tiny")));
    project.append(SPEC, "[env]\nGREETING = \"ciao\"\n");
    let tiny = &status(&project)["models"][0];
    assert_ne!(tiny["key"], tiny["wanted"]);
    assert!(tiny["verdict"].as_str().unwrap().contains("differs"));
}

/// Numbers that are the same in each run of the test.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A part of a spec that none of the others is in the way of.
fn section(edit: u64, value: u64) -> String {
    match edit {
        4 => format!("[gateway]\nalias = \"alias-{value}\"\n"),
        5 => format!("[serve]\nmax-inputs = {}\n", value + 1),
        6 => format!("[env]\nGREETING = \"{value}\"\n"),
        _ => "# nothing\n".to_owned(),
    }
}

#[test]
fn what_ran_is_what_was_planned_and_pending_at_most() {
    let Some(project) = Project::applied() else { return };
    let mut numbers = Numbers(20);
    let image = project.read("images/tiny.toml");
    let (server, spec) = (project.read("model/server.py"), project.read(SPEC));
    let (mut certain, mut possible) = (0, 0);
    for round in 0..10 {
        let mut wish = String::new();
        let mut told = Vec::new();
        let mut text = spec.clone();
        for _ in 0..=numbers.below(2) {
            let (edit, value) = (numbers.below(8), numbers.below(2));
            told.push((edit, value));
            match edit {
                0 => project.write("model/server.py", &format!("{server}# {value}\n")),
                1 => {
                    let image = format!("{image}env = {{ A = \"{value}\" }}\n");
                    project.write("images/tiny.toml", &image);
                }
                2 => project.kill("tiny"),
                3 => wish = "--replace image:tiny".to_owned(),
                _ => text += &section(edit, value),
            }
            // A section stands in a file once.
            if told.len() == 2 && told[0].0 == told[1].0 {
                text.clone_from(&spec);
            }
        }
        project.write(SPEC, &text);
        let plan = project.plan(&wish);
        let ran = project.apply(&wish).ran();
        let (run, pending) = (plan.ids("run"), plan.ids("pending"));
        let why = format!("round {round}, {told:?}: run {run:?}, pending {pending:?}, ran {ran:?}");
        assert!(run.iter().all(|id| ran.contains(id)), "{why}");
        assert!(ran.iter().all(|id| run.contains(id) || pending.contains(id)), "{why}");
        certain += run.len();
        possible += ran.iter().filter(|id| pending.contains(*id)).count();
        let after = project.plan("").0["summary"].clone();
        assert_eq!((&after["run"], &after["pending"]), (&0.into(), &0.into()), "{why}: {after}");
        assert!(project.ask("tiny").is_some(), "{why}");
    }
    // A plan that called everything possible would be true, and worth nothing.
    assert!(certain >= possible && possible > 0, "{certain} certain, {possible} possible");
}

#[test]
fn a_trace_holds_every_step_that_ran_within_the_time_of_the_apply() {
    let Some(project) = Project::new() else { return };
    let applied = project.apply("--trace trace.json");
    let trace: Value = serde_json::from_str(&project.read("trace.json")).expect("JSON");
    let spans = trace["traceEvents"].as_array().unwrap().iter().filter(|it| it["ph"] == "X");
    let (phases, steps): (Vec<_>, Vec<_>) = spans.partition(|it| it["cat"] == "phase");
    let mut ids: Vec<_> = steps.iter().map(|it| it["name"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, applied.ran());
    let end = applied.end()["seconds"].as_f64().unwrap() * 1e6;
    for span in steps.iter().chain(&phases) {
        let (began, took) = (span["ts"].as_f64().unwrap(), span["dur"].as_f64().unwrap());
        assert!(began + took <= end, "{span} ends after {end}");
    }
    assert!(phases.iter().any(|it| it["name"] == "a streamed chat completion"), "{phases:?}");
}

#[test]
fn a_trace_that_can_not_be_written_is_refused_before_anything_runs() {
    let Some(project) = Project::new() else { return };
    let refused = project.run("apply --trace no/such/trace.json").exits(64);
    refused.says(&["there is no directory no/such"]);
    assert_eq!(project.plan("").ids("fresh").len(), 3);
}
