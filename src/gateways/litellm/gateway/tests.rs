use super::*;
use crate::fingerprint::Fingerprint;

fn key(value: u32) -> Key {
    Fingerprint::new("gateway", value).key()
}

fn entry(model: &str) -> Endpoint {
    Endpoint {
        alias: format!("{model}-local"),
        served_name: model.to_owned(),
        url: "http://127.0.0.1:8000/v1".to_owned(),
        headers: Vec::new(),
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
