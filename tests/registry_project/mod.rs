//! The project that this repository ships, planned in a clean copy: no cache, no credentials, no
//! network, and as in CI.

mod protection;
mod specs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use goatbuild::lock::LockFile;
use goatbuild::project;
use goatbuild::steps;
use serde_json::Value;

use crate::support::project::{Plan, Project};

fn clone() -> Project {
    Project::shipped().in_ci_without_a_network()
}

/// The same on somebody's desk, where locks may change.
fn at_a_desk() -> Project {
    let mut clone = clone();
    clone.variable("CI", "");
    clone
}

#[test]
fn the_shipped_project_is_planned_in_a_clean_clone_without_a_network() {
    let planned = clone().run("plan").exits(0);
    assert_eq!(planned.stderr, "");
    let stdout = planned.stdout;
    let widest = stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(120), "{widest:?} columns:\n{stdout}");
    insta::assert_snapshot!("plan", stdout);
}

/// The drafts: nobody could ask the hub for them when the lock was made.
#[test]
fn what_the_lock_lacks_is_told_by_plan_check_and_readme_in_the_same_words() {
    const LACKS: &str =
        "2 sources not locked: `goatbuild lock` does it where the hub can be reached";
    let clone = at_a_desk();
    let planned = clone.run("plan --offline").exits(0);
    assert_eq!(planned.stdout.matches(LACKS).count(), 1, "{}", planned.stdout);
    let checked = clone.run("check --offline");
    assert_eq!(format!("{}{}", checked.stdout, checked.stderr).matches("not locked").count(), 1);
    let drafts =
        "(hf:RedHatAI/gpt-oss-20b-speculator.eagle3@main, hf:nvidia/gpt-oss-120b-Eagle3-v2@main)";
    checked.says(&[LACKS, drafts]);
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let readme: Vec<String> = readme.unwrap().split_whitespace().map(str::to_owned).collect();
    assert!(readme.join(" ").contains(LACKS));
}

#[test]
fn a_name_that_is_nowhere_near_gets_the_first_names_and_the_number_of_the_others() {
    let clone = clone();
    let others = clone.plan("").0["steps"].as_array().unwrap().len() - 12;
    let refused = clone.run("plan --only nosuch").fails(64, &[&format!("… and {others} more")]);
    assert!(refused.stderr.trim_end().ends_with("more"), "{}", refused.stderr);
}

#[test]
fn an_image_that_modal_builds_is_not_looked_for_here() {
    let clone = clone();
    for command in ["inspect standard", "verify standard", "load standard", "export standard -"] {
        let way_out = "`goatbuild --env oci apply --only image:standard`";
        let refused = clone.run(&format!("image {command}"));
        refused.fails(1, &["image standard is built by Modal", way_out]);
    }
}

#[test]
fn the_plan_for_programs_has_apps_urls_gpus_and_prices() {
    let plan = clone().plan("").0;
    assert_eq!(plan["format_version"], 1);
    let models: Vec<String> = plan["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| {
            assert_eq!(model["target"], "modal");
            assert_eq!(model["notes"], serde_json::json!([]));
            ["app", "url", "gpu", "gpu_count", "usd_per_hour"]
                .map(|it| model[it].to_string())
                .join(" ")
        })
        .collect();
    insta::assert_snapshot!("models", models.join("\n"));
    assert_eq!(plan["usd_per_hour"], 32.5);
    for step in plan["steps"].as_array().unwrap() {
        // Nobody looked at Modal, so nothing there is called fresh, and nothing certain.
        let at_modal = step["kind"] != "gateway";
        assert_eq!(step["observed"], !at_modal, "{step}");
        assert_eq!(step["action"], if at_modal { "pending" } else { "run" }, "{step}");
    }
    // What the specs pin has a key before anything was asked.
    let keyed = |step: &&Value| step["key"].is_string();
    let keyed = plan["steps"].as_array().unwrap().iter().filter(keyed);
    assert_eq!(keyed.filter(|step| step["kind"] == "weights").count(), 6 + 1, "and a vocabulary");
}

#[test]
fn what_cannot_be_seen_or_deployed_is_refused_with_a_way_out() {
    let clone = clone();
    clone.run("plan --require-observed").fails(3, &["goatbuild::plan::unobserved"]);
    for what in [
        "apply",
        "apply qwen3-4b",
        "apply --only image:standard",
        "apply --only push:standard --env oci",
    ] {
        let words = ["there are no credentials for Modal", "goatbuild::modal::no_credentials"];
        let refused = clone.run(what).fails(1, &words);
        assert_eq!(refused.stdout, "", "{what}");
    }
    let stdout = clone.run("status").done();
    assert_eq!(stdout.matches("not looked at").count(), 6, "{stdout}");
    clone.run("destroy qwen3-4b --yes").exits(1);
    for what in
        ["show qwen3-4b", "why deploy:qwen3-4b", "why weights:Qwen/Qwen3-4B-Instruct-2507", "graph"]
    {
        clone.run(what).exits(0);
    }
}

#[test]
fn another_builder_or_environment_changes_no_key_of_what_is_built() {
    let clone = clone();
    let staging = "\n[environment.staging.target.modal]\nenvironment = \"goat-staging\"\nbuilder = \"oci\"\n\
         registry = \"127.0.0.1:9/goat\"\n";
    clone.append("goatbuild.toml", staging);
    let keys = |plan: &Plan, kinds: &[&str]| -> BTreeMap<String, String> {
        let steps = plan.0["steps"].as_array().unwrap().iter();
        let of_kind = steps.filter(|step| kinds.iter().any(|kind| step["kind"] == *kind));
        of_kind.map(|step| (step["id"].to_string(), step["key"].to_string())).collect()
    };
    let (oci, staging) = (clone.plan("--env oci qwen3-4b"), clone.plan("--env staging qwen3-4b"));
    let pure = keys(&oci, &["base", "wheels", "image"]);
    assert!(pure.len() > 50, "{pure:?}");
    assert_eq!(pure, keys(&staging, &["base", "wheels", "image"]));
    let is_pushed = |plan: &Plan| {
        plan.0["steps"].as_array().unwrap().iter().any(|step| step["id"] == "push:standard")
    };
    assert!(is_pushed(&oci) && is_pushed(&staging));
    // What it deploys stands beside what the default environment does.
    assert_eq!(oci.0["models"][0]["app"], "goat-oci-qwen3-4b");
    clone.run("--env oci show qwen3-4b").exits(0).says(&["\"qwen3-4b-oci-local\""]);
    let url = "https://phare-goat-staging--goat-vllm-qwen3-4b-serve.modal.run/v1";
    assert_eq!(staging.0["models"][0]["url"], url);
    let default = clone.plan("qwen3-4b");
    assert_eq!(keys(&default, &["image"]).len(), 1);
    assert!(!is_pushed(&default), "Modal builds it");
}

#[test]
fn a_model_in_place_of_its_step_is_understood() {
    let clone = clone();
    for command in ["plan --only qwen3-4b", "why qwen3-4b"] {
        clone.run(command).fails(64, &["did you mean `deploy:qwen3-4b`?"]);
    }
    clone.run("why gpt-oss").fails(64, &["did you mean `image:gpt-oss`?"]);
}

#[test]
fn wheels_that_cannot_be_locked_offline_are_named_before_the_tool() {
    let clone = at_a_desk();
    clone.edit("images/standard.toml", "\"vllm==0.8.5.post1\"", "\"vllm==0.8.5\"");
    let says = "images/standard.pylock.toml does not answer what the image asks for";
    clone.run("--offline plan").fails(65, &[says, "`goatbuild lock`"]);
    fs::remove_file(clone.path("images/standard.pylock.toml")).unwrap();
    clone.run("--offline plan").fails(65, &["images/standard.pylock.toml is missing"]);
}

#[test]
fn a_revision_that_lost_a_digit_and_sources_that_are_not_locked_are_warned_about() {
    let clone = clone();
    let revision = "cdbee75f17c01a7cc42f958dc650907174af0554";
    clone.edit("specs/qwen3-4b.toml", revision, &revision[..39]);
    let plan = clone.plan("qwen3-4b").0;
    let warnings = plan["warnings"].as_array().unwrap();
    let told: Vec<&str> = warnings.iter().map(|it| it["message"].as_str().unwrap()).collect();
    assert!(warnings.iter().all(|warning| warning["model"] == "qwen3-4b"), "{warnings:?}");
    assert!(told[0].contains("has 39 hexadecimal digits and not 40"), "{told:?}");
    assert!(told[1].ends_with("is not locked") && told.len() == 2, "{told:?}");
}

#[test]
fn nothing_is_asked_of_a_hub_for_a_step_that_needs_nothing_of_it() {
    let clone = at_a_desk();
    let revision = "revision = \"d666cf3b67006cf8227666739edf25164aaffdeb\"\n";
    clone.edit("specs/gpt-oss-20b.toml", revision, "revision = \"later\"\n");
    assert_eq!(clone.run("why deploy:qwen3-4b").exits(0).stderr, "");
}

#[test]
fn show_tells_what_the_project_decides_of_a_model() {
    let clone = clone();
    let shown = clone.run("show gpt-oss-20b").exits(0).says(&[
        "project:app = \"goat-vllm-gpt-oss-20b\" # goatbuild.toml:8",
        "project:target.modal.builder = \"modal\" # goatbuild.toml:16",
        "project:target.modal.hf-secret = \"goat-hf-token\" # goatbuild.toml:17",
        "project:volumes.model-cache.name = \"goat-model-cache\" # goatbuild.toml:23",
        "project:gpu.H100.usd-per-hour = 4.50 # goatbuild.toml:30",
    ]);
    assert_eq!(shown.stdout.matches("image:glibc").count(), 1, "{}", shown.stdout);
    let oci = clone.run("--env oci show gpt-oss-20b").done();
    assert!(oci.contains("\"goat-oci-gpt-oss-20b\"") && !oci.contains("gpu.A10G"), "{oci}");
}

#[test]
fn no_program_is_rendered_for_weights_whose_commit_nobody_knows() {
    let clone = clone();
    let draft = "RedHatAI/gpt-oss-20b-speculator.eagle3@main is not locked";
    let refused = clone.run("render gpt-oss-20b").fails(65, &[draft, "goatbuild lock"]);
    assert_eq!(refused.stdout, "");
    clone.run("render qwen3-4b").exits(0);
}

#[test]
fn the_steps_that_a_shell_offers_are_those_of_the_plan() {
    let clone = clone();
    let lock = LockFile::parse("goatbuild.lock", &clone.read("goatbuild.lock")).unwrap();
    for (environment, arguments) in [("", ""), ("oci", "--env oci")] {
        let chosen = environment.parse().ok();
        let sources = project::load(&clone.root()).unwrap();
        let project = project::read(&sources, chosen.as_ref()).unwrap();
        let plan = clone.plan(arguments).0;
        let ids = plan["steps"].as_array().unwrap().iter();
        let ids = ids.map(|step| step["id"].as_str().unwrap().to_owned());
        // Layers are offered once they were built.
        let is_told = |id: &String| !id.starts_with("wheels:");
        let ids: BTreeSet<String> = ids.filter(is_told).collect();
        let offered =
            steps::names(&project, &lock).into_iter().map(|id| id.to_string()).filter(is_told);
        assert_eq!(offered.collect::<BTreeSet<_>>(), ids, "{environment}");
    }
}

#[test]
fn a_model_is_added_where_the_others_are_served() {
    let clone = clone();
    let add = |arguments: &str| clone.run(&format!("--offline add {arguments}"));
    add("nonsense").fails(64, &["`nonsense` is no source of weights"]);
    add("hf:org/new --image standard").fails(64, &["a model on Modal needs a GPU"]);
    let told = "served by `modal`, like the project's other models";
    add("hf:org/new --image standard --gpu A10G").exits(0).tells(&[told]);
    let text = clone.read("specs/new.toml");
    assert!(text.contains("image = \"standard\"\ntarget = \"modal\"\n"), "{text}");
    let here = add("hf:org/here --image standard --target local").exits(0);
    assert!(!here.stderr.contains("served by"), "{}", here.stderr);
    let text = clone.read("specs/here.toml");
    assert!(text.contains("target = \"local\"\n"), "{text}");
}
