//! What a revision stands for, in the plan and in the lock.

use std::time::{Duration, Instant};

use super::support::double::{Content, Fault};
use super::support::hub::COMMIT;
use super::{Hubbed, LARGE, NEXT, SPEC, TOKEN, WEIGHTS};

#[test]
fn a_pinned_commit_is_planned_without_asking_anybody() {
    let Some(hubbed) = Hubbed::new() else { return };
    let lock = hubbed.project.read("goatbuild.lock");
    let plan = hubbed.project.plan("");
    assert_eq!(plan.why(WEIGHTS), ["first"]);
    assert_eq!(plan.step("deploy:tiny")["action"], "run", "its commit is foretold");
    let key = plan.step(WEIGHTS)["key"].clone();
    // Moves only when the step kind's own version is raised.
    assert_eq!(key, "gb1-04e5d06c8ecaea615cb36b367110af77adba1e43");
    // The same from nowhere, with a token, and through a mirror.
    for variables in [
        &[("HF_ENDPOINT", "http://mirror.invalid"), ("HF_TOKEN", TOKEN)][..],
        &[("CI", "true"), ("HF_HOME", "/nonexistent")],
    ] {
        let ran = hubbed.project.run_with("plan --json --offline", variables).exits(0);
        let plan: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let same = plan["steps"].as_array().unwrap().iter().any(|step| step["key"] == key);
        assert!(same, "{plan}");
    }
    assert_eq!(hubbed.hub.requests().len(), 0);
    assert_eq!(hubbed.project.read("goatbuild.lock"), lock);
}

#[test]
fn a_branch_is_locked_once_and_moves_when_it_is_told_to() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.revision(None);
    hubbed.run("lock").exits(0).says(&["hf:acme/tiny@main: locked 01234567, 4 files"]);
    let lock = hubbed.project.read("goatbuild.lock");
    let entry = lock.split_once("[hub.\"acme/tiny@main\"]\n").unwrap().1;
    for line in [
        &format!("commit = \"{COMMIT}\"\n"),
        "\n\"config.json\" = \"42 git-blob:",
        "\n\"model.safetensors\" = \"5242880 sha256:",
        "\nmodel_type = \"qwen3\"\nhidden_size = 64\n",
    ] {
        assert!(entry.contains(line), "no {line} in {lock}");
    }
    assert!(!lock.contains(&hubbed.hub.url), "{lock}");
    // The branch moves; the lock, and so the plan, does not.
    hubbed.hub.advance("acme/tiny", NEXT);
    hubbed.hub.small("acme/tiny", "config.json", "{}");
    hubbed.hub.forget_requests();
    let plan = hubbed.project.plan("--locked --offline");
    hubbed.run("lock").exits(0).says(&["everything is locked"]);
    assert_eq!(hubbed.hub.requests().len(), 0);
    assert_eq!(hubbed.project.read("goatbuild.lock"), lock);
    let key = plan.step(WEIGHTS)["key"].clone();
    for name in ["acme/tiny", "tiny"] {
        hubbed.project.write("goatbuild.lock", &lock);
        let moved = "hf:acme/tiny@main: 01234567 → 89abcdef";
        hubbed.run(&format!("lock --upgrade {name}")).exits(0).says(&[moved]);
    }
    assert!(hubbed.project.read("goatbuild.lock").contains(NEXT));
    assert_ne!(hubbed.project.plan("").step(WEIGHTS)["key"], key);
    let unknown = hubbed.run("lock --upgrade acme/tinny").exits(64);
    unknown.says(&["no image, locked package, model or repository `acme/tinny`", "`acme/tiny`"]);
}

/// As locks of 24 to 30 November 2026 have it.
#[test]
fn a_lock_that_says_where_xet_keeps_files_stays_as_it_is_until_something_is_locked_anew() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.revision(None);
    hubbed.run("lock").exits(0);
    let lock = hubbed.project.read("goatbuild.lock");
    let sha256 = Content::noise(1, LARGE).sha256();
    let old = lock.replace(&sha256, &format!("{sha256} xet:{}", "ef".repeat(32)));
    assert_ne!(old, lock);
    let plan = hubbed.project.plan("--locked --offline");
    hubbed.project.write("goatbuild.lock", &old);
    assert_eq!(hubbed.project.plan("--locked --offline").0, plan.0);
    for arguments in ["lock", "lock --locked"] {
        hubbed.run(arguments).exits(0).says(&["everything is locked"]);
    }
    hubbed.run("plan -o kept.plan").exits(0);
    hubbed.run(&format!("apply --locked --only {WEIGHTS}")).exits(0).says(&["1 step ran"]);
    assert_eq!(hubbed.project.read("goatbuild.lock"), old);
    // A newer commit takes the place of the old entry.
    hubbed.hub.advance("acme/tiny", NEXT);
    hubbed.run("lock --upgrade acme/tiny").exits(0).says(&["01234567 → 89abcdef"]);
    let new = hubbed.project.read("goatbuild.lock");
    assert!(new.contains(&sha256) && !new.contains("xet:"), "{new}");
}

/// What a plan says of a source that is left open.
const OPEN: &str = "! 1 source not locked: `goatbuild lock` does it where the hub can be reached";

#[test]
fn a_branch_that_is_not_locked_is_locked_by_the_plan_unless_that_is_forbidden() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.revision(Some("main"));
    let lock = hubbed.project.read("goatbuild.lock");
    for arguments in ["plan --locked", "plan --offline"] {
        let ran = hubbed.run(arguments).exits(0);
        assert!(ran.stdout.contains(OPEN), "{}", ran.stdout);
    }
    let ran = hubbed.project.run_with("plan", &[("CI", "true")]).exits(0);
    assert!(ran.stdout.contains("pending  weights:acme/tiny  not locked: hf:acme/tiny@main"));
    let refused = "hf:acme/tiny@main is not locked";
    for arguments in ["apply --locked", "lock --locked"] {
        hubbed.run(arguments).exits(65).says(&[refused]);
    }
    hubbed.project.run_with("apply", &[("CI", "true")]).exits(65).says(&[refused]);
    let says = &[refused, "--offline forbids", "run `goatbuild lock` without --offline"];
    hubbed.run("apply --offline").exits(65).says(says);
    assert_eq!(hubbed.hub.requests().len(), 0);
    assert_eq!(hubbed.project.read("goatbuild.lock"), lock);
    hubbed.run("plan").exits(0).says(&["lock: hf:acme/tiny@main: locked 01234567"]);
    hubbed.run("plan --locked --offline").exits(0);
}

#[test]
fn what_the_hub_refuses_is_an_error_and_nothing_is_locked() {
    let Some(mut hubbed) = Hubbed::new() else { return };
    let lock = hubbed.project.read("goatbuild.lock");
    hubbed.revision(Some("v9"));
    hubbed.run("plan").exits(1).says(&["acme/tiny has no revision v9", "`model.revision`"]);
    hubbed.model("source = \"hf:acme/tinny\"\n");
    for command in ["plan", "lock"] {
        let says = &["there is no model acme/tinny", "`model.source`"];
        hubbed.run(command).exits(1).says(says);
    }
    hubbed.revision(Some("main"));
    for (status, headers, says) in [
        (401, "", ["acme/tiny needs a token", "set HF_TOKEN"]),
        (403, "x-error-code: GatedRepo", ["acme/tiny is gated", "ask for access at"]),
        (500, "", ["answered HTTP 500", "overloaded or down"]),
        (429, "retry-after: 3600", ["3600 s", "HTTP 429"]),
    ] {
        hubbed.hub.fault("acme/tiny", usize::MAX, Fault::Status(status, headers));
        hubbed.run("plan").exits(1).says(&says);
        hubbed.hub.clear_faults();
    }
    hubbed.project.variable("HF_TOKEN", TOKEN);
    hubbed.hub.fault("acme/tiny", usize::MAX, Fault::Status(401, ""));
    hubbed.run("plan").exits(1).says(&["the hub refuses the token in HF_TOKEN"]);
    assert_eq!(hubbed.project.read("goatbuild.lock"), lock);
    // Whoever answers in the end is not out of reach.
    hubbed.hub.clear_faults();
    hubbed.hub.fault("/revision/", 1, Fault::Status(503, "retry-after: 1"));
    hubbed.hub.fault("/tree/", 1, Fault::Truncate(20));
    hubbed.run("plan").exits(0).says(&[
        "· the hub asks for 1 s of patience; waiting until ",
        "lock: hf:acme/tiny@main: locked 01234567",
    ]);
}

#[test]
fn a_plan_leaves_open_what_nobody_answers_and_soon() {
    let Some(mut hubbed) = Hubbed::new() else { return };
    hubbed.revision(None);
    let lock = hubbed.project.read("goatbuild.lock");
    let silent = hubbed.hub.url.clone();
    hubbed.hub.fault("acme/tiny", usize::MAX, Fault::Stall);
    // As patient as by default.
    hubbed.project.variable("GOATBUILD_HTTP_ATTEMPTS", "");
    hubbed.project.variable("GOATBUILD_HTTP_TIMEOUT", "");
    for endpoint in ["http://127.0.0.1:9", "http://hub.invalid", &silent] {
        hubbed.project.variable("HF_ENDPOINT", endpoint);
        let began = Instant::now();
        let ran = hubbed.run("plan").exits(0).says(&[endpoint, "can't be reached"]);
        assert!(began.elapsed() < Duration::from_secs(12), "{endpoint}: {:?}", began.elapsed());
        assert!(ran.stdout.contains(OPEN), "{}", ran.stdout);
    }
    assert_eq!(hubbed.project.read("goatbuild.lock"), lock);
    // What can't be planned to its end is not begun.
    hubbed.project.variable("GOATBUILD_HTTP_ATTEMPTS", "1");
    hubbed.project.variable("HF_ENDPOINT", "http://127.0.0.1:9");
    hubbed.run("apply").exits(1).says(&["could not be fetched", "HTTPS_PROXY"]);
    assert_eq!(hubbed.blobs(), Vec::<String>::new());
}

/// Two models more: one pinned and gated, one on a branch.
/// A model whose repository the hub doesn't have, beside the usual one on a branch.
fn with_hopeless(hubbed: &Hubbed) {
    hubbed.revision(None);
    let spec = hubbed.project.read(SPEC).replace("acme/tiny", "acme/gone");
    hubbed.project.write("specs/hopeless.toml", &spec);
}

#[test]
fn a_model_that_cannot_be_locked_stops_no_other() {
    let Some(hubbed) = Hubbed::new() else { return };
    with_hopeless(&hubbed);
    hubbed.run("plan").exits(1).says(&["there is no model acme/gone"]);
    hubbed.run("lock").exits(1);
    for asked in ["plan tiny", "lock --upgrade tiny", &format!("apply --only {WEIGHTS}")] {
        let lock = hubbed.project.read("goatbuild.lock");
        let (start, rest) = lock.split_once("[hub.").unwrap_or((&lock, ""));
        let lock = format!("{start}{}", rest.find("\n[built").map_or("", |at| &rest[at..]));
        hubbed.project.write("goatbuild.lock", &lock);
        let ran = hubbed.run(asked).exits(0).says(&["hf:acme/tiny@main: locked"]);
        assert!(!ran.stderr.contains("gone"), "{}", ran.stderr);
    }
    // Where nothing may be locked, what is locked is enough.
    let applied = hubbed.project.run_with("apply tiny", &[("CI", "true")]).exits(0);
    assert!(!applied.stderr.contains("gone"), "{}", applied.stderr);
    let ci = [("CI", "true")];
    hubbed.project.run_with("apply", &ci).exits(65).says(&["hf:acme/gone@main is not locked"]);
    hubbed.project.run_with("apply hopeless", &ci).exits(65).says(&["hf:acme/gone@main"]);
}

#[test]
fn a_hub_out_of_reach_is_an_error_about_the_model_that_was_asked_for() {
    let Some(hubbed) = Hubbed::new() else { return };
    with_hopeless(&hubbed);
    let dead = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    let failed = hubbed.project.run_with("apply tiny", &dead).exits(1).says(&["acme/tiny"]);
    assert!(!failed.stderr.contains("gone"), "{}", failed.stderr);
}

#[test]
fn an_image_that_is_not_locked_stops_no_model_of_another() {
    let Some(hubbed) = Hubbed::new() else { return };
    let project = &hubbed.project;
    let image = project.read("images/tiny.toml");
    project.write("images/other.toml", &image.replace("[]", "[\"no-such-thing==1\"]"));
    project.write("specs/other.toml", &project.read(SPEC).replace("\"tiny\"", "\"other\""));
    let plan = project.plan("tiny --locked");
    assert!(plan.ids("run").contains(&"deploy:tiny".to_owned()), "{}", plan.0);
    project.run("plan --locked").exits(65).says(&["image other is not locked"]);
    project.run("plan other --locked").exits(65).says(&["image other is not locked"]);
    project.run("image inspect tiny").exits(0);
    project.run("show tiny --command").exits(0);
    project.run("plan --only image:tiny --locked").exits(0);
}

fn with_gated(hubbed: &Hubbed) {
    for repository in ["acme/gated", "acme/other"] {
        hubbed.hub.small(repository, "config.json", "{\"vocab_size\": 5}");
    }
    hubbed.hub.fault("acme/gated", usize::MAX, Fault::Status(403, "x-error-code: GatedRepo"));
    let spec = hubbed.project.read(SPEC);
    let gated = spec.replace("acme/tiny", "acme/gated");
    hubbed.project.write("specs/gated.toml", &gated);
    let other = spec.replace("acme/tiny", "acme/other").replace(COMMIT, "main");
    hubbed.project.write("specs/other.toml", &other);
}

#[test]
fn lock_lists_what_is_pinned_and_tells_what_it_cannot() {
    let Some(hubbed) = Hubbed::new() else { return };
    with_gated(&hubbed);
    let page = format!("{}/acme/gated", hubbed.hub.url);
    let listed = format!("hf:acme/tiny@{COMMIT}: locked 01234567, 4 files");
    hubbed.run("lock").exits(0).says(&[
        "its files are not listed: acme/gated is gated",
        &page,
        "HF_TOKEN",
        &listed,
        "hf:acme/other@main: locked",
    ]);
    let lock = hubbed.project.read("goatbuild.lock");
    assert!(!lock.contains("acme/gated"), "{lock}");
    assert!(lock.contains("vocab_size = 5"), "{lock}");
    // All of it can be planned nevertheless, by anybody.
    let plan = hubbed.project.plan("--locked --offline");
    assert_eq!(plan.why("weights:acme/gated"), ["first"]);
    // Once access is granted, only that is asked for.
    hubbed.hub.clear_faults();
    hubbed.hub.forget_requests();
    let says = format!("hf:acme/gated@{COMMIT}: locked");
    hubbed.run("lock").exits(0).says(&[&says]);
    let asked = hubbed.hub.requests();
    assert!(
        !asked.is_empty() && asked.iter().all(|it| it.path.contains("acme/gated")),
        "{asked:?}"
    );
    hubbed.run("lock --offline").exits(0).says(&["everything is locked"]);
}

#[test]
fn a_gated_branch_fails_the_lock_after_everything_else() {
    let Some(hubbed) = Hubbed::new() else { return };
    with_gated(&hubbed);
    hubbed.project.edit("specs/gated.toml", COMMIT, "main");
    hubbed.model("source = \"hf:acme/nowhere\"\n");
    hubbed.run("lock").exits(1).says(&[
        "acme/gated is gated",
        "HF_TOKEN",
        "hf:acme/nowhere@main: it can't be locked: there is no model acme/nowhere",
        "lock: hf:acme/other@main: locked 01234567",
    ]);
    let lock = hubbed.project.read("goatbuild.lock");
    assert!(lock.contains("acme/other@main") && !lock.contains("acme/gated"), "{lock}");
}

#[test]
fn a_gated_config_leaves_the_list_without_facts_until_it_can_be_read() {
    let Some(hubbed) = Hubbed::new() else { return };
    // The list of a gated repository is public.
    hubbed.hub.fault("resolve", usize::MAX, Fault::Status(403, "x-error-code: GatedRepo"));
    let lacking = "its config.json was not read: acme/tiny is gated";
    hubbed.run("lock").exits(0).says(&["locked 01234567, 4 files", lacking]);
    hubbed.run("lock").exits(0).says(&[lacking]);
    hubbed.hub.clear_faults();
    hubbed.run("lock").exits(0).says(&["locked what its config.json says"]);
    assert!(hubbed.project.read("goatbuild.lock").contains("hidden_size = 64"));
}

#[test]
fn what_no_model_needs_any_more_leaves_the_lock() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.run("lock").exits(0);
    assert!(hubbed.project.read("goatbuild.lock").contains("[hub."));
    hubbed.model("source = \"path:model\"\n");
    hubbed.run("lock").exits(0);
    assert!(!hubbed.project.read("goatbuild.lock").contains("[hub"));
}

#[test]
fn ids_name_the_commit_only_where_there_are_several_parts_of_a_repository() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.hub.advance("acme/tiny", NEXT);
    let spec = hubbed.project.read(SPEC);
    hubbed.project.write("specs/same.toml", &spec);
    let plan = hubbed.project.plan("");
    assert_eq!(plan.step(WEIGHTS)["models"], serde_json::json!(["same", "tiny"]));
    hubbed.project.write("specs/same.toml", &spec.replace(COMMIT, NEXT));
    let part = format!("revision = \"{COMMIT}\"\nignore = [\"original/\"]");
    let part = spec.replace(&format!("revision = \"{COMMIT}\""), &part);
    hubbed.project.write("specs/part.toml", &part);
    let draft =
        "[draft]\nsource = \"path:model\"\nmethod = \"eagle3\"\nnum-speculative-tokens = 2\n";
    hubbed.project.append(SPEC, draft);
    let plan = hubbed.project.plan("");
    let steps = plan.0["steps"].as_array().unwrap().iter();
    let ids = steps.filter_map(|step| step["id"].as_str()?.strip_prefix("weights:"));
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_unstable();
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert_eq!(ids[0], "acme/tiny@01234567");
    assert!(ids[1].starts_with("acme/tiny@01234567-"), "{ids:?}");
    assert_eq!(&ids[2..], ["acme/tiny@89abcdef", "model"]);
    let deploy = plan.step("deploy:tiny")["inputs"].as_array().unwrap();
    assert!(deploy.contains(&"weights:acme/tiny@01234567".into()), "{deploy:?}");
    assert!(deploy.contains(&"weights:model".into()), "{deploy:?}");
}

#[test]
fn a_hub_out_of_reach_is_told_once_and_stops_nobody() {
    let Some(mut hubbed) = Hubbed::new() else { return };
    let other = hubbed.project.read(SPEC).replace("acme/tiny", "acme/other");
    hubbed.project.write("specs/other.toml", &other);
    hubbed.project.variable("HF_ENDPOINT", "http://127.0.0.1:9");
    let ran = hubbed.run("lock").exits(0).says(&["what a plan needs is locked"]);
    assert_eq!(ran.stderr.matches("can't be reached").count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches(COMMIT).count(), 2, "{}", ran.stderr);
    hubbed.run("plan").exits(0);
}
