//! What Modal says that it bills, asked for and kept in the lock.

use std::fs;

use serde_json::{Value, json};

use super::Remote;
use super::support::hubbed::SPEC;

/// As somebody kept `modal billing rates --json` in September 2026, but for an H100, which is dearer here.
fn rates() -> Value {
    json!({
        "cpu_hour_cost": "0.04730",
        "cpu_hour_cost_sandbox": "0.141900",
        "gpu_hour_cost_a100_80gb": "2.50000",
        "gpu_hour_cost_b300": "7.10000",
        "gpu_hour_cost_h100": "5.00000",
        "gpu_hour_cost_h200": "4.54000",
        "mem_gib_hour_cost": "0.00800",
        "volume_storage_gib_month_cost": "0.09000",
    })
}

/// Has the double tell these.
fn tells(remote: &Remote, rates: &Value) {
    let told = json!({"rates": rates, "gone": ["gpu_hour_cost_h200"]});
    fs::write(remote.modal.kept().join("rates.json"), told.to_string()).unwrap();
}

fn price_of_a_replica(remote: &Remote) -> Value {
    let plan = remote.hubbed.project.run("plan --json").exits(0).stdout;
    serde_json::from_str::<Value>(&plan).unwrap()["models"][0]["usd_per_hour"].clone()
}

#[test]
fn prices_are_asked_for_kept_and_counted_with() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.append(SPEC, "\n[hardware]\ngpu = \"H100\"\ncpu = 2\n");
    project.run("lock").exits(0);
    let before = project.read("goatbuild.lock");
    let keys = |plan: &str| {
        let plan: Value = serde_json::from_str(plan).unwrap();
        let steps = plan["steps"].as_array().unwrap().iter();
        steps.map(|step| (step["id"].clone(), step["key"].clone())).collect::<Vec<_>>()
    };
    let keys_before = keys(&project.run("plan --json").exits(0).stdout);

    // Who may not see them, and where there is no such call: the lock stays as it is.
    let refused = project.run("lock --prices").exits(1);
    refused.says(&["goatbuild::modal::no_prices", "do not have permission", "[gpu]"]);
    fs::write(remote.modal.kept().join("rates.json"), "null").unwrap();
    project
        .run("lock --prices")
        .exits(1)
        .says(&["goatbuild::modal::no_prices", "Method not found"]);
    assert_eq!(project.read("goatbuild.lock"), before);

    tells(&remote, &rates());
    let only_shown = project.run("lock --prices --locked").exits(0);
    assert!(only_shown.stdout.contains("gpu_hour_cost_h100"), "{}", only_shown.stdout);
    assert_eq!(project.read("goatbuild.lock"), before);
    let told = project.run("lock --prices").exits(0).stdout;
    for part in [
        "prices of Modal",
        "H100, H100!",
        "$5/h, 26.6 % more than the $3.95 of goatbuild's list",
        "$0.0473/h, 0.3 % more than the $0.04716",
        "7.10000, not taken: goatbuild knows no such GPU: [gpu] can name it",
        "0.141900, not taken: nothing that goatbuild counts",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // What Modal gives up is not taken.
    assert!(!told.contains("h200"), "{told}");
    let locked = project.read("goatbuild.lock");
    assert!(locked.contains("[prices.modal]\nasked = \"20"), "{locked}");
    assert!(locked.contains("[prices.modal.gpu]\nA100-80GB = 2.5\nH100 = 5.0\n"), "{locked}");

    // Over goatbuild's list, and below the project's file; no key has them, and `lock` keeps them.
    assert_eq!(price_of_a_replica(&remote), 5.0946);
    let shown = project.run("show tiny").exits(0).stdout;
    let line = shown.lines().find(|line| line.contains("gpu.H100.usd-per-hour")).unwrap();
    assert!(line.contains("= 5 ") && line.ends_with("# goatbuild.lock"), "{shown}");
    assert_eq!(keys(&project.run("plan --json").exits(0).stdout), keys_before);
    project.run("lock").exits(0);
    assert_eq!(project.read("goatbuild.lock"), locked);
    project.append("goatbuild.toml", "\n[gpu]\nH100 = { usd-per-hour = 3.0 }\n");
    assert_eq!(price_of_a_replica(&remote), 3.0946);
    let told = project.run("lock --prices").exits(0).stdout;
    assert!(told.contains("goatbuild.toml says $3, which wins"), "{told}");

    // A month later, that they are old is told, and no error.
    let old = "prices of Modal are from 2026-01-02: `goatbuild lock --prices` asks again";
    assert!(!project.run("plan").exits(0).stderr.contains("prices of Modal"));
    let locked = project.read("goatbuild.lock");
    let (start, rest) = locked.split_once("asked = \"").unwrap();
    let rest = rest.split_once('"').unwrap().1;
    let aged = format!("{start}asked = \"2026-01-02T03:04:05Z\"{rest}");
    fs::write(project.root().join("goatbuild.lock"), aged).unwrap();
    project.run("plan").exits(0).says(&[old]);
}

#[test]
fn names_and_units_that_are_others_are_taken_only_where_they_are_borne_out() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    // By the second, as modal.com/pricing has them.
    let by_the_second = json!({
        "NVIDIA H100": "0.001097",
        "CPU physical core per second": "0.0000131",
        "Memory GiB per second": "0.00000222",
        "NVIDIA A100, 80 GB": "2.5",
        "H200": "100",
    });
    tells(&remote, &by_the_second);
    let told = project.run("lock --prices").exits(0).stdout;
    assert!(told.contains("too far from the $4.54 an hour of goatbuild's list"), "{told}");
    let locked = project.read("goatbuild.lock");
    assert!(locked.contains("A100-80GB = 2.5\nH100 = 3.949"), "{locked}");
    assert!(!locked.contains("H200"), "{locked}");

    // Nothing of it is understood: told name by name, and the list counts.
    tells(&remote, &json!({"compute-unit": "1"}));
    let kept = "nothing that Modal tells was taken: the lock stays as it is";
    let told = project.run("lock --prices").exits(0).says(&[kept]).stdout;
    assert!(told.contains("1, not taken: nothing that goatbuild counts"), "{told}");
    assert_eq!(project.read("goatbuild.lock"), locked);

    // What is told of a part leaves the rest as it was.
    tells(&remote, &json!({"gpu_hour_cost_h100": "4.5"}));
    let untold =
        "Modal tells no price of cpu, memory, A100-80GB that was taken: the lock keeps what it had";
    project.run("lock --prices").exits(0).says(&[untold]);
    let locked = project.read("goatbuild.lock");
    assert!(locked.contains("A100-80GB = 2.5\nH100 = 4.5\n"), "{locked}");
    assert!(locked.contains("cpu = 0.047"), "{locked}");
}
