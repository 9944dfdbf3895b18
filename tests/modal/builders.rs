//! One image that two build: goatbuild for models here, Modal for those that it serves.

use super::Remote;
use super::support::hubbed::SPEC;

const HERE: &str = "specs/here.toml";

/// A project whose one image serves a model at Modal, built there, and one here.
fn both() -> Option<Remote> {
    let remote = Remote::new()?;
    let project = &remote.hubbed.project;
    let spec = project.read(SPEC);
    project.write(HERE, &spec.replacen("target = \"modal\"", "target = \"local\"", 1));
    Some(remote)
}

fn built(project: &super::support::project::Project) -> toml::Table {
    let lock: toml::Table = toml::from_str(&project.read("goatbuild.lock")).unwrap();
    lock["built"].as_table().unwrap().clone()
}

#[test]
fn an_apply_that_runs_nothing_leaves_the_lock_as_it_is() {
    let Some(remote) = both() else { return };
    let project = &remote.hubbed.project;
    project.apply("--yes").ran();
    let lock = project.read("goatbuild.lock");
    let own = built(project)["image:tiny"].clone();
    assert!(own["facts"].get("digest").is_some(), "{lock}");
    for arguments in ["--yes", "tiny --yes", "here", "--only image:tiny", "--only image:tiny@modal"]
    {
        assert_eq!(project.apply(arguments).ran(), [] as [&str; 0], "{arguments}");
        assert_eq!(project.read("goatbuild.lock"), lock, "{arguments}");
    }

    // Without the model here, the image has its plain name at Modal.
    let here = project.read(HERE);
    project.write(HERE, &format!("state = \"absent\"\n{here}"));
    assert_eq!(
        project.plan("").step("image:tiny")["note"].as_str().map(|it| &it[..8]),
        Some("built by")
    );
    project.apply("--yes");
    assert_eq!(project.apply("--yes").ran(), [] as [&str; 0]);
    assert_eq!(project.read("goatbuild.lock"), lock);

    // As older versions left it: what Modal built, in place of what was built here.
    let modals = "image-id = \"im-0123456789\"";
    let digest = format!("digest = {}", own["facts"]["digest"]);
    assert_eq!(lock.matches(&digest).count(), 1, "{digest} in {lock}");
    let key = own["key"].as_str().unwrap();
    let last = if key.ends_with('0') { "1" } else { "0" };
    let modals_key = format!("{}{last}", &key[..key.len() - 1]);
    for left_out in [true, false] {
        let faulty = lock.replacen(&digest, modals, 1).replace(key, &modals_key);
        project.write("goatbuild.lock", &faulty);
        if left_out {
            project.write(HERE, &format!("state = \"absent\"\n{here}"));
            project.apply("--yes");
            assert!(!built(project).contains_key("image:tiny"));
        } else {
            project.write(HERE, &here);
            project.apply("--yes");
            assert_eq!(project.read("goatbuild.lock"), lock);
        }
        assert!(!project.read("goatbuild.lock").contains("image-id"));
    }
}

#[test]
fn what_is_made_here_needs_no_credentials_for_modal() {
    let Some(mut remote) = both() else { return };
    let project = &mut remote.hubbed.project;
    // Both models have the base, the wheels, the image and the weights.
    project.run("lock").exits(0);
    project.variable("MODAL_TOKEN_ID", "");
    let plan = project.plan("");
    let steps = plan.0["steps"].as_array().unwrap().iter();
    let ids: Vec<&str> = steps.map(|step| step["id"].as_str().unwrap()).collect();
    for step in ids.iter().filter(|id| {
        ["base:", "python:", "wheels:"].iter().any(|kind| id.starts_with(kind))
            || ["image:tiny", "weights:acme/tiny@local"].contains(*id)
    }) {
        project.run(&format!("apply --only {step}")).exits(0);
    }
    for step in ["image:tiny@modal", "weights:acme/tiny@modal", "deploy:tiny"] {
        assert!(ids.contains(&step), "{step} in {ids:?}");
        let refused = project.run(&format!("apply --yes --only {step}")).exits(1);
        refused.says(&["there are no credentials for Modal", step]);
    }
}
