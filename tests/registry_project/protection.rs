//! Nobody but who has the workspace's token wakes a GPU of the shipped project.

use std::path::Path;

use goatbuild::gateways::litellm::{self, Access, Change, Document, Entry, edit, mirror_upsert};
use goatbuild::spec::{Api, Auth};
use goatbuild::targets::modal::{ModalType, Settings};

use super::specs::shipped;

#[test]
fn every_shipped_model_is_protected_and_the_gateway_files_say_how() {
    let project = shipped();
    let modal = project.targets.of(&ModalType).expect("it serves on Modal").get::<Settings>();
    let entries: Vec<Entry> = project
        .models
        .values()
        .map(|model| {
            assert_eq!(model.serve.auth, Auth::Proxy, "{}", model.name);
            Entry {
                alias: model.gateway.as_ref().expect("an entry").alias.value.clone(),
                served_name: model.serve.served_names.first().to_owned(),
                api_base: format!("https://{}.modal.run/v1", model.name),
                access: Access::with(&modal.headers(model.serve.auth)),
                api: Api::Chat,
                project: project.owner(),
                model: model.name.to_string(),
                key: "gb1-00".to_owned(),
            }
        })
        .collect();
    let gateway = project.gateway.as_ref().expect("a gateway").own.get::<litellm::Settings>();
    let read = |path: &Path| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file")
    };
    let document = Document::parse("config", &read(&gateway.config)).expect("it is YAML");
    let changes: Vec<Change<'_>> =
        entries.iter().map(|entry| Change::Upsert { entry, adopt: false }).collect();
    let config = edit(&document, &changes).expect("it takes them");
    let mut mirror = read(gateway.mirror.as_ref().expect("a mirror"));
    for entry in &entries {
        mirror = mirror_upsert("mirror", &mirror, entry).expect("it takes them");
    }
    for (text, comment) in [(config, ""), (mirror, "# ")] {
        let headers = format!(
            "{comment}      extra_headers:\n{comment}        Modal-Key: os.environ/MODAL_PROXY_KEY\n\
             {comment}        Modal-Secret: os.environ/MODAL_PROXY_SECRET\n"
        );
        assert_eq!(text.matches(&headers).count(), 6, "{text}");
        // Who switches them on is told what they need.
        assert!(text.contains("set MODAL_PROXY_KEY and MODAL_PROXY_SECRET where\n"), "{text}");
    }
}
