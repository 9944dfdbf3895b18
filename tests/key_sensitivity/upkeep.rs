//! What is found when the world, not a spec, has changed.

use super::support::project::Project;
use super::{Expected, SPEC, expect, expect_nothing};

#[test]
fn an_empty_cache_recognises_what_is_deployed() {
    let Some(project) = Project::applied() else { return };
    let (instance, gateway) = (project.instance("tiny"), project.read("litellm.yaml"));
    std::fs::remove_dir_all(project.root().join("cache")).unwrap();
    let plan = project.plan("");
    assert_eq!(plan.ids("fresh").len(), 7, "{}", plan.0);
    expect_nothing(&project);
    assert_eq!(project.instance("tiny"), instance);
    assert_eq!(project.read("litellm.yaml"), gateway);
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
}

#[test]
fn evicted_blobs_are_made_again_when_something_that_runs_needs_them() {
    let Some(project) = Project::applied() else { return };
    std::fs::remove_dir_all(project.root().join("cache/oci")).unwrap();
    expect_nothing(&project);
    project.append(SPEC, "[env]\nGREETING = \"again\"\n");
    let plan = project.plan("");
    assert_eq!(plan.why("image:tiny"), ["evicted deploy:tiny"]);
    assert_eq!(plan.why("base:tiny"), ["evicted image:tiny"]);
    let run = &["base:tiny", "wheels:tiny/pip", "image:tiny", "deploy:tiny"];
    let lock = project.read("goatbuild.lock");
    let ran = &["base:tiny", "wheels:tiny/pip", "image:tiny", "deploy:tiny", "smoke:tiny"];
    expect(&project, &Expected { run, pending: &["smoke:tiny"], ran });
    assert_eq!(project.read("goatbuild.lock"), lock, "the same bytes were built");
    assert_eq!(project.ask("tiny").as_deref(), Some("again"));
}

#[test]
fn a_killed_server_is_started_again_on_its_port() {
    let Some(project) = Project::applied() else { return };
    let (port, gateway) = (project.port("tiny"), project.read("litellm.yaml"));
    project.kill("tiny");
    project.run("status").exits(0).says(&["tiny", "stopped", "`goatbuild apply` starts it again"]);
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["drift process"]);
    super::expect_redeployed(&project);
    assert_eq!(project.port("tiny"), port);
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
    assert_eq!(project.read("litellm.yaml"), gateway);
}

#[test]
fn a_killed_server_is_not_missed_without_refresh() {
    let Some(project) = Project::applied() else { return };
    project.kill("tiny");
    let plan = project.plan("--no-refresh");
    assert_eq!(plan.ids("run"), [""; 0]);
    assert_eq!(plan.step("deploy:tiny")["observed"], false);
    let refused = project.run("plan --no-refresh --require-observed").exits(3);
    refused.says(&["could not be looked at", "deploy:tiny"]);
}

#[test]
fn a_version_that_crashes_gives_way_to_the_old_one() {
    let Some(project) = Project::applied() else { return };
    let (port, gateway) = (project.port("tiny"), project.read("litellm.yaml"));
    let (spec, instance) = (project.read(SPEC), project.instance("tiny"));
    project.append(SPEC, "[env]\nMODE = \"crash\"\n");
    let applied = project.apply("");
    assert_eq!(applied.code, 1);
    assert_eq!(applied.ids("failed"), ["deploy:tiny"]);
    assert_eq!(applied.ids("blocked"), ["smoke:tiny"]);
    let error = &applied.end()["errors"][0];
    assert_eq!(error["code"], "goatbuild::local::ended");
    let text = error["error"].as_str().unwrap();
    assert!(text.contains("no kernel image is available"), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.contains("the server ended with status 1"), "not what was put back: {last}");
    assert!(text.contains("the old server runs again"), "{text}");
    assert_eq!(project.port("tiny"), port);
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
    assert_eq!(project.read("litellm.yaml"), gateway);
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["changed env.MODE", "failed-before"]);
    assert_eq!(plan.why("smoke:tiny"), ["drift instance", "input deploy:tiny"]);
    project.run("why deploy:tiny").exits(0).says(&["failed before", "last failed"]);
    // Going back: the old server runs, as an instance that nobody has tried.
    project.write(SPEC, &spec);
    let plan = project.plan("");
    let reason = &plan.step("smoke:tiny")["reasons"][0];
    assert_eq!(
        (&reason["old"], &reason["new"]),
        (&instance.into(), &project.instance("tiny").into())
    );
    expect(&project, &Expected { run: &["smoke:tiny"], pending: &[], ran: &["smoke:tiny"] });
    project.append(SPEC, "[env]\nMODE = \"crash\"\n");
    assert_eq!(project.apply("").code, 1);
    project.edit(SPEC, "crash", "fine");
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed env.MODE"]);
    let again = &["deploy:tiny", "smoke:tiny"];
    expect(&project, &Expected { run: again, pending: &[], ran: again });
}

#[test]
fn a_version_that_never_gets_healthy_gives_way_to_the_old_one() {
    let Some(project) = Project::applied() else { return };
    project.append(SPEC, "[env]\nMODE = \"deaf\"\n[serve]\nstartup-timeout = \"2s\"\n");
    let failed = project.run("apply").exits(1);
    failed.says(&[
        "answered HTTP 503 to GET /health, never 200, within 2 s",
        "starting deaf",
        "the old server runs again",
    ]);
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
    project.run("status").exits(0).says(&["differs from its spec"]);
}

#[test]
fn an_instance_that_fails_its_smoke_test_is_not_wired() {
    let Some(project) = Project::new() else { return };
    let gateway = project.read("litellm.yaml");
    project.append(SPEC, "[env]\nMODE = \"mute\"\n");
    let applied = project.apply("");
    assert_eq!((applied.code, applied.ids("failed")), (1, vec!["smoke:tiny".to_owned()]));
    assert_eq!(applied.ids("blocked"), ["gateway:tiny"]);
    assert_eq!(applied.end()["errors"][0]["code"], "goatbuild::smoke::stopped");
    assert_eq!(project.read("litellm.yaml"), gateway);
    assert_eq!(project.plan("").why("deploy:tiny"), ["first", "failed-before"]);
    // The gate holds for an edit of the gateway alone, too.
    project.append(SPEC, "[gateway]\nalias = \"small\"\n");
    assert_eq!(project.apply("").ids("blocked"), ["gateway:tiny"]);
    assert_eq!(project.read("litellm.yaml"), gateway);
    project.edit(SPEC, "mute", "fine");
    assert_eq!(project.apply("").ran(), ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
}

#[test]
fn damaged_weights_are_placed_again_and_nothing_restarts() {
    let Some(project) = Project::applied() else { return };
    let instance = project.instance("tiny");
    let volume = project.volumes().join("table-4c19d2-model-cache");
    let files = walkdir::WalkDir::new(volume).into_iter().flatten();
    let server = files.into_iter().find(|file| file.file_name() == "server.py").expect("weights");
    let file = std::fs::canonicalize(server.path()).expect("a file");
    std::fs::remove_file(file).unwrap();
    assert_eq!(project.plan("").why("weights:model"), ["drift server.py"]);
    let only = &["weights:model"];
    expect(&project, &Expected { run: only, pending: &[], ran: only });
    assert_eq!(project.instance("tiny"), instance);
}

#[test]
fn a_first_version_that_crashes_leaves_nothing_behind() {
    let Some(project) = Project::new() else { return };
    project.append(SPEC, "[env]\nMODE = \"crash\"\n");
    let gateway = project.read("litellm.yaml");
    let applied = project.apply("");
    assert_eq!((applied.code, applied.ids("failed")), (1, vec!["deploy:tiny".to_owned()]));
    assert_eq!(applied.ids("ran"), ["weights:model"]);
    assert!(project.served("tiny").is_none());
    assert_eq!(project.read("litellm.yaml"), gateway);
    project.edit(SPEC, "crash", "fine");
    assert_eq!(project.apply("").ran(), ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
}

#[test]
fn a_renamed_model_is_removed_from_the_gateway_and_kept_until_pruned() {
    let Some(project) = Project::applied() else { return };
    let specs = project.root().join("specs");
    std::fs::rename(specs.join("tiny.toml"), specs.join("small.toml")).unwrap();
    let plan = project.plan("");
    assert_eq!(plan.ids("remove"), ["deploy:tiny", "gateway:tiny"]);
    assert_eq!(plan.ids("run"), ["deploy:small", "gateway:small", "smoke:small"]);
    assert_eq!(project.plan("small").ids("remove"), [""; 0], "a part says nothing of the rest");
    project.run("plan --detailed-exitcode").exits(2);
    let applied = project.run("apply").exits(0);
    applied.says(&[
        "kept deploy:tiny",
        "costs nothing per hour",
        "--prune",
        "removed gateway:tiny",
    ]);
    assert!(!project.read("litellm.yaml").contains("model_name: tiny-local"));
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
    assert_eq!(project.ask("small").as_deref(), Some("hello"));
    project.run("status").exits(0).says(&["no spec wants it", "as specified"]);
    let plan = project.plan("");
    assert_eq!(
        (plan.ids("remove"), &plan.0["summary"]["remove"]),
        (vec!["deploy:tiny".to_owned()], &serde_json::json!(0))
    );
    // Applying that again and again would come to nothing else.
    let kept = project.run("plan --detailed-exitcode").exits(0);
    kept.says(&["kept, unless with `--prune`", "0 to run, 0 pending, 7 fresh"]);
    project.run("plan --prune --detailed-exitcode").exits(2).says(&["1 to remove"]);
    let pruned = project.apply("--prune");
    assert_eq!(pruned.ran(), [""; 0]);
    assert_eq!(pruned.ids("removed"), ["deploy:tiny"]);
    assert!(project.served("tiny").is_none());
    assert_eq!(project.ask("small").as_deref(), Some("hello"));
    expect_nothing(&project);
}

#[test]
fn the_last_removed_spec_takes_its_gateway_entry_along() {
    let Some(project) = Project::new() else { return };
    let gateway = project.read("litellm.yaml");
    project.apply("").ran();
    assert_ne!(project.read("litellm.yaml"), gateway);
    std::fs::remove_file(project.root().join(SPEC)).unwrap();
    assert_eq!(project.plan("").ids("remove"), ["deploy:tiny", "gateway:tiny"]);
    assert_eq!(project.apply("").ids("removed"), ["gateway:tiny"]);
    assert_eq!(project.read("litellm.yaml"), gateway, "byte for byte");
    assert_eq!(project.apply("--prune").ids("removed"), ["deploy:tiny"]);
    expect_nothing(&project);
}

#[test]
fn destroy_stops_the_server_and_apply_starts_it_again() {
    let Some(project) = Project::new() else { return };
    let gateway = project.read("litellm.yaml");
    project.apply("").ran();
    let refused = project.run("destroy tiny").exits(64);
    refused.says(&["nobody is there to ask", "--yes"]);
    project.run("destroy nobody --yes").exits(64).says(&["there is no model `nobody`"]);
    let port = project.port("tiny");
    project.run("destroy tiny --yes").exits(0).says(&["stopped; image and weights are kept"]);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "nothing listens");
    assert_eq!(project.read("litellm.yaml"), gateway, "byte for byte");
    project.run("destroy tiny --yes").exits(0).says(&["nothing to destroy"]);
    let again = &["deploy:tiny", "smoke:tiny", "gateway:tiny"];
    expect(&project, &Expected { run: again, pending: &[], ran: again });
}

#[test]
fn an_edit_after_the_cache_is_gone_is_still_told_by_its_field() {
    let Some(project) = Project::applied() else { return };
    std::fs::remove_dir_all(project.root().join("cache")).unwrap();
    project.append(SPEC, "[env]\nGREETING = \"ciao\"\n[gateway]\nalias = \"small\"\n");
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["changed env.GREETING"]);
    assert_eq!(plan.why("gateway:tiny"), ["changed gateway.alias"]);
    project.run("why gateway:tiny").exits(0).says(&["changed gateway.alias: tiny-local → small"]);
}

#[test]
fn what_somebody_else_deployed_is_told_against_that() {
    let Some(project) = Project::applied() else { return };
    // This cache remembers the first version, and another checkout deploys a second one.
    let (cache, aside) = (project.root().join("cache/state.db"), project.root().join("aside.db"));
    std::fs::copy(&cache, &aside).unwrap();
    project.append(SPEC, "[env]\nGREETING = \"ciao\"\n");
    super::expect_redeployed(&project);
    for name in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(project.root().join("cache").join(name));
    }
    std::fs::copy(&aside, &cache).unwrap();
    assert_eq!(project.plan("").ids("run"), [""; 0], "what is deployed is as specified");
    project.edit(SPEC, "ciao", "hallo");
    let plan = project.plan("");
    let reason = &plan.step("deploy:tiny")["reasons"][0];
    assert_eq!((&reason["old"], &reason["new"]), (&"ciao".into(), &"hallo".into()), "{reason}");
}

#[test]
fn a_deleted_volume_is_drift_of_its_weights_and_of_who_has_it_mounted() {
    let Some(project) = Project::applied() else { return };
    std::fs::remove_dir_all(project.volumes()).unwrap();
    let plan = project.plan("");
    assert_eq!(plan.why("weights:model"), ["drift weights"]);
    let gone =
        ["model-cache", "vllm-cache", "flashinfer-cache"].map(|it| format!("drift volume {it}"));
    assert_eq!(plan.why("deploy:tiny"), gone[..1]);
    let all = &["deploy:tiny", "smoke:tiny", "weights:model"];
    expect(
        &project,
        &Expected { run: &["deploy:tiny", "weights:model"], pending: &["smoke:tiny"], ran: all },
    );
}
