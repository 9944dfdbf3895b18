//! The table's rows of models that are on a hub.

use super::support::double::Content;
use super::support::hub::COMMIT;
use super::support::hubbed::{Hubbed, NEXT, SERVER, SPEC, WEIGHTS};

const DRAFT: &str = "weights:acme/draft";

/// The hub's model at another commit, in other words.
fn advance(hubbed: &Hubbed) {
    hubbed.hub.advance("acme/tiny", NEXT);
    let hello = "os.environ.get(\"GREETING\", \"hello\")";
    assert!(SERVER.contains(hello));
    hubbed.hub.small("acme/tiny", "server.py", &SERVER.replace(hello, "\"moved\""));
}

#[test]
fn another_revision_reruns_weights_deploy_and_smoke() {
    let Some(hubbed) = Hubbed::new() else { return };
    let first = [WEIGHTS, "deploy:tiny", "gateway:tiny", "smoke:tiny"];
    let mut ran = hubbed.project.apply("").ran();
    ran.sort();
    let mut first = first.map(str::to_owned);
    first.sort();
    assert_eq!(ran, first);
    assert_eq!(hubbed.project.ask("tiny").as_deref(), Some("hello"));
    advance(&hubbed);
    hubbed.revision(Some(NEXT));
    let plan = hubbed.project.plan("");
    assert_eq!(plan.why(WEIGHTS), ["changed model.revision"]);
    assert_eq!(plan.why("deploy:tiny"), ["changed model.revision"]);
    assert_eq!(plan.ids("run"), ["deploy:tiny", WEIGHTS]);
    assert_eq!(plan.ids("pending"), ["smoke:tiny"]);
    assert_eq!(hubbed.project.apply("").ran(), ["deploy:tiny", "smoke:tiny", WEIGHTS]);
    assert_eq!(hubbed.project.ask("tiny").as_deref(), Some("moved"));
    assert_eq!(hubbed.project.apply("").ran(), [""; 0]);
    // There and back again.
    hubbed.revision(Some(COMMIT));
    assert_eq!(hubbed.project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
    assert_eq!(hubbed.project.ask("tiny").as_deref(), Some("hello"));
}

#[test]
fn another_revision_warms_up_again_where_the_model_compiles() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.project.edit(SPEC, "name = \"command\"", "name = \"command\"\ncompiles = true");
    hubbed.project.append(SPEC, "[env]\nCOMPILE = \"once\"\n");
    hubbed.project.apply("").ran();
    advance(&hubbed);
    hubbed.revision(Some(NEXT));
    let ran = ["deploy:tiny", "smoke:tiny", "warmup:tiny", WEIGHTS];
    assert_eq!(hubbed.project.apply("").ran(), ran);
}

#[test]
fn other_patterns_rerun_weights_deploy_and_smoke() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.project.apply("").ran();
    let source = format!("source = \"hf:acme/tiny\"\nrevision = \"{COMMIT}\"\n");
    hubbed.model(&format!("{source}ignore = [\"original/\"]\n"));
    let plan = hubbed.project.plan("");
    for step in [WEIGHTS, "deploy:tiny"] {
        assert_eq!(plan.why(step), ["changed model.ignore"]);
    }
    assert_eq!(hubbed.project.apply("").ran(), ["deploy:tiny", "smoke:tiny", WEIGHTS]);
    // In another order, and said twice, they are the same.
    hubbed.model(&format!("{source}ignore = [\"original/\", \"original/\"]\n"));
    assert_eq!(hubbed.project.apply("").ran(), [""; 0]);
}

#[test]
fn a_draft_has_weights_of_its_own_which_deploy_consumes() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.hub.small("acme/draft", "config.json", "{}");
    hubbed.hub.large("acme/draft", "model.safetensors", &Content::noise(3, 1000));
    let draft = format!(
        "[draft]\nsource = \"hf:acme/draft\"\nrevision = \"{COMMIT}\"\nmethod = \"eagle3\"\n\
         num-speculative-tokens = 3\n"
    );
    hubbed.project.append(SPEC, &draft);
    hubbed.project.edit(SPEC, "\"{port}\"]", "\"{port}\", \"--flavour\", \"{draft}\"]");
    let ran = [DRAFT, "deploy:tiny", "gateway:tiny", "smoke:tiny", WEIGHTS];
    let mut ran: Vec<String> = ran.map(str::to_owned).into();
    ran.sort();
    assert_eq!(hubbed.project.apply("").ran(), ran);
    let served = hubbed.project.served("tiny").unwrap();
    let path = format!("/hub/models--acme--draft/snapshots/{COMMIT}");
    assert!(served.to_string().contains(&format!("/root/.cache/huggingface{path}")), "{served}");
    let snapshot = format!("table-4c19d2-model-cache{path}/model.safetensors");
    assert_eq!(std::fs::read(hubbed.project.volumes().join(snapshot)).unwrap().len(), 1000);

    hubbed.hub.advance("acme/draft", NEXT);
    let spec = hubbed.project.read(SPEC);
    let (before, after) = spec.split_once("[draft]").unwrap();
    hubbed.project.write(SPEC, &format!("{before}[draft]{}", after.replace(COMMIT, NEXT)));
    let plan = hubbed.project.plan("");
    assert_eq!(plan.why(DRAFT), ["changed model.revision"]);
    assert_eq!(plan.why("deploy:tiny"), ["changed draft.revision"]);
    assert_eq!(hubbed.project.apply("").ran(), ["deploy:tiny", "smoke:tiny", DRAFT]);
    hubbed.project.edit(SPEC, "num-speculative-tokens = 3", "num-speculative-tokens = 4");
    assert_eq!(
        hubbed.project.plan("").why("deploy:tiny"),
        ["changed draft.num-speculative-tokens"]
    );
    assert_eq!(hubbed.project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
}
