//! Reading whole projects; every diagnostic as the user sees it is a snapshot.

use std::path::PathBuf;
use std::time::Duration;

use miette::{GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;

use super::*;

const PROJECT: &str = r#"
[project]
id = "goat-7f3a91"
app-prefix = "goat-vllm-"

[defaults]
serve = { max-inputs = 32, scaledown-window = "5m", timeout = "60m" }
engine.compilation-config = { mode = 3, pass_config = { fuse_allreduce_rms = false } }

[target.modal]
environment = "goat"
workspace = "phare"
hf-secret = "goat-hf-token"

[volumes]
model-cache = { name = "goat-model-cache" }

[gpu]
H100 = { usd-per-hour = 4.50 }

[gateway.litellm]
config = "dev/litellm-config-modal.yaml"

[environment.staging.target.modal]
environment = "goat-staging"
"#;

const OVERRIDE: &str = "[environment.staging.model.gpt-oss-20b]\nhardware.count = 2\n";

const SPEC: &str = r#"
image  = "gpt-oss"
target = "modal"
env    = { VLLM_LOGGING_LEVEL = "INFO" }

[model]
source   = "hf:openai/gpt-oss-20b"
revision = "d666cf3b67006cf8227666739edf25164aaffdeb"

[draft]
source = "hf:RedHatAI/gpt-oss-20b-speculator.eagle3"
method = "eagle3"
num-speculative-tokens = 7

[hardware]
gpu = "H100"

[engine]
max-model-len = 32768
kv-cache-dtype = "fp8"
compilation-config = { pass_config = { fuse_allreduce_rms = true } }

[serve]
startup-timeout = "30m"
max-inputs = 64
"#;

const IMAGE: &str = r#"
base = "docker.io/nvidia/cuda:12.8.1-devel-ubuntu22.04"
python = "3.12"
requirements = ["vllm==0.13.0"]
overrides = ["torch==2.9.1"]
env = { VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8 = "1" }
"#;

const LOCAL: &str = "image = \"gpt-oss\"\nmodel.source = \"path:tiny\"\n";

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: PathBuf::from(path), text: text.into() }
}

fn sources(project: &str, specs: &[(&str, &str)]) -> Sources {
    let specs = specs.iter().map(|(name, text)| file(&format!("specs/{name}.toml"), text));
    let images = vec![file("images/gpt-oss.toml", IMAGE)];
    Sources {
        project: file("goatbuild.toml", project),
        specs: specs.collect(),
        images,
        mistakes: Vec::new(),
        kinds: crate::project::kinds(),
    }
}

fn staging() -> EnvironmentName {
    EnvironmentName::new("staging").expect("a name")
}

fn rendered(error: &SpecErrors) -> String {
    let mut text = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .with_links(false)
        .without_syntax_highlighting()
        .render_report(&mut text, error)
        .expect("renders");
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn mistakes(sources: &Sources) -> String {
    rendered(&read(sources, None).expect_err("has mistakes"))
}

/// The mistakes of a local model with `lines` added.
fn spec_mistakes(lines: &str) -> String {
    mistakes(&sources(PROJECT, &[("tiny", &format!("{LOCAL}{lines}"))]))
}

/// The mistakes of a local model that says this.
fn spec_mistakes_of(text: &str) -> String {
    mistakes(&sources(PROJECT, &[("tiny", text)]))
}

#[test]
fn a_whole_project_is_read() {
    let project = read(&sources(PROJECT, &[("gpt-oss-20b", SPEC)]), None).expect("reads");
    let model = &project.models["gpt-oss-20b"];
    assert_eq!(project.app_prefix, "goat-vllm-");
    assert_eq!(project.image_of(model).requirements[0].value, "vllm==0.13.0");
    assert_eq!(project.image_of(model).overrides[0].value, "torch==2.9.1");
    assert_eq!(model.serve.max_inputs, 64);
    assert_eq!(model.serve.scaledown_window, Duration::from_secs(300));
    assert_eq!(model.serve.startup_timeout, Duration::from_secs(1800));
    assert_eq!(
        model.hardware,
        Some(Hardware { gpu: "H100".to_owned(), count: 1, exact: false, devices: vec![] })
    );
    assert_eq!(project.gpus["H100"], Gpu { vram_gib: 80.0, usd_per_hour: 4.5, is_stated: true });
    let alias = model.gateway.as_ref().map(|gateway| gateway.alias.value.as_str());
    assert_eq!(alias, Some("gpt-oss-20b-local"));
    assert!(model.gateway.as_ref().is_some_and(GatewayEntry::is_sent_tools));
    let volume = |name: &str| project.volumes[name].name.as_str();
    assert_eq!(volume("model-cache"), "goat-model-cache");
    assert_eq!(volume("vllm-cache"), "goat-7f3a91-vllm-cache");
}

#[test]
fn a_field_under_a_name_that_is_nearly_its_own_is_one_mistake() {
    let text = spec_mistakes_of(&LOCAL.replace("image =", "imge ="));
    assert_eq!(text.matches("goatbuild::spec::").count(), 1, "{text}");
    assert!(text.contains("`imge`") && text.contains("`image`"), "{text}");
}

#[test]
fn a_field_is_found_again_in_its_file() {
    let project = read(&sources(PROJECT, &[("gpt-oss-20b", SPEC)]), None).expect("reads");
    let file = project.models["gpt-oss-20b"].source_file();
    let place = Place::of_field(file, &["model", "revision"]).expect("is there");
    assert_eq!(place.to_string(), "specs/gpt-oss-20b.toml:8");
    assert_eq!(Place::of_field(file, &["serve", "timeout"]), None);
}

#[test]
fn an_empty_table_takes_no_default_back() {
    let text = format!("{LOCAL}engine.compilation-config = {{}}\n");
    let project = read(&sources(PROJECT, &[("tiny", &text)]), None).expect("reads");
    let flag = &project.models["tiny"].engine.flags["compilation-config"];
    assert_eq!(flag.to_json()["mode"], 3);
}

#[test]
fn nested_flags_merge_leaf_by_leaf() {
    let project = read(&sources(PROJECT, &[("gpt-oss-20b", SPEC)]), None).expect("reads");
    let flag = &project.models["gpt-oss-20b"].engine.flags["compilation-config"];
    let expected = serde_json::json!({ "mode": 3, "pass_config": { "fuse_allreduce_rms": true } });
    assert_eq!(flag.to_json(), expected);
}

#[test]
fn unset_takes_defaults_back() {
    let text = format!("unset = [\"engine.compilation-config\", \"serve.timeout\"]\n{LOCAL}");
    let project = read(&sources(PROJECT, &[("tiny", &text)]), None).expect("reads");
    assert!(project.models["tiny"].engine.flags.is_empty());
    let kept = format!("unset = [\"engine.compilation-config.mode\"]\n{LOCAL}");
    let project = read(&sources(PROJECT, &[("tiny", &kept)]), None).expect("reads");
    let flag = &project.models["tiny"].engine.flags["compilation-config"];
    let expected = serde_json::json!({ "pass_config": { "fuse_allreduce_rms": false } });
    assert_eq!(flag.to_json(), expected);
}

#[test]
fn comments_and_key_order_change_nothing() {
    let moved = format!("# moved\n\n{}", SPEC.replace("gpu = \"H100\"", "gpu   = 'H100' # same"));
    let one = read(&sources(PROJECT, &[("gpt-oss-20b", SPEC)]), None).expect("reads");
    let other = read(&sources(PROJECT, &[("gpt-oss-20b", &moved)]), None).expect("reads");
    assert_eq!(one, other);
}

#[test]
fn an_environment_overrides_targets_and_hardware() {
    let sources = sources(&format!("{PROJECT}{OVERRIDE}"), &[("gpt-oss-20b", SPEC)]);
    let project = read(&sources, Some(&staging())).expect("reads");
    let settings = format!("{:?}", project.targets);
    assert!(settings.contains("environment: \"goat-staging\""), "{settings}");
    assert!(settings.contains("workspace: Some(\"phare\")"), "{settings}");
    let hardware = project.models["gpt-oss-20b"].hardware.as_ref().expect("is there");
    assert_eq!((hardware.gpu.as_str(), hardware.count), ("H100", 2));
}

#[test]
fn an_environment_has_an_app_prefix_of_its_own_and_never_an_id() {
    let with = |field: &str| {
        let text = format!("{PROJECT}[environment.staging.project]\n{field}\n");
        read(&sources(&text, &[("gpt-oss-20b", SPEC)]), Some(&staging()))
    };
    let project = with("app-prefix = \"goat-staging-\"").expect("reads");
    assert_eq!(
        (project.app_prefix.as_str(), project.id.as_str()),
        ("goat-staging-", "goat-7f3a91")
    );
    let text = rendered(&with("id = \"goat-000000\"").expect_err("an id"));
    assert!(text.contains("environment.staging.project.id"), "{text}");
    assert!(with("app-prefix = \"-\"").is_err());
}

#[test]
fn a_command_engine_has_its_own_fields() {
    let text = format!("{LOCAL}engine = {{ name = \"command\", command = [\"serve\"] }}\n");
    let project = PROJECT.replace("engine.compilation-config", "# ");
    let project = read(&sources(&project, &[("tiny", &text)]), None).expect("reads");
    let command = CommandEngine {
        command: vec!["serve".to_owned()],
        health: "/health".to_owned(),
        compiles: false,
    };
    assert_eq!(project.models["tiny"].engine.command, Some(command));
}

#[test]
fn extra_arguments_are_texts_for_engines_with_flags() {
    let found = spec_mistakes("engine = { extra-args = [\"--a\", 1] }\n");
    assert!(found.contains("engine.extra-args") && found.contains("a list of strings"), "{found}");
    let own = "engine = { name = \"command\", command = [\"serve\"], extra-args = [\"--a\"] }\n";
    let found = spec_mistakes(own);
    assert!(found.contains("the engine `command` has no `extra-args`"), "{found}");
    assert!(!found.contains("unknown field `engine.extra-args`"), "{found}");
    let sources = sources(
        PROJECT,
        &[(
            "m",
            "image = \"gpt-oss\"\nmodel.source = \"path:m\"\nengine.extra-args = [\"--a\", \"1\"]\n",
        )],
    );
    let name = ModelName::new("m").expect("a name");
    let values = effective(&sources, None, &name).expect("reads").expect("exists");
    let shown = render_effective(&values);
    assert!(shown.contains("engine.extra-args") && shown.contains("[\"--a\", \"1\"]"), "{shown}");
}

#[test]
fn every_value_is_shown_with_its_origin() {
    let sources = sources(&format!("{PROJECT}{OVERRIDE}"), &[("gpt-oss-20b", SPEC)]);
    let name = ModelName::new("gpt-oss-20b").expect("a name");
    let values = effective(&sources, Some(&staging()), &name).expect("reads").expect("exists");
    insta::assert_snapshot!(render_effective(&values));
}

#[test]
fn unknown_fields_suggest_the_nearest() {
    insta::assert_snapshot!(spec_mistakes("serve.max-input = 3\nzzz = 1\nhardware.cont = 1\n"));
}

#[test]
fn wrong_types_say_what_was_expected() {
    insta::assert_snapshot!(spec_mistakes(
        "env = { A = 1 }\nserve = { port = \"80\", timeout = 60, fast-boot = 1, smoke = [] }\n\
         engine = \"vllm\"\n"
    ));
}

#[test]
fn bad_values_say_what_can_be_written() {
    insta::assert_snapshot!(spec_mistakes(
        "target = \"moon\"\nserve = { port = 70000, timeout = \"5 minutes\", served-name = \"a b\" }\n\
         engine = { seed = inf, day = 2026-01-01 }\ngateway.alias = \"\"\nmodel.revision = \"x\"\n"
    ));
}

#[test]
fn a_volume_has_a_name_that_is_one_directory() {
    let long = "a".repeat(64);
    for name in [".moving-x", "a/b", "/abs/path", "..", "../../specs", "", "a b", &long] {
        let project = format!("project.id = \"a\"\nvolumes.model-cache.name = \"{name}\"\n");
        let told = mistakes(&sources(&project, &[("tiny", LOCAL)]));
        assert!(told.contains("`volumes.model-cache.name` can't be"), "{name}: {told}");
    }
    for name in ["goat-model-cache", "A_1.b", &long[1..]] {
        let project = format!("project.id = \"a\"\nvolumes.model-cache.name = \"{name}\"\n");
        read(&sources(&project, &[("tiny", LOCAL)]), None).expect("no mistakes");
    }
}

#[test]
fn sources_stay_in_the_project_or_on_the_hub() {
    let spec = |source: &str| format!("image = \"gpt-oss\"\nmodel.source = \"{source}\"\n");
    let (one, two, three) = (spec("path:../up"), spec("hf:gpt-oss"), spec("openai/gpt-oss"));
    let specs = [("one", one.as_str()), ("three", &three), ("two", &two)];
    insta::assert_snapshot!(mistakes(&sources(PROJECT, &specs)));
}

#[test]
fn patterns_are_a_set_and_belong_to_the_hub() {
    let one = "image = \"gpt-oss\"\n[model]\nsource = \"hf:a/b\"\n\
               revision = \"D666CF3B67006cf8227666739edf25164aaffdeb\"\n\
               ignore = [\"original/*\", \"metal/*\", \"metal/*\"]\n";
    let project = read(&sources(PROJECT, &[("one", one)]), None).expect("no mistakes");
    let ModelSource::Hub(source) = &project.models["one"].source else { panic!("a hub") };
    assert_eq!(source.files.ignore, ["metal/*", "original/*"]);
    assert_eq!(source.pinned(), Some("d666cf3b67006cf8227666739edf25164aaffdeb"));
    let two = "image = \"gpt-oss\"\n[model]\nsource = \"path:tiny\"\nallow = [\"*.json\"]\n\
               [draft]\nsource = \"hf:a/b\"\nmethod = \"eagle3\"\nnum-speculative-tokens = 2\n\
               ignore = []\nallow = [\"/config.json\", 3]\n";
    insta::assert_snapshot!(mistakes(&sources(PROJECT, &[("two", two)])));
}

/// The names of a model with `lines` added, of weights of a hub or not.
fn names(source: &str, lines: &str) -> String {
    let spec = format!("image = \"gpt-oss\"\nmodel.source = \"{source}\"\n{lines}");
    let sources = sources("project.id = \"a\"\n", &[("tiny", &spec)]);
    let project = read(&sources, None).expect("no mistakes");
    project.models["tiny"].serve.served_names.to_string()
}

#[test]
fn clients_call_a_model_by_the_hubs_id_where_its_engine_answers_to_several_names() {
    let hub = "hf:org/Tiny-1.5B";
    assert_eq!(names(hub, ""), "org/Tiny-1.5B, tiny");
    assert_eq!(names("path:tiny", ""), "tiny");
    assert_eq!(names(hub, "engine.name = \"mlx-lm\"\n"), "tiny");
    let command = "engine = { name = \"command\", command = [\"serve\"] }\n";
    assert_eq!(names(hub, command), "tiny");
    assert_eq!(names(hub, "serve.served-name = \"mine\"\n"), "mine");
    assert_eq!(names(hub, "serve.served-name = [\"b\", \"a\", \"c/d\"]\n"), "b, a, c/d");
    let one = "engine.name = \"mlx-lm\"\nserve.served-name = [\"mine\"]\n";
    assert_eq!(names("path:tiny", one), "mine");
    assert_eq!(ServedNames::first_of("b, a, c/d"), "b");
    assert_eq!(ServedNames::first_of("mine"), "mine");
}

#[test]
fn names_that_no_request_can_use_are_pointed_at() {
    let several = "engine.name = \"mlx-lm\"\nserve.served-name = [\"one\", \"two\"]\n";
    let all = [
        spec_mistakes("serve.served-name = [\"a b\", \"twice\", \"twice\", \"-x\", \"\", 3]\n"),
        spec_mistakes("serve.served-name = []\n"),
        spec_mistakes("serve.served-name = 7\n"),
        spec_mistakes(several),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn missing_fields_come_with_an_example() {
    let modal = "target = \"modal\"\n[draft]\n[engine]\nname = \"vllm\"\n";
    insta::assert_snapshot!(mistakes(&sources(PROJECT, &[("empty", modal)])));
}

#[test]
fn a_model_on_modal_needs_the_target() {
    let project = "project.id = \"a\"\n";
    insta::assert_snapshot!(mistakes(&sources(project, &[("gpt-oss-20b", SPEC)])));
}

#[test]
fn protection_is_for_modal_and_a_key_has_a_secret() {
    let key = format!("{SPEC}auth = \"api-key\"\n");
    let project = format!("{PROJECT}[secrets]\ngoat-hf-tokn = {{ generation = 0 }}\n");
    insta::assert_snapshot!(mistakes(&sources(&project, &[("gpt-oss-20b", &key)])));
    let local = spec_mistakes("[serve]\nauth = \"proxy\"\n");
    assert!(local.contains("only \"none\" or \"api-key\" for a model on"), "{local}");
    let variable = "[target.modal]\napi-key-variable = \"GOAT KEY\"\nproxy-token.key = \"1\"\n";
    let project = format!("project.id = \"a\"\n{variable}");
    let wrong = mistakes(&sources(&project, &[]));
    assert!(wrong.contains("api-key-variable") && wrong.contains("proxy-token.key"), "{wrong}");
}

#[test]
fn defaults_protect_the_models_that_they_can() {
    let project = PROJECT.replace("serve = { max", "serve = { auth = \"api-key\", max");
    let project = project.replace("[volumes]", "api-key-secret = \"goat-key\"\n[volumes]");
    let project = format!("{project}[secrets]\ngoat-key = {{ generation = 3 }}\n");
    let local = SPEC.replace("target = \"modal\"", "");
    let sources = sources(&project, &[("gpt-oss-20b", SPEC), ("tiny", &local)]);
    let project = read(&sources, None).unwrap();
    let auth = |name: &str| {
        project.models.values().find(|it| it.name.as_str() == name).unwrap().serve.auth
    };
    assert_eq!((auth("gpt-oss-20b"), auth("tiny")), (Auth::ApiKey, Auth::Open));
    assert_eq!(project.secrets["goat-key"].generation, 3);
}

#[test]
fn dangling_names_suggest_the_nearest() {
    let text = "unset = [\"serve.timeot\"]\nimage = \"gpt-os\"\nmodel.source = \"path:tiny\"\n\
                hardware.gpu = \"H10\"\n";
    let project = format!("{PROJECT}{}", OVERRIDE.replace("gpt-oss-20b", "tinny"));
    insta::assert_snapshot!(mistakes(&sources(&project, &[("tiny", text)])));
}

#[test]
fn an_unknown_environment_suggests_the_nearest() {
    let sources = sources(PROJECT, &[("gpt-oss-20b", SPEC)]);
    let name = EnvironmentName::new("stagin").expect("a name");
    insta::assert_snapshot!(rendered(&read(&sources, Some(&name)).expect_err("dangles")));
}

#[test]
fn duplicates_point_at_both_places() {
    let one = format!("{LOCAL}gateway.alias = \"same\"\nserve.port = 8000\n");
    let sources = sources(PROJECT, &[("one", &one), ("two", &one)]);
    insta::assert_snapshot!(mistakes(&sources));
}

#[test]
fn two_models_on_modal_have_two_addresses() {
    let sources = sources(PROJECT, &[("llama-3-1", SPEC), ("llama-3.1", SPEC)]);
    insta::assert_snapshot!(mistakes(&sources));
}

#[test]
fn two_files_of_one_name_are_a_mistake() {
    insta::assert_snapshot!(mistakes(&sources(PROJECT, &[("a/tiny", LOCAL), ("b/tiny", LOCAL)])));
}

#[test]
fn bad_names_say_what_a_name_is() {
    let text = format!("{LOCAL}env = {{ \"1A\" = \"x\" }}\n");
    insta::assert_snapshot!(mistakes(&sources(PROJECT, &[("Tiny_Model", &text)])));
}

#[test]
fn files_that_are_not_toml_are_pointed_at() {
    let sources = sources("[project\nid = 1", &[("tiny", "image = \n"), ("two", LOCAL)]);
    insta::assert_snapshot!(mistakes(&sources));
}

#[test]
fn project_mistakes_are_all_reported() {
    let project = "[project]\nid = \"A B\"\n[defaults]\nserve.max-inputs = 0\nengin = 1\n\
                   [volumes]\nother = { mount = \"/root/.cache/vllm\" }\nthird = {}\n\
                   [gpu]\nX1 = { vram-gib = -1 }\n[gateway]\nalias-suffix = \" \"\nlitellm.config = \"/etc/x\"\n\
                   [target.local]\nruntime = \"dokcer\"\n[environment.staging.targt]\n";
    insta::assert_snapshot!(mistakes(&sources(project, &[("tiny", LOCAL), ("two", LOCAL)])));
}

#[test]
fn image_mistakes_are_all_reported() {
    let mut sources = sources(PROJECT, &[]);
    sources.images = vec![
        file("images/a.toml", "platform = \"linux/riscv\"\npython = \"three\"\n"),
        file("images/b.toml", "base = { debian = \"Bookworm\", packges = [] }\nbuilder = \"x\"\n"),
        file("images/c.toml", "base = \"oci:../x\"\nrequirements = [\"\", 1]\n"),
        file("images/d.toml", "base = \"debian@sha256:12\"\nglibc = \"2\"\n"),
    ];
    insta::assert_snapshot!(mistakes(&sources));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(project in "\\PC{0,80}", spec in "\\PC{0,80}") {
        let sources = sources(&project, &[("tiny", &spec)]);
        let _ = read(&sources, None).map_err(|errors| rendered(&errors));
    }

    #[test]
    fn cut_and_spliced_files_never_panic(
        cut in 0usize..900,
        length in 0usize..40,
        junk in "[\\[\\]{}=.\"'\n a-z0-9é-]{0,12}",
    ) {
        let splice = |text: &str| {
            let start = cut % text.len();
            let end = (start + length).min(text.len());
            format!("{}{junk}{}", &text[..start], &text[end..])
        };
        let mut sources = sources(&splice(PROJECT), &[("gpt-oss-20b", &splice(SPEC))]);
        sources.images[0].text = splice(IMAGE).into();
        let _ = read(&sources, Some(&staging())).map_err(|errors| rendered(&errors));
    }
}
