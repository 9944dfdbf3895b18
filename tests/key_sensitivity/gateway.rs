//! The gateway's file: ours to the byte where it is marked, and nobody's otherwise.

use super::support::project::Project;
use super::{Expected, SPEC, expect, expect_nothing};

const FILE: &str = "litellm.yaml";
const ONLY: Expected<'_> =
    Expected { run: &["gateway:tiny"], pending: &[], ran: &["gateway:tiny"] };

#[test]
fn what_hands_add_to_our_entry_stays_byte_for_byte() {
    let Some(project) = Project::applied() else { return };
    let key = "      api_key: none\n    model_info:\n";
    let more = "      api_key: none\n      rpm: 60   # asked for by the team\n    model_info:\n";
    let ours = project.read(FILE).rfind(key).expect("our entry");
    let text = project.read(FILE);
    project.write(FILE, &format!("{}{}", &text[..ours], text[ours..].replacen(key, more, 1)));
    let edited = project.read(FILE);
    expect_nothing(&project);
    assert_eq!(project.read(FILE), edited);
    // An edit of our own leaves it as well.
    project.append(SPEC, "[gateway]\nalias = \"small\"\n");
    let plan = project.plan("");
    let (key, new) = (plan.step("gateway:tiny")["key"].clone(), "model_name: small");
    expect(&project, &ONLY);
    let rest = |text: &str| {
        let ours = |line: &&str| !line.contains("model_name: ") && !line.contains("        key: ");
        text.lines().filter(ours).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(rest(&project.read(FILE)), rest(&edited));
    assert!(project.read(FILE).contains(new));
    assert!(project.read(FILE).contains(key.as_str().unwrap()));
}

#[test]
fn a_hand_edit_of_our_own_field_is_drift_and_repaired() {
    let Some(project) = Project::applied() else { return };
    let (written, url) =
        (project.read(FILE), format!("http://127.0.0.1:{}/v1", project.port("tiny")));
    project.edit(FILE, &url, "http://10.0.0.1:1/v1");
    let plan = project.plan("");
    let reason = &plan.step("gateway:tiny")["reasons"][0];
    assert_eq!(reason["kind"], "drift");
    assert!(reason["field"].as_str().unwrap().contains("api_base"), "{reason}");
    assert_eq!(reason["old"], "http://10.0.0.1:1/v1");
    assert_eq!(reason["new"], url.as_str());
    expect(&project, &ONLY);
    assert_eq!(project.read(FILE), written);
}

#[test]
fn an_entry_that_was_deleted_by_hand_comes_back() {
    let Some(project) = Project::new() else { return };
    let before = project.read(FILE);
    project.apply("").ran();
    let with = project.read(FILE);
    project.write(FILE, &before);
    assert_eq!(project.plan("").why("gateway:tiny"), ["drift gateway"]);
    expect(&project, &ONLY);
    assert_eq!(project.read(FILE), with);
}

#[test]
fn somebody_elses_entry_of_our_alias_is_a_conflict_until_adopted() {
    let Some(project) = Project::new() else { return };
    project.edit(FILE, "model_name: somebody-elses", "model_name: tiny-local");
    let before = project.read(FILE);
    let plan = project.plan("");
    assert_eq!(plan.ids("conflict"), ["gateway:tiny"]);
    project.run("plan --detailed-exitcode").exits(2).says(&["conflict", "in the way"]);
    let refused = project.run("apply").exits(3);
    refused.says(&["somebody else's thing is in the way", "gateway:tiny", "--adopt MODEL"]);
    assert!(project.served("tiny").is_none(), "nothing was started");
    assert_eq!(project.read(FILE), before);
    project.run("apply --adopt nobody").exits(64);
    let plan = project.plan("--adopt tiny");
    assert_eq!(plan.ids("conflict"), [""; 0]);
    assert!(plan.why("gateway:tiny")[0].starts_with("adopted"), "{:?}", plan.why("gateway:tiny"));
    project.apply("--adopt tiny").ran();
    assert_eq!(project.read(FILE).matches("model_name: tiny-local").count(), 1);
    expect_nothing(&project);
}

#[test]
fn an_entry_that_was_copied_by_hand_is_drift_and_one_is_kept() {
    let Some(project) = Project::applied() else { return };
    let text = project.read(FILE);
    let begins = text.find("  - model_name: tiny-local").expect("our entry");
    let ends = text.find("\ngeneral_settings").expect("what follows the list");
    project.write(FILE, &format!("{}{}", &text[..ends], &text[begins - 1..]));
    let plan = project.plan("");
    let reason = &plan.step("gateway:tiny")["reasons"][0];
    assert_eq!((&reason["kind"], &reason["field"]), (&"drift".into(), &"entries".into()));
    assert!(reason["new"].as_str().unwrap().starts_with("2 (lines "), "{reason}");
    expect(&project, &ONLY);
    assert_eq!(project.read(FILE).matches("model_name: tiny-local").count(), 1);
}

#[test]
fn an_entry_of_an_included_file_is_not_adopted_and_nothing_runs() {
    let Some(project) = Project::new() else { return };
    let entry = project.read(FILE).replace("somebody-elses", "tiny-local");
    project.write("included.yaml", entry.split("\ngeneral_settings").next().unwrap());
    project.append(FILE, "\ninclude:\n  - included.yaml\n");
    let plan = project.plan("--adopt tiny");
    assert_eq!(plan.ids("conflict"), ["gateway:tiny"], "{}", plan.0);
    project.run("apply --adopt tiny").exits(3).says(&["included.yaml:3"]);
    assert!(project.served("tiny").is_none(), "nothing was started");
}

#[test]
fn an_alias_whose_requests_go_elsewhere_is_a_conflict_before_anything_runs() {
    let Some(project) = Project::applied() else { return };
    project.append(FILE, "\nrouter_settings:\n  model_group_alias:\n    tiny-local: gpt-4o\n");
    let plan = project.plan("");
    assert_eq!(plan.ids("conflict"), ["gateway:tiny"], "{}", plan.0);
    let lines = project.read(FILE).lines().count();
    let place = format!("litellm.yaml:{lines}, router_settings.model_group_alias");
    let told = ["requests for `tiny-local` go to `gpt-4o`", &*place];
    project.run("plan").exits(0).says(&told);
    project.run("apply --adopt tiny").exits(3).says(&told);
    project.run("gateway check").exits(1).says(&told);
    project.edit(FILE, "    tiny-local: gpt-4o\n", "    gpt-4o: tiny-local\n");
    assert_eq!(project.apply("").ran(), [""; 0]);
}

#[test]
fn a_plan_with_nothing_but_a_conflict_is_not_called_done() {
    let Some(project) = Project::applied() else { return };
    project.edit(FILE, "model_name: somebody-elses", "model_name: tiny-local");
    project.run("plan").exits(0).says(&["`goatbuild apply` refuses this plan"]);
    project.run("plan --detailed-exitcode").exits(3);
    project.run("plan -o ci.plan").exits(3);
}

#[test]
fn adopting_an_entry_moves_our_own_into_it() {
    let Some(project) = Project::applied() else { return };
    project.append(SPEC, "[gateway]\nalias = \"somebody-elses\"\n");
    project.run("apply").exits(3);
    project.apply("--adopt tiny").ran();
    let text = project.read(FILE);
    assert_eq!(text.matches("model_name: somebody-elses").count(), 1, "{text}");
    assert_eq!(text.matches("tiny-local").count(), 0, "{text}");
    expect_nothing(&project);
}

#[test]
fn the_mirror_follows_commented_out() {
    let Some(project) = Project::new() else { return };
    let by_hand = "# A file of somebody else.\nmodel_list: []\n";
    project.write("mirror.yaml", by_hand);
    project.append("goatbuild.toml", "mirror = \"mirror.yaml\"\n");
    project.apply("").ran();
    let mirror = project.read("mirror.yaml");
    assert!(mirror.starts_with("# A file of somebody else.\nmodel_list: []\n"), "{mirror}");
    let ours = mirror.lines().skip(2).filter(|line| !line.is_empty());
    assert!(ours.clone().all(|line| line.starts_with('#')), "{mirror}");
    assert!(mirror.contains("model_name: tiny-local"), "{mirror}");
    expect_nothing(&project);
    project.write("mirror.yaml", &mirror.replace("tiny-local", "edited"));
    assert_eq!(project.plan("").why("gateway:tiny"), ["drift mirror.yaml"]);
    expect(&project, &ONLY);
    assert_eq!(project.read("mirror.yaml"), mirror);
    project.run("destroy tiny --yes").exits(0);
    assert_eq!(project.read("mirror.yaml"), by_hand);
}

#[test]
fn the_reload_command_runs_once_when_the_file_changed() {
    let Some(project) = Project::new() else { return };
    let reload = "reload = [\"sh\", \"-c\", \"echo once >> reloaded\"]\n";
    project.append("goatbuild.toml", reload);
    project.run("apply").exits(0).says(&["ran sh -c echo once >> reloaded"]);
    assert_eq!(project.read("reloaded"), "once\n");
    expect_nothing(&project);
    project.append(SPEC, "[env]\nGREETING = \"hej\"\n");
    super::expect_redeployed(&project);
    assert_eq!(project.read("reloaded"), "once\n", "the file did not change");
    project.append(SPEC, "[gateway]\nalias = \"small\"\n");
    expect(&project, &ONLY);
    assert_eq!(project.read("reloaded"), "once\nonce\n");
    project.run("destroy tiny --yes").exits(0);
    assert_eq!(project.read("reloaded"), "once\nonce\nonce\n");
}

#[test]
fn a_reload_that_failed_is_reported_and_tried_again() {
    let Some(project) = Project::new() else { return };
    let reload = "reload = [\"sh\", \"-c\", \"echo no such proxy; exit 7\"]\n";
    project.append("goatbuild.toml", reload);
    let applied = project.apply("");
    assert_eq!(applied.code, 1);
    assert_eq!(applied.ids("ran").len(), 4, "what ran is told all the same");
    assert!(applied.stderr.contains("no such proxy"), "{}", applied.stderr);
    project.run("apply").exits(1).says(&["reload command failed", "exit status: 7"]);
    project.edit("goatbuild.toml", "echo no such proxy; exit 7", "echo once >> reloaded");
    assert_eq!(project.apply("").ran(), [""; 0]);
    assert_eq!(project.read("reloaded"), "once\n");
    project.apply("").ran();
    assert_eq!(project.read("reloaded"), "once\n");
}

#[test]
fn render_prints_what_apply_would_write_and_check_finds_faults() {
    let Some(project) = Project::applied() else { return };
    let written = project.read(FILE);
    assert_eq!(project.run("gateway render").exits(0).stdout, written);
    let master = [("LITELLM_MASTER_KEY", "sk-test")];
    let check = project.run_with("gateway check", &master).exits(0);
    check.says(&["gateway", "litellm.yaml is in order"]);
    project.write(FILE, &written.replace("model_list:", "model_list: ]"));
    project.run("gateway check").exits(1).says(&["litellm.yaml"]);
    project.edit("goatbuild.toml", "[gateway.litellm]\nconfig = \"litellm.yaml\"", "");
    project.run("gateway check").exits(64).says(&["this project has no gateway"]);
}
