//! `--env NAME` through the real binary: overrides apply, pure work is shared, and what one
//! environment does leaves the others alone.
#![cfg(target_os = "linux")]

use crate::support;

use support::project::{Plan, Project};

const STAGING: &str = r#"
[environment.staging.gateway.litellm]
config = "staging.yaml"

[environment.staging.model.tiny]
env = { GREETING = "ciao" }
"#;

fn keys(plan: &Plan, kinds: &[&str]) -> Vec<(String, String)> {
    let steps = plan.0["steps"].as_array().expect("steps").iter();
    let of_kind = steps.filter(|step| kinds.iter().any(|kind| step["kind"] == *kind));
    of_kind.map(|step| (step["id"].to_string(), step["key"].to_string())).collect()
}

#[test]
fn an_environment_has_deployments_rows_and_entries_of_its_own() {
    let Some(project) = Project::applied() else { return };
    project.append("goatbuild.toml", STAGING);
    let (instance, gateway) = (project.instance("tiny"), project.read("litellm.yaml"));

    let (default, staging) = (project.plan(""), project.plan("--env staging"));
    assert_eq!(default.ids("fresh").len(), 7, "{}", default.0);
    // What is built is the same; of weights, each has its own.
    let pure = ["base", "wheels", "image", "weights"];
    assert_eq!(keys(&default, &pure), keys(&staging, &pure));
    assert_eq!(staging.ids("fresh").len(), 3, "{}", staging.0);
    let all = ["deploy:tiny", "gateway:tiny", "smoke:tiny", "weights:model"];
    assert_eq!(staging.ids("run"), all);
    let deploy = |plan: &Plan| plan.step("deploy:tiny")["key"].as_str().map(str::to_owned);
    assert!(deploy(&staging).is_some() && deploy(&staging) != deploy(&default));

    let applied = project.apply("--env staging").ran();
    assert_eq!(applied, all);
    assert_eq!(project.plan("--env staging").ids("fresh").len(), 7);
    assert!(project.read("staging.yaml").contains("table-4c19d2/staging"));
    assert_eq!(project.instance("tiny"), instance, "the default one goes on");
    assert_eq!(project.read("litellm.yaml"), gateway);
    assert_eq!(project.plan("").ids("fresh").len(), 7);
    assert!(project.ask("tiny").is_some());

    let variable = [("GOATBUILD_ENV", "staging")];
    project.run_with("plan", &variable).exits(0).says(&["0 to run, 0 pending, 7 fresh"]);
    project.run_with("destroy tiny --yes", &variable).exits(0);
    assert_eq!(project.plan("--env staging").ids("run").len(), 3);
    assert_eq!(project.plan("").ids("fresh").len(), 7);
    assert!(project.ask("tiny").is_some());
}

#[test]
fn two_environments_do_not_take_each_others_gateway_entries() {
    let Some(project) = Project::applied() else { return };
    project.append("goatbuild.toml", "[environment.staging.target.local]\n");
    let gateway = project.read("litellm.yaml");
    let refused = project.run("apply --env staging").exits(3);
    refused.says(&[
        "another environment of this project is in the way: gateway:tiny",
        "this project's own entry for the default environment, model tiny",
        "`[environment.staging.gateway.litellm] config",
        "Nothing was changed",
    ]);
    let markdown = project.run("plan --env staging --format markdown").exits(0);
    markdown.says(&["another environment of this project is in the way."]);
    assert_eq!(project.read("litellm.yaml"), gateway);
    assert_eq!(project.plan("").ids("fresh").len(), 7);
    // The way out that it names.
    project.append("goatbuild.toml", "gateway.alias-suffix = \"-staging-local\"\n");
    project.edit(
        "goatbuild.toml",
        "[environment.staging.target.local]\n",
        "[environment.staging]\n",
    );
    assert!(project.plan("--env staging").ids("conflict").is_empty());
}

#[test]
fn an_environment_that_is_not_there_suggests_the_nearest() {
    let Some(project) = Project::new() else { return };
    project.append("goatbuild.toml", STAGING);
    let refused = project.run("plan --env stagign").exits(64);
    refused.says(&["no environment `stagign`", "did you mean `staging`?"]);
    project.append("goatbuild.toml", "[environment.oci.target.local]\n");
    project.run("plan --env oic").exits(64).says(&["did you mean `oci`?"]);
    let refused = project.run("status --env prod").exits(64);
    assert!(!refused.stderr.contains("mistakes"), "{}", refused.stderr);
    refused.says(&["no environment `prod`", "there are: oci, staging"]);
}

#[test]
fn an_empty_variable_names_no_environment() {
    let Some(project) = Project::new() else { return };
    let plan = project.run("plan").exits(0);
    let empty = project.run_with("plan", &[("GOATBUILD_ENV", "")]).exits(0);
    assert_eq!(empty.stdout, plan.stdout);
    project.run("gc --dry-run").exits(0);
}
