//! What is taken for granted of Modal, tried out at the double: there it is so, but for what is said.

use super::Remote;

/// Those that take no time. Of a version that is deployed over, `rolling` wants twenty answers.
const QUICK: &str = "--row order --row gpu --row max-inputs --row prices --row auth --row tag --row rollback \
                     --row crash --row volume --row lease --row builder --row second-start \
                     --row environ --row snapshot";

#[test]
fn what_is_taken_for_granted_is_tried_out_and_nothing_of_it_stays() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    // Nothing is tried with a model that isn't there, or for more than was allowed.
    project.run("check --live tiny").exits(64).says(&["--max-cost"]);
    project
        .run("check --live tiny --max-cost 1 --row no")
        .exits(64)
        .says(&["there is no row `no`"]);
    let row = "check --live tiny --max-cost 9 --row builder";
    project.append(super::support::hubbed::SPEC, "\n[hardware]\ngpu = \"H100\"\n");
    project.append("goatbuild.toml", "\n[gpu]\nH100 = { vram-gib = 80, usd-per-hour = 4.5 }\n");
    project.run(row).exits(1).says(&["goatbuild::test::not_deployed"]);
    project.apply("--yes").ran();
    let dear = project.run(&row.replace('9', "0.01")).exits(3);
    dear.says(&["this may cost up to $", "asking tiny"]);
    let before = project.run("plan --json").exits(0).stdout;
    remote.modal.calls();

    let tried = project.run(&format!("check --live tiny --max-cost 9 {QUICK}")).exits(0);
    for name in
        ["order", "gpu", "max-inputs", "auth", "tag", "rollback", "crash", "volume", "lease"]
    {
        assert!(tried.stdout.contains(&format!("✓ {name}: ")), "{name}: {}", tried.stdout);
    }
    assert!(tried.stdout.contains("✓ builder: "), "{}", tried.stdout);
    // Nobody may see them there.
    for name in ["prices", "second-start", "environ", "snapshot"] {
        assert!(tried.stdout.contains(&format!("· {name}: ")), "{name}: {}", tried.stdout);
    }
    let rates =
        serde_json::json!({"rates": {"gpu_hour_cost_h100": "3.95", "cpu_hour_cost": "0.0473"}});
    std::fs::write(remote.modal.kept().join("rates.json"), rates.to_string()).unwrap();
    let prices = project.run("check --live tiny --max-cost 9 --row prices").exits(1).stdout;
    assert!(prices.contains("✗ prices: "), "{prices}");
    assert!(prices.contains("none of memory; 2 of 2 taken"), "{prices}");
    // Nothing of it is left, and nothing that is served was touched.
    let apps = remote.client(&["app", "list", "--env", "goat", "--json"]);
    let left: serde_json::Value = serde_json::from_str(&apps).unwrap();
    let up = left.as_array().unwrap().iter().filter(|app| app["state"] == "deployed");
    let names: Vec<&str> = up.map(|app| app["description"].as_str().unwrap()).collect();
    assert_eq!(names, ["table-4c19d2-tiny"], "{apps}");
    let volumes = remote.client(&["volume", "list", "--env", "goat", "--json"]);
    assert!(!volumes.contains("trial"), "{volumes}");
    assert_eq!(project.run("plan --json").exits(0).stdout, before);

    // A client beats every 15 s, so that in less nobody counts as gone but here.
    remote.modal.faults(&serde_json::json!({"heartbeat_seconds": 3}));
    let killed = project.run("check --live tiny --max-cost 9 --row killed").exits(0);
    assert!(killed.stdout.contains("✓ killed: "), "{}", killed.stdout);

    // Where something is otherwise, it says so: addresses of the double are on this machine.
    let otherwise = project.run("check --live tiny --max-cost 9 --row label").exits(1);
    assert!(otherwise.stdout.contains("✗ label: "), "{}", otherwise.stdout);
}

#[test]
fn the_rows_are_those_of_the_documentation() {
    let page = include_str!("../../docs/modal.md");
    let table = page.split("## What only a real run can show").nth(1).expect("the section");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut told: Vec<&str> = rows.collect();
    let source = include_str!("../../src/targets/modal/trial.rs");
    let list = source.split("const ASSUMPTIONS").nth(1).expect("the list");
    let list = list.split("];").next().expect("its end");
    let names = list.split("(\"").skip(1).map(|rest| rest.split('"').next().expect("a name"));
    let mut known: Vec<&str> = names.collect();
    told.sort_unstable();
    known.sort_unstable();
    assert_eq!(told, known);
}
