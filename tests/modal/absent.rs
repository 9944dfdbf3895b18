//! Models that go: by their spec, and with all that only they have.

use std::fs;

use super::Remote;
use super::support::hubbed::SPEC;

const STATE: &str = "state = \"absent\"\n";

#[test]
fn a_spec_keeps_a_model_away() {
    let Some(remote) = Remote::applied() else { return };
    let project = &remote.hubbed.project;
    let lock = project.read("goatbuild.lock");
    let spec = project.read(SPEC);
    project.write(SPEC, &format!("{STATE}{spec}"));

    let plan = project.plan("");
    assert_eq!(plan.ids("remove"), ["deploy:tiny", "gateway:tiny"], "{}", plan.0);
    assert_eq!(plan.0["steps"].as_array().unwrap().len(), 2, "{}", plan.0);
    assert!(plan.why("deploy:tiny")[0].starts_with("absent table-4c19d2-tiny on Modal"));
    assert_eq!(project.plan("tiny").ids("remove"), ["deploy:tiny", "gateway:tiny"]);
    project.run("plan --detailed-exitcode").exits(2).says(&["its spec says absent", "2 to remove"]);
    project.run("status").exits(0).says(&["its spec says absent: `goatbuild apply` stops it"]);

    remote.modal.calls();
    project.run("apply").exits(64).says(&["this stops tiny"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    assert_eq!(project.apply("--yes").ids("removed"), ["deploy:tiny", "gateway:tiny"]);
    assert_eq!(remote.modal.changes(), ["AppStop"]);
    assert!(!project.read("litellm.yaml").contains("tiny"), "{}", project.read("litellm.yaml"));
    assert_eq!(project.read("goatbuild.lock"), lock, "it comes back as it was");
    project.run("plan --detailed-exitcode").exits(0);
    project.run("apply").exits(0);
    project.run("status").exits(0).says(&["tiny", "absent", "as specified"]);

    project.write(SPEC, &spec);
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
}

/// A candidate as an apply leaves it that is killed.
const LEFT: &str = "
import modal
app = modal.App('left', tags={'goatbuild': 'table-4c19d2'})
@app.function()
@modal.web_server(8000)
def serve():
    pass
";

#[test]
fn a_candidate_that_was_left_is_found_though_no_spec_wants_its_model() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    let file = remote.hubbed.home.path().join("left.py");
    fs::write(&file, LEFT).unwrap();
    let tag = format!("gb1-{}", "0".repeat(40));
    for model in ["old", "tiny"] {
        let app = format!("table-4c19d2-{model}-next");
        let deploy = ["deploy", "--env", "goat", "--tag", &tag, "--name", &app];
        remote.client(&[&deploy[..], &[file.to_str().unwrap()]].concat());
    }
    let spec = project.read(SPEC);
    project.write(SPEC, &format!("{STATE}{spec}"));
    let plan = project.plan("");
    let left = |model: &str| format!("table-4c19d2-{model}-next is up, left of an apply");
    for (model, why) in [("old", "unwanted"), ("tiny", "absent")] {
        let reason = &plan.why(&format!("deploy:{model}"))[0];
        assert!(reason.starts_with(&format!("{why} {}", left(model))), "{reason}");
    }
    project.run("status").exits(0).says(&[&left("old"), &left("tiny"), "no spec wants it"]);
    // Only what a spec says is to go goes by itself.
    remote.modal.calls();
    assert_eq!(project.apply("--yes").ids("removed"), ["deploy:tiny"]);
    assert_eq!(project.apply("--yes --prune").ids("removed"), ["deploy:old"]);
    let calls = remote.modal.calls();
    let stopped: Vec<_> = calls.iter().filter(|call| call["rpc"] == "AppStop").collect();
    assert_eq!(stopped.len(), 2, "{stopped:?}");
    // Under the lease, like all that changes something there.
    assert!(calls.iter().any(|call| call["rpc"] == "DictUpdate"), "{calls:?}");
    project.run("plan --detailed-exitcode").exits(0);
}

#[test]
fn whether_it_is_away_is_known_only_to_who_may_look() {
    let Some(mut remote) = Remote::new() else { return };
    let project = &mut remote.hubbed.project;
    let spec = project.read(SPEC);
    project.write(SPEC, &format!("{STATE}{spec}"));
    assert_eq!(project.plan("").0["warnings"], serde_json::json!([]));
    project.variable("MODAL_TOKEN_ID", "");
    let warnings = project.plan("").0["warnings"].clone();
    assert_eq!(warnings[0]["model"], "tiny", "{warnings}");
    let words = ["nobody looked whether it is deployed", "modal token new"];
    project.run("plan").exits(0).says(&words);
    project.run("apply --yes").says(&words);
    project.run("plan --require-observed").exits(3).says(&["deploy:tiny", "modal token new"]);
}

#[test]
fn destroy_takes_from_volumes_what_no_other_model_has() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    // Two engines listen on one port, each on a machine of its own.
    project.edit(SPEC, "[engine]", "[hardware]\ngpu = \"H100\"\n\n[engine]");
    project.edit(SPEC, "name = \"command\"", "name = \"command\"\ncompiles = true");
    project.append(SPEC, "\n[env]\nCOMPILE = \"keyed\"\n");
    let spec = project.read(SPEC);
    project.write("specs/twin.toml", &spec);
    project.write("specs/other.toml", &spec.replace("COMPILE =", "GREETING = \"hi\"\nCOMPILE ="));
    project.apply("--yes").ran();
    let weights = remote.modal.volume("table-4c19d2-model-cache");
    let caches = remote.modal.volume("table-4c19d2-vllm-cache");
    let repository = weights.join("hub/models--acme--tiny");
    let warm = || {
        let names = fs::read_dir(&caches).unwrap().flatten();
        let names = names.map(|it| it.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("gb1-")).count()
    };
    assert!(repository.exists());
    let before = warm();
    project.run("destroy other --volumes").exits(64).says(&["other would be stopped"]);
    project
        .run("destroy other --volumes --yes")
        .exits(0)
        .says(&["kept weights of acme/tiny: another model has them too", "removed compile caches"]);
    assert!(repository.exists());
    assert_eq!(warm(), before - 1);
    fs::remove_file(project.root().join("specs/other.toml")).unwrap();
    // One that compiles the same has the same caches.
    project
        .run("destroy twin --volumes --yes")
        .exits(0)
        .says(&["nothing in volumes was its alone", "another model may want them"]);
    project.write("specs/twin.toml", "image = ");
    project.run("destroy tiny --volumes --yes").exits(1).says(&["their specs have mistakes"]);
    fs::remove_file(project.root().join("specs/twin.toml")).unwrap();
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);

    // Another project's file is in the volume: nobody knows what that needs.
    let theirs = weights.join(".goatbuild/project-theirs.json");
    fs::write(&theirs, "{}").unwrap();
    project.run("destroy tiny --volumes --yes").exits(0).says(&["others use the volumes too"]);
    assert!(repository.exists());
    fs::remove_file(&theirs).unwrap();
    project.run("destroy tiny --volumes --yes").exits(0).says(&["removed weights of acme/tiny"]);
    assert!(!repository.exists());
    assert_eq!(warm(), 0);
    let plan = project.plan("");
    assert_eq!(plan.step("weights:acme/tiny")["action"], "run", "{}", plan.0);
    assert_eq!(plan.why("weights:acme/tiny"), ["first"]);
}
