//! The table of what an edit re-runs, row by row.

use super::support::peers;
use super::support::project::{Project, wants_network};
use super::{Expected, SPEC, expect, expect_nothing, expect_redeployed};

#[test]
fn the_first_apply_runs_everything_behind_the_image_once() {
    let Some(project) = Project::new() else { return };
    let run = &["weights:model", "deploy:tiny", "smoke:tiny", "gateway:tiny"];
    let plan = project.plan("");
    assert_eq!(plan.ids("fresh"), ["base:tiny", "image:tiny", "wheels:tiny/pip"]);
    assert_eq!(plan.why("deploy:tiny"), ["first"]);
    assert_eq!(plan.why("gateway:tiny"), ["first", "input deploy:tiny"]);
    expect(&project, &Expected { run, pending: &[], ran: run });
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
}

#[test]
fn comments_key_order_and_prices_rerun_nothing() {
    let Some(project) = Project::applied() else { return };
    let instance = project.instance("tiny");
    project.append(SPEC, "# The same, in other words.\n");
    expect_nothing(&project);
    project.edit(SPEC, "image = \"tiny\"\n\n[model]\nsource = \"path:model\"", "");
    let spec = project.read(SPEC);
    project.write(SPEC, &format!("model = {{ source = 'path:model' }}\nimage = 'tiny'\n{spec}"));
    expect_nothing(&project);
    // Where a value is written is no part of it.
    let serve = "serve = { max-inputs = 32, rollout = \"candidate\" }";
    project.append("goatbuild.toml", &format!("[defaults]\n{serve}\n"));
    expect_nothing(&project);
    project.append("goatbuild.toml", "[gpu]\nH100 = { vram-gib = 80, usd-per-hour = 1.25 }\n");
    expect_nothing(&project);
    assert_eq!(project.instance("tiny"), instance);
}

#[test]
fn alias_edit_reruns_only_the_gateway() {
    let Some(project) = Project::applied() else { return };
    let instance = project.instance("tiny");
    project.append(SPEC, "[gateway]\nalias = \"small\"\n");
    let plan = project.plan("");
    assert_eq!(plan.why("gateway:tiny"), ["changed gateway.alias"]);
    let reason = &plan.step("gateway:tiny")["reasons"][0];
    assert_eq!((&reason["old"], &reason["new"]), (&"tiny-local".into(), &"small".into()));
    let only = &["gateway:tiny"];
    expect(&project, &Expected { run: only, pending: &[], ran: only });
    assert!(project.read("litellm.yaml").contains("model_name: small\n"));
    assert!(!project.read("litellm.yaml").contains("tiny-local"));
    assert_eq!(project.instance("tiny"), instance);
}

#[test]
fn settings_of_serving_alone_redeploy_and_leave_the_gateway() {
    let Some(project) = Project::applied() else { return };
    let (gateway, port) = (project.read("litellm.yaml"), project.port("tiny"));
    super::choose_runtime(&project, "embedded", "auto");
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed target.local.runtime"]);
    expect_redeployed(&project);
    // A server on this machine is told nothing of these.
    project.append(SPEC, "[serve]\nscaledown-window = \"7m\"\nmax-inputs = 3\ntimeout = \"7m\"\n");
    expect_nothing(&project);
    assert_eq!(project.read("litellm.yaml"), gateway);
    assert_eq!(project.port("tiny"), port);
}

#[test]
fn a_longer_startup_timeout_reruns_nothing() {
    let Some(project) = Project::applied() else { return };
    project.append(SPEC, "[serve]\nstartup-timeout = \"20m\"\n");
    expect_nothing(&project);
}

#[test]
fn served_name_edit_redeploys_and_rewires() {
    let Some(project) = Project::applied() else { return };
    project.append(SPEC, "[serve]\nserved-name = \"org/tiny\"\n");
    let run = &["deploy:tiny", "gateway:tiny"];
    let ran = &["deploy:tiny", "gateway:tiny", "smoke:tiny"];
    expect(&project, &Expected { run, pending: &["smoke:tiny"], ran });
    assert!(project.read("litellm.yaml").contains("openai/org/tiny"));
}

#[test]
fn another_port_redeploys_and_rewires() {
    let Some(project) = Project::applied() else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    project.append(SPEC, &format!("[serve]\nport = {port}\n"));
    let run = &["deploy:tiny", "gateway:tiny"];
    let ran = &["deploy:tiny", "gateway:tiny", "smoke:tiny"];
    expect(&project, &Expected { run, pending: &["smoke:tiny"], ran });
    assert_eq!(project.port("tiny"), port);
    // Naming the port that it has changes the request, not the place.
    assert!(project.read("litellm.yaml").contains(&format!("http://127.0.0.1:{port}/v1")));
}

#[test]
fn env_and_engine_edits_redeploy() {
    let Some(project) = Project::applied() else { return };
    let gateway = project.read("litellm.yaml");
    project.append(SPEC, "[env]\nGREETING = \"bonjour\"\n");
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed env.GREETING"]);
    expect_redeployed(&project);
    assert_eq!(project.ask("tiny").as_deref(), Some("bonjour"));
    project.edit(SPEC, "\"{port}\"]", "\"{port}\", \"--flavour\", \"mild\"]");
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed engine.command"]);
    expect_redeployed(&project);
    assert_eq!(project.read("litellm.yaml"), gateway);
}

#[test]
fn another_volume_redeploys() {
    let Some(project) = Project::applied() else { return };
    project
        .append("goatbuild.toml", "[volumes]\nextra = { name = \"extra\", mount = \"/extra\" }\n");
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed volumes.extra"]);
    expect_redeployed(&project);
    assert!(project.volumes().join("extra").is_dir());
}

#[test]
fn an_edit_of_one_model_leaves_the_other() {
    let Some(project) = Project::new() else { return };
    project.write("specs/other.toml", &project.read(SPEC));
    let plan = project.plan("");
    assert_eq!(plan.step("weights:model")["models"], serde_json::json!(["other", "tiny"]));
    assert_eq!(project.apply("").ran().len(), 7, "both share the weights");
    let other = project.instance("other");
    project.append(SPEC, "[env]\nGREETING = \"hola\"\n");
    expect_redeployed(&project);
    assert_eq!(project.instance("other"), other);
    assert_eq!(project.ask("other").as_deref(), Some("hello"));
    project.append("specs/other.toml", "[gateway]\nalias = \"else\"\n");
    project.append(SPEC, "[gateway]\nalias = \"small\"\n");
    assert_eq!(project.plan("").ids("run"), ["gateway:other", "gateway:tiny"]);
    assert_eq!(project.apply("tiny").ran(), ["gateway:tiny"]);
    let only = &["gateway:other"];
    expect(&project, &Expected { run: only, pending: &[], ran: only });
}

#[test]
fn another_date_makes_every_layer_anew() {
    let Some(project) = Project::applied() else { return };
    let plan = project.run_with("plan", &[("SOURCE_DATE_EPOCH", "1000000000")]).exits(0);
    plan.says(&[
        "run base:tiny changed source-date-epoch: 0 → 1000000000",
        "run wheels:tiny/pip changed source-date-epoch: 0 → 1000000000",
        "2 to run, 3 pending, 2 fresh",
    ]);
}

#[test]
fn other_weights_are_placed_and_deployed() {
    let Some(project) = Project::applied() else { return };
    project.edit("model/server.py", "os.environ.get(\"GREETING\", \"hello\")", "\"moved\"");
    let plan = project.plan("");
    assert_eq!(plan.why("weights:model"), ["changed model.revision"]);
    assert_eq!(plan.why("deploy:tiny"), ["changed model.revision"]);
    let run = &["weights:model", "deploy:tiny"];
    let ran = &["weights:model", "deploy:tiny", "smoke:tiny"];
    expect(&project, &Expected { run, pending: &["smoke:tiny"], ran });
    assert_eq!(project.ask("tiny").as_deref(), Some("moved"));
}

#[test]
fn a_touched_but_equal_file_reruns_nothing() {
    let Some(project) = Project::applied() else { return };
    project.write("model/server.py", &project.read("model/server.py"));
    expect_nothing(&project);
}

#[test]
fn one_requirement_makes_its_own_layer_and_the_image() {
    let Some(project) = Project::applied() else { return };
    let pip = project.plan("").step("wheels:tiny/pip").clone();
    project.edit("images/tiny.toml", "requirements = []", "requirements = [\"iniconfig==2.1.0\"]");
    let Some(()) = locked(&project) else { return };
    let plan = project.plan("");
    assert_eq!(*plan.step("wheels:tiny/pip"), pip);
    let run = plan.ids("run");
    let [layer] = run.as_slice() else { panic!("{run:?}") };
    assert!(layer.starts_with("wheels:tiny/"), "{layer}");
    let ran = &["image:tiny", "deploy:tiny", "smoke:tiny", layer];
    let pending = &["image:tiny", "deploy:tiny", "smoke:tiny"];
    expect(&project, &Expected { run: &[layer], pending, ran });
}

#[test]
fn another_base_package_makes_base_and_image_but_no_wheels() {
    let Some(project) = Project::applied() else { return };
    project.edit("images/tiny.toml", "[\"python3\"]", "[\"python3\", \"libgomp1\"]");
    let Some(()) = locked(&project) else { return };
    let plan = project.plan("");
    assert!(plan.why("base:tiny").contains(&"changed package.libgomp1".to_owned()));
    let pending = &["image:tiny", "deploy:tiny", "smoke:tiny"];
    let ran = &["base:tiny", "image:tiny", "deploy:tiny", "smoke:tiny"];
    expect(&project, &Expected { run: &["base:tiny"], pending, ran });
}

/// Locks what an edit asks for; tells that the test is skipped where that can't be had.
fn locked(project: &Project) -> Option<()> {
    let locked = project.run("lock");
    if locked.code == 0 {
        return Some(());
    }
    assert!(wants_network(&locked.stderr), "{}", locked.stderr);
    peers::skipped("what the edit asks for", &locked.stderr);
    None
}

#[test]
fn an_image_that_comes_out_the_same_restarts_nothing() {
    let Some(project) = Project::applied() else { return };
    let instance = project.instance("tiny");
    let plan = project.plan("--replace image:tiny");
    assert_eq!(plan.ids("run"), ["image:tiny"]);
    assert_eq!(plan.ids("pending"), ["deploy:tiny", "smoke:tiny"]);
    assert_eq!(plan.why("image:tiny"), ["replaced"]);
    let applied = project.apply("--replace image:tiny");
    assert_eq!(applied.ran(), ["image:tiny"]);
    assert_eq!(applied.ids("cut_off"), ["deploy:tiny", "smoke:tiny"]);
    assert_eq!(project.instance("tiny"), instance);
    expect_nothing(&project);
}

#[test]
fn there_and_back_again_redeploys_but_builds_nothing() {
    let Some(project) = Project::applied() else { return };
    let spec = project.read(SPEC);
    let first = project.plan("").step("deploy:tiny")["key"].clone();
    project.append(SPEC, "[env]\nGREETING = \"hallo\"\n");
    expect_redeployed(&project);
    project.write(SPEC, &spec);
    let plan = project.plan("");
    assert_eq!(plan.step("deploy:tiny")["key"], first);
    assert_eq!(plan.why("deploy:tiny"), ["changed env.GREETING"]);
    expect_redeployed(&project);
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
    // The same from rows alone.
    project.append(SPEC, "[env]\nGREETING = \"hallo\"\n");
    let ran = ["deploy:tiny", "smoke:tiny"];
    assert_eq!(project.plan("--no-refresh").ids("run"), ["deploy:tiny"]);
    assert_eq!(project.apply("--no-refresh").ran(), ran);
    project.write(SPEC, &spec);
    assert_eq!(project.plan("--no-refresh").ids("run"), ["deploy:tiny"]);
    assert_eq!(project.apply("--no-refresh").ran(), ran);
    assert_eq!(project.apply("--no-refresh").ran(), [""; 0]);
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
}

#[test]
fn keys_hold_neither_version_nor_place() {
    let Some(project) = Project::new() else { return };
    std::fs::remove_file(project.root().join("model/server.py")).unwrap();
    project.write("model/weights.bin", "always the same\n");
    // Moves only when the step kind's own version is raised.
    let key = project.plan("").step("weights:model")["key"].clone();
    assert_eq!(key, "gb1-9ff1c916b374f0ae9c6c149c3aff26d11cf7944a");
    let plan = project.plan("").0.to_string();
    assert!(!plan.contains(project.root().to_str().unwrap()), "{plan}");
}

#[test]
fn another_gpu_redeploys() {
    let Some(project) = Project::applied() else { return };
    project.append(SPEC, "[hardware]\ngpu = \"A10G\"\ncount = 1\n");
    let why = project.plan("").why("deploy:tiny");
    assert_eq!(why, ["changed hardware.count", "changed hardware.gpu"]);
    project.edit(SPEC, "A10G", "H100");
    let plan = project.plan("");
    assert_eq!(
        (plan.ids("run"), plan.ids("pending")),
        (vec!["deploy:tiny".into()], vec!["smoke:tiny".into()])
    );
}

#[test]
fn an_environment_is_part_of_effects_and_of_no_pure_key() {
    let Some(project) = Project::applied() else { return };
    let instance = project.instance("tiny");
    let staging = "[environment.staging.gateway.litellm]\nconfig = \"staging.yaml\"\n";
    project.append("goatbuild.toml", staging);
    project.write("staging.yaml", "model_list: []\n");
    expect_nothing(&project);
    let (here, there) = (project.plan(""), project.plan("--env staging"));
    for pure in ["base:tiny", "wheels:tiny/pip", "image:tiny"] {
        assert_eq!(here.step(pure), there.step(pure));
    }
    let ran = ["deploy:tiny", "gateway:tiny", "smoke:tiny", "weights:model"];
    assert_eq!(there.ids("run"), ran);
    assert_eq!(there.why("deploy:tiny"), ["first"]);
    assert_eq!(project.apply("--env staging").ran(), ran);
    assert_eq!(project.run("--env staging plan").exits(0).stdout, "0 to run, 0 pending, 7 fresh\n");
    assert_eq!(project.instance("tiny"), instance, "the default environment's server runs on");
    expect_nothing(&project);
    project.run("--env staging destroy tiny --yes").exits(0);
    assert_eq!(project.read("staging.yaml"), "model_list: []\n");
    expect_nothing(&project);
}
