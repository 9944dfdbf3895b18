//! Models that go by their spec.

use super::Remote;
use super::support::hubbed::SPEC;

const STATE: &str = "state = \"absent\"\n";

#[test]
fn a_spec_keeps_a_model_away() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.apply("--yes").ran();
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
