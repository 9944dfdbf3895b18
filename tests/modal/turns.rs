//! One change that reaches several models which are up does so in turn.

use serde_json::{Value, json};

use super::Remote;
use super::support::hubbed::SPEC;

const IMAGE: &str = "images/tiny.toml";

/// Two models of one image that passed: the other one is the cheaper.
fn two() -> Option<Remote> {
    let remote = Remote::applied()?;
    let project = &remote.hubbed.project;
    project.edit(SPEC, "[engine]", "[hardware]\ngpu = \"H100\"\n\n[engine]");
    let spec = project.read(SPEC);
    project.write("specs/other.toml", &spec.replace("H100", "A10G"));
    project.apply("--yes").ran();
    remote.modal.calls();
    Some(remote)
}

/// The apps that were deployed.
fn deployed(remote: &Remote) -> Vec<String> {
    let calls = remote.modal.calls().into_iter();
    let published = calls.filter(|it| it["rpc"] == "AppPublish");
    let published = published.filter(|it| it["state"] == "APP_STATE_DEPLOYED");
    let apps = published.filter_map(|call| call["app"].as_str().map(str::to_owned));
    apps.map(|app| app.trim_start_matches("table-4c19d2-").to_owned()).collect()
}

#[test]
fn the_cheapest_goes_first_and_the_others_only_once_it_has_passed() {
    let Some(remote) = two() else { return };
    let project = &remote.hubbed.project;
    project.append(IMAGE, "\n[env]\nMODE = \"mute\"\n");
    let plan = project.plan("");
    assert_eq!(plan.step("deploy:tiny")["after"], json!(["smoke:other"]), "{}", plan.0);
    assert_eq!(plan.step("deploy:other")["after"], Value::Null);
    project.run("plan").exits(0).says(&["in turn, after smoke:other"]);

    // Saved, it is bound to that.
    project.run("plan -o kept.plan").exits(0);
    let prices = "\n[gpu]\nA10G = { usd-per-hour = 9.0 }\nH100 = { usd-per-hour = 3.95 }\n";
    project.append("goatbuild.toml", prices);
    project.run("apply kept.plan").exits(3).says(&["smoke:other (turn)"]);
    project.edit("goatbuild.toml", prices, "");

    let failed = project.run("apply kept.plan").exits(1);
    failed.says(&[
        "other went back to v1",
        "deploy:tiny was not begun, since smoke:other failed",
        "`--keep-going` goes on",
    ]);
    assert_eq!(deployed(&remote), ["other"]);
    let all = project.run("apply --yes --keep-going --json").exits(1);
    let end: Value = serde_json::from_str(all.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(end["failed"], json!(["smoke:other", "smoke:tiny"]), "{end}");
    assert_eq!(end["out_of_turn"], json!({}));
    assert_eq!(deployed(&remote), ["other", "tiny"]);

    project.edit(IMAGE, "MODE = \"mute\"", "MODE = \"\"");
    project.apply("--yes").ran();
    assert_eq!(deployed(&remote), ["other", "tiny"]);
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
    // Where nobody can look, what this machine never served has no turn; what it served has.
    project.append(IMAGE, "MODE2 = \"x\"\n");
    let blind = || {
        let plan =
            project.run_with("plan --json", &[("MODAL_TOKEN_ID", ""), ("MODAL_TOKEN_SECRET", "")]);
        let plan: Value = serde_json::from_str(&plan.exits(0).stdout).unwrap();
        let mut steps = plan["steps"].as_array().unwrap().iter();
        steps.find(|step| step["id"] == "deploy:tiny").unwrap()["after"].clone()
    };
    assert_eq!(blind(), json!(["smoke:other"]));
    std::fs::rename(project.path("cache"), project.path("was-cache")).unwrap();
    assert_eq!(blind(), Value::Null);
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    std::fs::rename(project.path("was-cache"), project.path("cache")).unwrap();
    project.edit(IMAGE, "MODE2 = \"x\"\n", "");
    // What nothing has in common has no turn.
    project.append(SPEC, "\n[serve]\nmax-inputs = 9\n");
    project.append("specs/other.toml", "\n[serve]\nmax-inputs = 8\n");
    assert_eq!(project.plan("").step("deploy:tiny")["after"], Value::Null);
}
