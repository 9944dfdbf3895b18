//! The files we write, read by the real `LiteLLM`.

use crate::support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use goatbuild::gateways::litellm::file::File;
use goatbuild::gateways::litellm::{Access, Change, Document, Entry, edit, observe, upsert};
use goatbuild::spec::{Api, Header};
use serde_json::{Value, json};
use support::litellm::{Proxy, validate};

fn entry(port: u16) -> Entry {
    Entry {
        alias: "tiny-local".into(),
        served_name: "acme/tiny".into(),
        api_base: format!("http://127.0.0.1:{port}/v1"),
        access: Access::open(),
        api: Api::Chat,
        project: "goat-7f3a91".into(),
        model: "tiny".into(),
        key: "gb1-0123456789012345678901234567890123456789".into(),
    }
}

/// A file as somebody keeps it by hand, with an included one.
const HAND_MADE: &str = "# our proxy\r
include: [more.yaml] # next to this file\r
model_list:\r
# the big one\r
- model_name: gpt-4\r
  litellm_params: {model: openai/gpt-4, api_key: os.environ/SOME_KEY} # paid\r
- &tiny\r
  model_info: {id: hand-made}\r
  model_name: 'tiny-local' # as clients know it\r
  litellm_params:\r
    model: openai/older\r
    rpm: 77\r
    timeout: 20\r
# end\r
litellm_settings: {drop_params: true}";

const MORE: &str =
    "model_list:\n- model_name: more\n  litellm_params: {model: openai/more, api_key: x}\n";

/// A request: its first line, its headers in small letters, and its body.
struct Asked {
    line: String,
    headers: Vec<String>,
    body: Value,
}

/// A double of an engine: answers every chat, and hands on what it was asked.
fn upstream_double() -> (u16, Receiver<Asked>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut reader = BufReader::new(stream);
            let (mut first, mut length, mut headers) = (String::new(), 0, Vec::new());
            reader.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() <= 2 {
                    break;
                }
                let (name, value) = line.trim().split_once(": ").unwrap();
                headers.push(format!("{}: {value}", name.to_ascii_lowercase()));
                let line = line.to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let message = json!({"role": "assistant", "content": "meh"});
            let answer = json!({
                "id": "1", "object": "chat.completion", "created": 1, "model": "acme/tiny",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            })
            .to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let length = answer.len();
            let answer = format!("{head}\r\nContent-Length: {length}\r\n\r\n{answer}");
            reader.into_inner().write_all(answer.as_bytes()).unwrap();
            // At its start the proxy also asks for the models.
            if first.starts_with("POST") {
                let _ = asked.send(Asked { line: first.trim().to_owned(), headers, body });
            }
        }
    });
    (port, receiver)
}

#[test]
fn litellm_reads_a_fresh_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    let file = File::read(&path).unwrap();
    file.write(&upsert(&file.document().unwrap(), &entry(9), false).unwrap()).unwrap();
    let Some(said) = validate(&path) else { return };
    assert!(said.contains("config OK (1 models)"), "{said}");
}

/// `PyYAML` reads YAML 1.1, in which `on`, `1:30` and `1_000` are no strings.
#[test]
fn pyyaml_reads_every_alias_as_written() {
    let aliases = [
        "on",
        "No",
        "y",
        "~",
        "null",
        "1:30",
        "1_000",
        "0x1f",
        "1e3",
        ".inf",
        "2001-01-01",
        "=",
        "<<",
        "a:b",
        "a: b",
        "a #b",
        "[x]",
        "é",
        "\u{1f410}",
        "'",
        "\"",
        "\\",
        "tab\there",
        "\u{85}",
        "\u{2028}",
        "\u{7f}",
        " x ",
        "-",
        "openai/*",
        "true",
        "_",
        "a:",
        "%a",
        "@a",
        "`a",
    ];
    let entries: Vec<_> = aliases
        .iter()
        .enumerate()
        .map(|(index, alias)| Entry {
            alias: (*alias).into(),
            model: format!("m{index}"),
            ..entry(1)
        })
        .collect();
    let changes: Vec<_> =
        entries.iter().map(|entry| Change::Upsert { entry, adopt: false }).collect();
    let directory = tempfile::tempdir().unwrap();
    let Some(venv) = support::litellm::venv() else { return };
    for start in ["", "model_list: [{model_name: x}]"] {
        let path = directory.path().join("config.yaml");
        let text = edit(&Document::parse("config.yaml", start).unwrap(), &changes).unwrap();
        fs::write(&path, text).unwrap();
        let code = "import json, sys, yaml; print(json.dumps([m['model_name'] for m in yaml.safe_load(open(sys.argv[1], encoding='utf-8'))['model_list']]))";
        let output =
            Command::new(venv.join("bin/python")).args(["-c", code]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut read: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
        read.retain(|alias| alias != "x");
        assert_eq!(read, aliases);
    }
}

#[test]
fn litellm_serves_an_adopted_entry_in_a_hand_made_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, HAND_MADE).unwrap();
    fs::write(directory.path().join("more.yaml"), MORE).unwrap();
    let (port, asked) = upstream_double();
    let file = File::read(&path).unwrap();
    file.write(&upsert(&file.document().unwrap(), &entry(1), true).unwrap()).unwrap();
    // A later run edits the adopted entry and adds another.
    let second = Entry { alias: "second-local".into(), model: "second".into(), ..entry(port) };
    for entry in [entry(port), second] {
        let file = File::read(&path).unwrap();
        file.write(&upsert(&file.document().unwrap(), &entry, false).unwrap()).unwrap();
    }
    let Some(said) = validate(&path) else { return };
    assert!(said.contains("config OK (4 models)"), "{said}");

    let Some(proxy) = Proxy::start(&path) else { return };
    let (status, info) = proxy.request("GET", "/model/info", "");
    assert_eq!(status, 200, "{info}");
    let models = info["data"].as_array().unwrap();
    assert_eq!(models.len(), 4, "{info}");
    let tiny = models.iter().find(|model| model["model_name"] == "tiny-local").unwrap();
    let Entry { project, model, key, .. } = entry(port);
    let marker = json!({"project": project, "model": model, "key": key});
    assert_eq!(tiny["model_info"]["goatbuild"], marker, "{tiny}");
    assert_eq!(tiny["model_info"]["id"], "hand-made", "{tiny}");
    assert_eq!(tiny["litellm_params"]["rpm"], 77, "{tiny}");
    assert!(models.iter().any(|model| model["model_name"] == "more"), "{info}");

    for alias in ["tiny-local", "second-local"] {
        let chat = json!({"model": alias, "messages": [{"role": "user", "content": "hi"}]});
        let (status, answer) = proxy.request("POST", "/v1/chat/completions", &chat.to_string());
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["choices"][0]["message"]["content"], "meh");
        let Asked { line, body, .. } = asked.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(line.starts_with("POST /v1/chat/completions "), "{line}");
        assert_eq!(body["model"], "acme/tiny");
    }
}

/// What a model is asked with, out of the proxy's own variables: in its file and in one that it
/// includes.
#[test]
fn litellm_sends_what_protected_models_want() {
    let header = |name, scheme, variable: &str| Header { name, scheme, variable: variable.into() };
    let proxied =
        [header("Modal-Key", "", "PROXY_KEY"), header("Modal-Secret", "", "PROXY_SECRET")];
    let keyed = [header("Authorization", "Bearer ", "GOATBUILD_API_KEY")];
    let directory = tempfile::tempdir().unwrap();
    let (port, asked) = upstream_double();
    let entries = [("proxied", &proxied[..]), ("keyed", &keyed[..]), ("open", &[])];
    let entries = entries.map(|(alias, headers)| Entry {
        alias: alias.into(),
        model: alias.into(),
        access: Access::with(headers),
        ..entry(port)
    });
    let changes: Vec<_> =
        entries.iter().map(|entry| Change::Upsert { entry, adopt: false }).collect();
    let text = edit(&Document::parse("more.yaml", "").unwrap(), &changes).unwrap();
    // Nothing that the proxy has to find out is in the files.
    assert!(!text.contains("the-") && text.contains("os.environ/PROXY_SECRET"), "{text}");
    fs::write(
        directory.path().join("more.yaml"),
        text.replace("model_name: ", "model_name: inner-"),
    )
    .unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, format!("include: [more.yaml]\n{text}")).unwrap();
    let variables = [
        ("PROXY_KEY", "wk-the-key"),
        ("PROXY_SECRET", "ws-the-secret"),
        ("GOATBUILD_API_KEY", "gbk-the-key"),
    ];
    let Some(proxy) = Proxy::start_with(&path, &variables) else { return };
    let token = ["modal-key: wk-the-key", "modal-secret: ws-the-secret"];
    for (alias, key, wanted) in [
        ("proxied", "none", &token[..]),
        ("keyed", "gbk-the-key", &[]),
        ("open", "none", &[]),
        ("inner-proxied", "none", &token),
        ("inner-keyed", "gbk-the-key", &[]),
    ] {
        let chat = json!({"model": alias, "messages": [{"role": "user", "content": "hi"}]});
        let (status, answer) = proxy.request("POST", "/v1/chat/completions", &chat.to_string());
        assert_eq!(status, 200, "{alias}: {answer}");
        let Asked { headers, .. } = asked.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(headers.contains(&format!("authorization: Bearer {key}")), "{alias}: {headers:?}");
        let modal: Vec<&String> = headers.iter().filter(|it| it.starts_with("modal-")).collect();
        assert_eq!(modal, wanted, "{alias}");
    }
    // Whoever asks the proxy what it serves is not told.
    let (_, info) = proxy.request("GET", "/model/info", "");
    for secret in ["wk-the-key", "ws-the-secret", "gbk-the-key"] {
        assert!(!info.to_string().contains(secret), "{info}");
    }
}

/// Its health checks ask each model for what it is for; without a mode, they would ask all for a chat.
#[test]
fn litellm_checks_the_health_of_models_by_what_they_are_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    let (port, asked) = upstream_double();
    let paths = [
        (Api::Chat, "chat/completions"),
        (Api::Completions, "completions"),
        (Api::Embeddings, "embeddings"),
        (Api::Rerank, "rerank"),
        (Api::Transcriptions, "audio/transcriptions"),
    ];
    let entries = paths.map(|(api, path)| Entry {
        alias: path.into(),
        model: path.into(),
        served_name: format!("acme/{}", path.replace('/', "-")),
        api,
        ..entry(port)
    });
    let changes: Vec<_> =
        entries.iter().map(|entry| Change::Upsert { entry, adopt: false }).collect();
    let text = edit(&Document::parse("config.yaml", "").unwrap(), &changes).unwrap();
    fs::write(&path, text).unwrap();
    let Some(proxy) = Proxy::start(&path) else { return };
    let (status, health) = proxy.request("GET", "/health", "");
    assert_eq!(status, 200, "{health}");
    let mut lines: Vec<String> = asked.try_iter().map(|asked| asked.line).collect();
    lines.sort();
    lines.dedup();
    let mut wanted = paths.map(|(_, path)| format!("POST /v1/{path} HTTP/1.1"));
    wanted.sort();
    assert_eq!(lines, wanted, "{health}");
}

/// Which model group is asked for a name, by the function that `LiteLLM` itself resolves it with.
const RESOLVE: &str = "
import json, sys, yaml
from litellm.router_utils.common_utils import resolve_served_model
name = sys.argv[1]
for text in json.load(sys.stdin):
    config = yaml.safe_load(text)
    settings, router = config.get('litellm_settings') or {}, config.get('router_settings') or {}
    found = resolve_served_model(
        name, settings.get('model_alias_map'), None, router.get('model_group_alias'))
    print(found)
";

#[test]
fn alias_maps_lead_where_litellm_says_that_they_lead() {
    let Some(venv) = support::litellm::venv() else { return };
    let groups = "router_settings: {model_group_alias: ";
    let aliases = "litellm_settings: {model_alias_map: ";
    let texts = [
        format!("{groups}{{tiny-local: gpt-4o}}}}"),
        format!("{groups}{{tiny-local: {{model: gpt-4o, hidden: true}}}}}}"),
        format!("{groups}{{tiny-local: tiny-local}}}}"),
        format!("{groups}{{gpt-4o: tiny-local}}}}"),
        format!("{groups}{{tiny-local: ''}}}}"),
        format!("{groups}{{tiny-local: [a, b]}}}}"),
        format!("{groups}{{tiny-local: {{hidden: true}}}}}}"),
        format!("{aliases}{{tiny-local: far}}}}"),
        format!("{aliases}{{tiny-local: far}}}}\n{groups}{{far: tiny-local}}}}"),
        format!("{aliases}{{tiny-local: far}}}}\n{groups}{{far: farther, tiny-local: x}}}}"),
        format!("{aliases}{{far: tiny-local}}}}\n{groups}{{far: x}}}}"),
    ];
    let mut command = Command::new(venv.join("bin/python"));
    command.args(["-c", RESOLVE, "tiny-local"]).env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let asked = serde_json::to_string(&texts).unwrap();
    child.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<&str> = said.lines().collect();
    let ours: Vec<String> = texts
        .iter()
        .map(|text| {
            let document = Document::parse("config.yaml", text).unwrap();
            observe(&document, &entry(9)).detour.map_or("tiny-local".to_owned(), |it| it.target)
        })
        .collect();
    assert_eq!(ours, theirs);
}
