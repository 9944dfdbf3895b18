//! Compile caches: warmed once per key, by warm-up alone.

use super::support::project::Project;
use super::{Expected, SPEC, expect, expect_nothing};

const COMPILES: &str = "compiles = true\n\n[env]\nCOMPILE = \"once\"\n";

fn compiling() -> Option<Project> {
    let project = Project::new()?;
    project.append(SPEC, COMPILES);
    let ran = ["deploy:tiny", "gateway:tiny", "smoke:tiny", "warmup:tiny", "weights:model"];
    assert_eq!(project.apply("").ran(), ran);
    Some(project)
}

fn compilations(project: &Project) -> (usize, usize) {
    let log = project.run("logs tiny").exits(0).stdout;
    (log.matches("starting").count(), log.matches("compiling").count())
}

#[test]
fn a_warm_cache_has_a_receipt_and_is_served_from() {
    let Some(project) = compiling() else { return };
    assert_eq!(compilations(&project), (3, 1), "twice to warm up, once to serve; compiled once");
    let key = project.plan("").step("warmup:tiny")["key"].as_str().unwrap().to_owned();
    let volume = "cache/volumes/table-4c19d2-vllm-cache";
    let receipt = project.read(&format!("{volume}/.goatbuild/warmup-{key}.json"));
    let receipt: serde_json::Value = serde_json::from_str(&receipt).unwrap();
    assert_eq!(receipt["files"], serde_json::json!(["graph.bin"]));
    assert_eq!(receipt["key"], key.as_str());
    expect_nothing(&project);
    // A file of a warm cache that is gone is drift.
    std::fs::remove_file(project.root().join(format!("{volume}/{key}/graph.bin"))).unwrap();
    assert_eq!(project.plan("").why("warmup:tiny"), ["drift graph.bin"]);
    expect(&project, &Expected { run: &["warmup:tiny"], pending: &[], ran: &["warmup:tiny"] });
    assert_eq!(compilations(&project), (5, 2));
}

#[test]
fn only_what_reaches_the_compiler_warms_up_again() {
    let Some(project) = compiling() else { return };
    project.append(SPEC, "[serve]\nmax-inputs = 4\n");
    super::expect_redeployed(&project);
    project.edit(SPEC, "COMPILE = \"once\"", "COMPILE = \"once\"\nGREETING = \"salut\"");
    let ran = &["warmup:tiny", "deploy:tiny", "smoke:tiny"];
    let run = &["warmup:tiny", "deploy:tiny"];
    expect(&project, &Expected { run, pending: &["smoke:tiny"], ran });
    // The way back finds the first cache still warm.
    project.edit(SPEC, "\nGREETING = \"salut\"", "");
    super::expect_redeployed(&project);
    assert_eq!(compilations(&project).1, 2);
}

#[test]
fn timing_a_warmup_again_restarts_nothing() {
    let Some(project) = compiling() else { return };
    let instance = project.instance("tiny");
    assert_eq!(project.apply("--replace warmup:tiny").ran(), ["warmup:tiny"]);
    assert_eq!(project.instance("tiny"), instance);
}

#[test]
fn a_fast_boot_has_no_warmup_step() {
    let Some(project) = compiling() else { return };
    project.append(SPEC, "[serve]\nfast-boot = true\n");
    let plan = project.plan("");
    assert_eq!(plan.ids("run"), ["deploy:tiny"]);
    assert!(!plan.0.to_string().contains("warmup:tiny"));
    super::expect_redeployed(&project);
}

#[test]
fn a_server_that_compiles_at_each_start_is_refused() {
    let Some(project) = Project::new() else { return };
    project.append(SPEC, &COMPILES.replace("once", "always"));
    let applied = project.apply("");
    assert_eq!(applied.code, 1);
    assert_eq!(applied.ids("failed"), ["warmup:tiny"]);
    assert_eq!(applied.ids("blocked"), ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
    let error = &applied.end()["errors"][0];
    assert_eq!(error["code"], "goatbuild::local::cold");
    assert!(error["error"].as_str().unwrap().contains(".bin"), "{error}");
    assert!(project.plan("").why("warmup:tiny").contains(&"failed-before".to_owned()));
    project.append(SPEC, "[serve]\nwarmup = \"never\"\n");
    let ran = ["deploy:tiny", "gateway:tiny", "smoke:tiny"];
    assert_eq!(project.apply("").ran(), ran);
}
