//! What was spent, and what steps need that isn't there: told without asking a model anything.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Remote;
use super::support::hubbed::SPEC;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn more_than_a_budget_ends_with_2_and_names_who_is_up() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.append(SPEC, "\n[hardware]\ngpu = \"H100\"\n\n[serve]\nmin-containers = 1\n");
    project.apply("--yes").ran();
    remote.modal.calls();

    // Nobody may see a bill: what is up counts.
    let told = project.run("status --budget 100").exits(0);
    for part in
        ["within the budget of $100.00", "no bill is told", "table-4c19d2-tiny: 1 replica up"]
    {
        assert!(told.stdout.contains(part), "{}", told.stdout);
    }
    project.run("status --budget 0").exits(2);
    // No model was asked for that.
    let asked = remote.modal.calls();
    assert!(asked.iter().any(|call| call["rpc"] == "TaskList"), "{asked:?}");
    assert!(!asked.iter().any(|call| call["rpc"] == "FunctionGetInputs"), "{asked:?}");

    // The hours of today that are over, in this environment.
    let hour = |back: u64| (now() / 3600).saturating_sub(back) * 3600;
    let row = |environment: &str, at: u64, usd: &str| json!({"app": "ap-1", "name": "x", "environment": environment, "at": at, "usd": usd});
    let rows = json!([
        row("goat", hour(1), "20.5"),
        row("main", hour(1), "100"),
        row("goat", hour(0), "1000"),
        row("goat", hour(48), "1000"),
    ]);
    fs::write(remote.modal.kept().join("billing.json"), rows.to_string()).unwrap();
    let told = project.run("status --budget 20 --json");
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let spending = &told["spending"];
    // The hour before this one is of yesterday after midnight.
    let is_today = !(now() / 3600).is_multiple_of(24);
    let billed = if is_today { 20.5 } else { 0.0 };
    assert_eq!(spending["spent"][0]["billed_usd"], billed, "{spending}");
    assert_eq!(spending["is_over"], is_today, "{spending}");
    let running = &spending["spent"][0]["running"][0];
    assert_eq!(
        (&running["model"], &running["replicas"]),
        (&json!("tiny"), &json!(1)),
        "{spending}"
    );
    assert_eq!(running["usd_per_hour"], 3.95, "{spending}");
}

#[test]
fn a_secret_that_a_step_needs_is_looked_up_before_anything_runs() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    // As it is where the lock is from before, or of a mirror.
    remote.hubbed.hub.tell_no_access();
    project.edit("goatbuild.toml", "[target.modal]\n", "[target.modal]\nhf-secret = \"hub\"\n");
    let missing = "weights:acme/tiny can't run: Modal has no secret hub in the environment goat";
    project.run("plan").exits(0).says(&[missing, "modal secret create --env goat hub"]);
    remote.modal.calls();
    project.run("apply --yes").exits(1).says(&["goatbuild::target::lacks", missing]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    // A secret of that name with something else in it.
    remote.client(&["secret", "create", "--env", "goat", "hub", "OTHER=x"]);
    project.run("apply --yes").exits(1).says(&["has no HF_TOKEN"]);
    remote.client(&["secret", "create", "--force", "--env", "goat", "hub", "HF_TOKEN=x"]);
    assert!(!project.run("plan").exits(0).stdout.contains("secret hub"));
    // Who needs no secret is not asked for one.
    project.run("apply --yes --only image:tiny").exits(0);

    // Without credentials nobody looked, which is no pass.
    let mut remote = remote;
    remote.hubbed.project.variable("MODAL_TOKEN_ID", "");
    remote.hubbed.project.variable("MODAL_TOKEN_SECRET", "");
    let told = remote.hubbed.project.run("check").exits(0).stdout;
    assert!(told.contains("· modal: not looked at: no credentials"), "{told}");
}

#[test]
fn the_secret_of_the_hub_is_demanded_only_for_what_not_everybody_may_have() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.edit("goatbuild.toml", "[target.modal]\n", "[target.modal]\nhf-secret = \"hub\"\n");
    let missing = "Modal has no secret hub in the environment goat";
    let is_told = || {
        let told = project.run("plan").exits(0);
        (told.stdout + &told.stderr).contains(missing)
    };
    project.run("lock").exits(0);
    let public = project.read("goatbuild.lock");
    assert!(public.contains("access = \"public\"\n"), "{public}");
    assert!(!is_told());
    let keys = |lock: &str| {
        project.write("goatbuild.lock", lock);
        project.plan("").step("weights:acme/tiny")["key"].clone()
    };
    // Gated, and locked before anybody asked for that: as ever. No key knows of it.
    let key = keys(&public);
    for other in ["access = \"gated\"\n", "access = \"private\"\n", ""] {
        let lock = public.replace("access = \"public\"\n", other);
        assert_eq!(keys(&lock), key, "{other}");
        assert!(is_told(), "{other}");
        project.run("apply --yes").exits(1).says(&["goatbuild::target::lacks", missing]);
    }
    // Whoever is asked again says it, and then nothing is demanded.
    project.run("lock --upgrade acme/tiny").exits(0).says(&["locked who may fetch it"]);
    assert_eq!(project.read("goatbuild.lock"), public);
    remote.modal.calls();
    project.run("apply --yes --only weights:acme/tiny").exits(0);
    let secrets = |remote: &Remote| {
        let calls = remote.modal.calls();
        calls.iter().filter(|call| call["rpc"] == "SecretGetOrCreate").count()
    };
    assert_eq!(secrets(&remote), 0);
    // One that is there is given all the same: hubs let those ask for more whom they know.
    remote.client(&["secret", "create", "--env", "goat", "hub", "HF_TOKEN=hf_x"]);
    remote.modal.calls();
    project.run("apply --yes --only weights:acme/tiny --replace weights:acme/tiny").exits(0);
    assert!(secrets(&remote) > 0);
}

#[test]
fn a_sum_is_at_least_so_much_where_something_is_up_whose_price_nobody_knows() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    let status = || {
        let told = project.run("status --budget 100 --json").exits(0).stdout;
        serde_json::from_str::<Value>(&told).unwrap()["spending"].clone()
    };
    assert_eq!(status()["is_at_least"], false);
    let script = "import modal\napp = modal.App('stranger')\n\
        @app.function(min_containers=1)\n@modal.web_server(8000)\ndef serve():\n\
        \x20   import subprocess\n    subprocess.Popen(['python', '-m', 'http.server', '8000'])\n";
    let file = remote.hubbed.home.path().join("stranger.py");
    fs::write(&file, script).unwrap();
    remote.client(&["deploy", "--env", "goat", file.to_str().unwrap()]);
    super::support::eventually("it is up", || status()["is_at_least"] == true);
    let told = project.run("status --budget 100").exits(0).stdout;
    assert!(told.contains("today (UTC): at least $0.00"), "{told}");
    assert!(told.contains("at a price that is not known, and not counted"), "{told}");
    remote.client(&["app", "stop", "--yes", "--env", "goat", "stranger"]);
}

#[test]
fn offline_asks_nothing_of_modal() {
    let Some(remote) = Remote::applied() else { return };
    let project = &remote.hubbed.project;
    remote.modal.calls();
    let why = "Modal is not asked anything, with --offline";
    let plan = project.run("--offline plan").exits(0);
    plan.says(&["not looked at, so never called fresh", why]);
    project.run("--offline status").exits(0).says(&[why]);
    let check = project.run("--offline check").exits(0).stdout;
    assert!(check.contains(&format!("· modal: not looked at: {why}")), "{check}");
    project.run("--offline status --budget 1").exits(1).says(&["goatbuild::modal::offline"]);
    project.run("--offline lock --prices").exits(1).says(&["goatbuild::modal::offline"]);
    project.run("--offline apply --yes").exits(3).says(&[why]);
    project.run("--offline logs tiny").exits(1).says(&["goatbuild::modal::offline"]);
    assert_eq!(remote.modal.calls(), [] as [Value; 0]);
}
