//! What an edit does, row by row, by what reaches the control plane.

use serde_json::{Value, json};

use super::registry::Shipped;

const MODEL: &str = "gpt-oss-20b";

const SPEC: &str = "specs/gpt-oss-20b.toml";

const IMAGE: &str = "images/gpt-oss.toml";

const PROJECT: &str = "goatbuild.toml";

/// No commit of the model's own.
const NEXT: &str = "89abcdef0123456789abcdef0123456789abcdef";

const NOTHING: &[&str] = &[];

/// Edits, one on top of the other, of a model that compiles: the file, what is replaced in it by
/// what, and which of these apps run because of it.
const ROWS: [(&str, &str, &str, &[&str]); 14] = [
    (SPEC, "[draft]  ", "# A comment.\n[draft]", NOTHING),
    (PROJECT, "usd-per-hour = 4.50", "usd-per-hour = 4.40", NOTHING),
    (PROJECT, "\"goat-hf-token\"", "\"rotated-hf-token\"", NOTHING),
    (SPEC, "[serve]\n", "[gateway]\nalias = \"oss-local\"\n\n[serve]\n", NOTHING),
    (SPEC, "[serve]\n", "[serve]\nscaledown-window = \"7m\"\n", &["serve"]),
    (SPEC, "scaledown-window = \"7m\"\n", "", &["serve"]),
    (SPEC, "[serve]\n", "[serve]\nmax-inputs = 16\n", &["serve"]),
    (SPEC, "tool-call-parser = \"openai\"", "tool-call-parser = \"hermes\"", &["serve"]),
    (SPEC, "max-model-len = 32768", "max-model-len = 16384", &["warmup", "serve"]),
    (SPEC, "stream-interval = 20 ", "stream-interval = 10 ", &["warmup", "serve"]),
    (SPEC, "[serve]\n", "[env]\nVLLM_USE_V1 = \"1\"\n\n[serve]\n", &["warmup", "serve"]),
    (SPEC, "gpu = \"H100\"", "gpu = \"H100\"\ncount = 2", &["warmup", "serve"]),
    (IMAGE, "MXFP8 = \"1\"", "MXFP8 = \"0\"", &["image", "warmup", "serve"]),
    (SPEC, "d666cf3b67006cf8227666739edf25164aaffdeb", NEXT, &["weights", "warmup", "serve"]),
];

/// What runs for a while, and what serves: in the order in which a model needs it.
const APPS: [(&str, &str); 4] = [
    ("image", "goatbuild-goat-7f3a91-image"),
    ("weights", "goatbuild-goat-7f3a91-weights"),
    ("warmup", "goatbuild-goat-7f3a91-warmup"),
    ("serve", "goat-vllm-gpt-oss-20b"),
];

/// The apps that calls run or deploy.
fn ran(calls: &[Value]) -> Vec<&'static str> {
    let published = calls.iter().filter(|call| call["rpc"] == "AppPublish");
    let apps: Vec<&str> = published.filter_map(|call| call["app"].as_str()).collect();
    for app in &apps {
        assert!(APPS.iter().any(|(_, name)| app.starts_with(name)), "{app}");
    }
    let ran = APPS.iter().filter(|(_, name)| apps.iter().any(|app| app.starts_with(name)));
    ran.map(|(what, _)| *what).collect()
}

#[test]
fn each_edit_reaches_modal_only_with_what_it_has_to() {
    let Some(shipped) = Shipped::with_client() else { return };
    shipped.hub.advance("openai/gpt-oss-20b", NEXT);
    let rotated = ["secret", "create", "--env", "goat", "rotated-hf-token", "HF_TOKEN=hf_other"];
    shipped.client(&rotated);
    let everything = shipped.applied(MODEL);
    assert_eq!(everything["failed"], json!([]), "{everything}");
    assert_eq!(ran(&shipped.modal.calls()), ["image", "weights", "warmup", "serve"]);
    for (file, from, to, wanted) in ROWS {
        shipped.project.edit(file, from, to);
        let end = shipped.applied(MODEL);
        let calls = shipped.modal.calls();
        assert_eq!(ran(&calls), wanted, "{from} to {to}: {end}");
        let deployed = calls.iter().filter(|call| call["state"] == "APP_STATE_DEPLOYED").count();
        assert_eq!(deployed, usize::from(wanted.contains(&"serve")), "{from} to {to}");
        if wanted.is_empty() {
            let changes = calls.iter().filter(|call| call["creates"] == true);
            assert_eq!(changes.count(), 0, "{from} to {to}: {calls:?}");
        }
    }
}
