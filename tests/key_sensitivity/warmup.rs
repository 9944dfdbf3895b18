//! Compile caches: warmed once per key, by warm-up alone.

use std::path::{Path, PathBuf};

use serde_json::Value;

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

const VOLUME: &str = "../state/table-4c19d2/default/volumes/table-4c19d2-vllm-cache";

fn key(project: &Project) -> String {
    project.plan("").step("warmup:tiny")["key"].as_str().unwrap().to_owned()
}

fn receipt(project: &Project) -> Value {
    let receipt = project.read(&format!("{VOLUME}/.goatbuild/warmup-{}.json", key(project)));
    serde_json::from_str(&receipt).unwrap()
}

/// The files that a receipt speaks for in one of the caches.
fn files<'a>(receipt: &'a Value, cache: &str) -> Vec<&'a str> {
    let files = receipt["files"][format!("table-4c19d2-{cache}-cache")].as_object();
    files.expect("a cache").keys().map(String::as_str).collect()
}

/// The caches that the deployment writes, as they are called; each with what is in it.
fn own_caches(project: &Project) -> Vec<(String, PathBuf)> {
    let caches = project.state().join("table-4c19d2/default/caches/tiny");
    let entries = std::fs::read_dir(caches).into_iter().flatten().map(Result::unwrap);
    entries.map(|it| (it.file_name().into_string().unwrap(), it.path())).collect()
}

/// What the server wrote of its key's factors into the compile cache, and its deployment into its copy
/// of that, values and all.
fn told(project: &Project) -> Vec<(PathBuf, Value)> {
    let mut files = files_below(&project.state());
    files.retain(|file| file.ends_with("cache_key_factors.json"));
    let read = |file: PathBuf| {
        let text = std::fs::read(&file).unwrap();
        (file, serde_json::from_slice(&text).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// Every file but what is shared with other projects, and is older than this test.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let shared = ["oci", "debs", "wheels", "tools", "roots"];
    let entries = walkdir::WalkDir::new(directory)
        .into_iter()
        .filter_entry(|entry| !shared.contains(&&*entry.file_name().to_string_lossy()));
    let files = entries.map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    files.map(walkdir::DirEntry::into_path).collect()
}

/// Fails the test when a value stands anywhere but in the server's own files.
fn expect_untold(project: &Project, value: &str, except: &[(PathBuf, Value)]) {
    for place in [project.root(), project.state()] {
        let files = files_below(&place);
        assert!(!files.is_empty(), "{}", place.display());
        for file in files.iter().filter(|file| !except.iter().any(|(own, _)| own == *file)) {
            let bytes = std::fs::read(file).unwrap();
            let told = bytes.windows(value.len()).any(|window| window == value.as_bytes());
            assert!(!told, "{value} in {}", file.display());
        }
    }
}

fn compilations(project: &Project) -> (usize, usize) {
    let log = project.run("logs tiny").exits(0).stdout;
    (log.matches("starting").count(), log.matches("compiling").count())
}

#[test]
fn a_warm_cache_has_a_receipt_and_is_served_from() {
    let Some(project) = compiling() else { return };
    assert_eq!(compilations(&project), (3, 1), "twice to warm up, once to serve; compiled once");
    let (key, receipt) = (key(&project), receipt(&project));
    assert_eq!(files(&receipt, "vllm"), ["graph.bin"]);
    assert_eq!(files(&receipt, "flashinfer"), ["kernel.so"]);
    assert_eq!(receipt["key"], key.as_str());
    assert_eq!(receipt["factors"], serde_json::json!({}), "this one tells none");
    expect_nothing(&project);
    // A file of a warm cache that is gone is drift.
    std::fs::remove_file(project.root().join(format!("{VOLUME}/{key}/graph.bin"))).unwrap();
    assert_eq!(project.plan("").why("warmup:tiny"), ["drift graph.bin"]);
    expect(&project, &Expected { run: &["warmup:tiny"], pending: &[], ran: &["warmup:tiny"] });
    assert_eq!(compilations(&project), (5, 2));
}

#[test]
fn a_deployment_writes_into_a_copy_of_its_own() {
    let Some(project) = compiling() else { return };
    let key = key(&project);
    let starts = |directory: &Path| {
        std::fs::read_to_string(directory.join("starts.log")).unwrap().lines().count()
    };
    let warmed = ["vllm", "flashinfer"]
        .map(|cache| project.volumes().join(format!("table-4c19d2-{cache}-cache/{key}")));
    let own = |project: &Project| {
        let [(_, own)] = &own_caches(project)[..] else { panic!("{:?}", own_caches(project)) };
        ["vllm", "flashinfer"].map(|cache| own.join(format!("table-4c19d2-{cache}-cache")))
    };
    let first = own(&project);
    for (warmed, own) in warmed.iter().zip(&first) {
        assert_eq!((starts(warmed), starts(own)), (2, 3));
    }
    // The next one begins with what was warmed, and the copy before it goes.
    super::choose_runtime(&project, "embedded", "auto");
    super::expect_redeployed(&project);
    for (warmed, own) in warmed.iter().zip(&own(&project)) {
        assert_eq!((starts(warmed), starts(own)), (2, 3));
    }
    assert!(!first[0].exists());
    // What a start left that was cut short goes, too.
    let left = format!("table-4c19d2/default/caches/tiny/{}", "0".repeat(32));
    std::fs::create_dir_all(project.state().join(&left)).unwrap();
    super::choose_runtime(&project, "auto", "embedded");
    super::expect_redeployed(&project);
    assert!(!project.state().join(left).exists());
    project.run("destroy tiny --yes").exits(0);
    assert_eq!(own_caches(&project), []);
}

#[test]
fn a_model_without_a_warm_up_has_caches_that_last_and_sees_no_others() {
    let Some(project) = compiling() else { return };
    project.edit(SPEC, "compiles = true\n", "");
    super::choose_runtime(&project, "embedded", "auto");
    super::expect_redeployed(&project);
    // What others warmed is not there, so it compiles; and what it compiled is there the next time.
    assert_eq!(compilations(&project), (4, 2));
    super::choose_runtime(&project, "auto", "embedded");
    super::expect_redeployed(&project);
    assert_eq!(compilations(&project), (5, 2));
    let [(name, own)] = &own_caches(&project)[..] else { panic!("{:?}", own_caches(&project)) };
    assert_eq!(name, "lasting");
    let mut files = files_below(own);
    files.sort();
    let names = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap());
    let names: Vec<&str> = names.collect();
    assert_eq!(names, ["kernel.so", "starts.log", "graph.bin", "starts.log"]);
}

#[test]
fn what_a_killed_warm_up_left_is_not_taken_for_warm() {
    let Some(project) = Project::new() else { return };
    project.append(SPEC, COMPILES);
    let partial = format!("{VOLUME}/{}/graph.bin", key(&project));
    project.write(&partial, "comp");
    assert!(project.apply("").ran().contains(&"warmup:tiny".to_owned()));
    assert_eq!(compilations(&project), (3, 1));
    assert_eq!(project.read(&partial), "compiled");
}

#[test]
fn a_server_that_compiles_anew_under_the_same_name_is_refused() {
    let Some(project) = Project::new() else { return };
    project.append(SPEC, &COMPILES.replace("once", "anew"));
    let applied = project.apply("");
    assert_eq!(applied.ids("failed"), ["warmup:tiny"]);
    let error = &applied.end()["errors"][0];
    assert_eq!(error["error"], "tiny: the second start compiled again: it wrote graph.bin");
}

#[test]
fn a_second_start_that_is_quick_and_writes_something_is_warned_about() {
    let Some(project) = Project::new() else { return };
    project.append(SPEC, &COMPILES.replace("once", "late"));
    let words = "the second start of tiny was quick, and still wrote late-";
    project.run("apply --only warmup:tiny").exits(0).says(&[words]);
    // A graph that is written again was compiled again, however quickly.
    project.edit(SPEC, "late", "reloading");
    let refused = project.run("apply --only warmup:tiny").exits(1);
    refused.says(&["goatbuild::local::cold", "torch_aot_compile/0abc/rank_0_0/model"]);
}

#[test]
fn only_what_reaches_the_compiler_warms_up_again() {
    let Some(project) = compiling() else { return };
    super::choose_runtime(&project, "embedded", "auto");
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

#[test]
fn a_receipt_keeps_what_the_cache_key_was_made_of_and_no_value() {
    let Some(project) = Project::new() else { return };
    project.append(SPEC, &COMPILES.replace("once", "keyed"));
    let applied = project.apply("");
    assert!(applied.ran().contains(&"warmup:tiny".to_owned()));
    assert_eq!(compilations(&project), (3, 1));
    let receipt = receipt(&project);
    let written = files(&receipt, "vllm");
    assert_eq!((written.len(), files(&receipt, "flashinfer").len()), (2, 0));
    let told_by = receipt["factors"].as_object().unwrap();
    assert_eq!(told_by.len(), 1);
    let (file, factors) = told_by.iter().next().unwrap();
    assert!(written.contains(&file.as_str()), "{receipt}");
    let factors = factors.as_object().unwrap();
    let names: Vec<&String> = factors.keys().collect();
    assert_eq!(names, ["code_hash", "config.max_model_len", "env.HOME", "env.VLLM_API_KEY"]);
    for (name, digest) in factors {
        let digits = digest.as_str().map(str::len);
        assert_eq!(digits, (name != "env.VLLM_API_KEY").then_some(32), "{name}: {digest}");
    }
    let told = told(&project);
    let secret = told[0].1["env"]["VLLM_API_KEY"].as_str().unwrap();
    assert!(secret.starts_with("sk-"), "{secret}");
    expect_untold(&project, secret, &told);
    assert!(!format!("{:?}{}", applied.events, applied.stderr).contains(secret));
    expect_nothing(&project);
}

#[test]
fn a_second_compilation_names_the_factor_that_differed_and_no_value() {
    let Some(project) = Project::new() else { return };
    project.append(SPEC, &COMPILES.replace("once", "unsteady"));
    let applied = project.apply("");
    assert_eq!(applied.code, 1);
    assert_eq!(applied.ids("failed"), ["warmup:tiny"]);
    let error = &applied.end()["errors"][0];
    assert_eq!(error["code"], "goatbuild::local::cold");
    let message =
        "tiny: the second start compiled again: its cache key differs in env.VLLM_API_KEY";
    assert_eq!(error["error"], message);
    assert!(!project.root().join(VOLUME).join(".goatbuild").exists(), "a receipt");
    let told = told(&project);
    assert_eq!(told.len(), 2, "one for each start");
    for (_, factors) in &told {
        let secret = factors["env"]["VLLM_API_KEY"].as_str().unwrap();
        expect_untold(&project, secret, &told);
        assert!(!format!("{:?}{}", applied.events, applied.stderr).contains(secret));
    }
}

#[test]
fn what_is_never_to_be_warmed_has_no_warmup_step() {
    let Some(project) = Project::new() else { return };
    project.append(SPEC, &format!("{COMPILES}[serve]\nwarmup = \"never\"\n"));
    assert!(!project.plan("").0.to_string().contains("warmup:tiny"));
}
