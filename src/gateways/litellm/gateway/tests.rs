use super::*;
use crate::fingerprint::Fingerprint;
use crate::spec::Api;

fn key(value: u32) -> Key {
    Fingerprint::new("gateway", value).key()
}

fn entry(model: &str) -> Endpoint {
    Endpoint {
        alias: format!("{model}-local"),
        served_name: model.to_owned(),
        url: "http://127.0.0.1:8000/v1".to_owned(),
        headers: Vec::new(),
        api: Api::Chat,
        project: "goat-1".to_owned(),
        model: model.to_owned(),
        key: key(1).to_string(),
    }
}

/// A gateway with a mirror, whose reload command writes a line per run, or fails.
fn gateway(root: &Path, reload: &str) -> LiteLlm {
    for name in ["config.yaml", "mirror.yaml"] {
        let path = root.join(name);
        if !path.exists() {
            std::fs::write(path, "model_list: []\n").unwrap();
        }
    }
    let settings = Settings {
        config: "config.yaml".into(),
        mirror: Some("mirror.yaml".into()),
        reload: Some(["sh", "-c", reload].map(str::to_owned).to_vec()),
    };
    LiteLlm::new(root, "goat-1", &settings)
}

#[test]
fn a_mode_is_described_only_where_there_is_one_and_a_hand_that_changes_it_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let gateway = gateway(root.path(), "true");
    let (chats, reranks) = (entry("m"), Endpoint { api: Api::Rerank, ..entry("m") });
    let key_of = |describe: &dyn Fn(&mut Fingerprint)| {
        let mut fingerprint = Fingerprint::new("gateway", 1_u32);
        describe(&mut fingerprint);
        fingerprint.key()
    };
    let wanted = |endpoint: &Endpoint| key_of(&|it| gateway.describe(endpoint, it));
    let found =
        |endpoint: &Endpoint| key_of(&|it| gateway.describe_found(endpoint, it).expect("an entry"));
    assert_ne!(wanted(&chats), wanted(&reranks));
    gateway.upsert(std::slice::from_ref(&chats), false).unwrap();
    gateway.look().unwrap();
    assert_eq!(found(&reranks), wanted(&chats), "it was written for chats");
    gateway.upsert(std::slice::from_ref(&reranks), false).unwrap();
    gateway.look().unwrap();
    assert_eq!(found(&reranks), wanted(&reranks));
    assert!(gateway.is_as_wanted(&reranks));

    let path = root.path().join("config.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("mode: rerank", "mode: embedding")).unwrap();
    gateway.look().unwrap();
    assert!(!gateway.is_as_wanted(&reranks));
    std::fs::write(&path, text.replace("hosted_vllm/", "openai/")).unwrap();
    gateway.look().unwrap();
    assert!(!gateway.is_as_wanted(&reranks));
}

#[test]
fn an_entry_is_seen_as_it_was_written() {
    let root = tempfile::tempdir().unwrap();
    let gateway = gateway(root.path(), "true");
    let (entry, key) = (entry("m"), key(1));
    assert_eq!(gateway.observe(&entry, Some(&key)), Observation::Unobserved(None));
    gateway.look().unwrap();
    assert_eq!(gateway.observe(&entry, Some(&key)), Observation::Absent);
    assert!(gateway.upsert(std::slice::from_ref(&entry), false).unwrap());
    assert!(!gateway.upsert(std::slice::from_ref(&entry), false).unwrap());
    gateway.look().unwrap();
    assert_eq!(
        gateway.observe(&entry, Some(&key)),
        Observation::Present { key, facts: crate::gateways::facts(&entry.alias) }
    );
    assert_eq!(gateway.key("m"), Some(key.to_string()));
    assert_eq!(gateway.unwanted(&|_| false)[0].id.as_str(), "gateway:m");
    assert!(gateway.unwanted(&|model| model == "m").is_empty());
    // A kill between the two files: the mirror tells.
    std::fs::write(root.path().join("mirror.yaml"), "model_list: []\n").unwrap();
    gateway.look().unwrap();
    assert!(matches!(gateway.observe(&entry, Some(&key)), Observation::Drifted { .. }));
    gateway.upsert(std::slice::from_ref(&entry), false).unwrap();
    assert!(gateway.remove("m").unwrap());
    gateway.look().unwrap();
    assert_eq!(gateway.observe(&entry, Some(&key)), Observation::Absent);
}

#[tokio::test]
async fn a_change_is_reloaded_once_and_again_after_a_failure() {
    let root = tempfile::tempdir().unwrap();
    let count = || std::fs::read_to_string(root.path().join("runs")).unwrap_or_default().len();
    let broken = gateway(root.path(), "echo no; exit 3");
    assert_eq!(broken.reload().await.unwrap(), None, "nothing changed");
    broken.upsert(&[entry("m")], false).unwrap();
    let error = broken.reload().await.unwrap_err();
    assert_eq!(error.code().unwrap().to_string(), "goatbuild::gateway::reload");
    // Another process takes it up.
    let mended = gateway(root.path(), "printf x >> runs");
    assert!(mended.reload().await.unwrap().is_some());
    assert_eq!(mended.reload().await.unwrap(), None);
    assert_eq!(count(), 1);
    mended.upsert(&[entry("m")], false).unwrap();
    assert_eq!(mended.reload().await.unwrap(), None, "nothing changed");
}
