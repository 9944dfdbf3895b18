//! What the programs ask an engine once it is up: it compiles, loads and keeps what a request needs.

use serde_json::{Value, json};

use crate::openai::{Form, asked};
use crate::spec::Api;
use crate::targets::Deployment;

/// Where a program asks.
const PLACE: &str = "        # <question>\n";

/// What asks for chats is in the programs' own text: those of models that chat stay as they are deployed.
const WARMUP_CHAT: &str = include_str!("../runtime/warmup-chat.part.py");
const SNAPSHOT_CHAT: &str = include_str!("../runtime/snapshot-chat.part.py");

/// What asks for anything else, as the data has it.
const QUESTION: &str = include_str!("../runtime/question.part.py");
const SNAPSHOT_ROOT: &str = "        root = f\"http://127.0.0.1:{MODEL['engine_port']}\"\n";

/// Has a program ask for what its model is for.
pub(in crate::targets::modal) fn add(deployment: &Deployment, data: &mut Value) {
    if deployment.api != Api::Chat {
        let Form { kind, begin, zeros, end } = asked(deployment.api, &deployment.served_name);
        // A letter for each byte: the head of a recording is no text.
        let begin: String = begin.into_iter().map(char::from).collect();
        data["question"] = json!({
            "path": deployment.api.path(),
            "type": kind,
            "begin": begin,
            "zeros": zeros,
            "end": end,
        });
    }
}

/// A program's own text, with what it asks.
pub(super) fn place(runtime: &str, data: &Value) -> String {
    let from_snapshot = data.get("snapshot").is_some();
    let asked = match (data.get("question").is_some(), from_snapshot) {
        (false, false) => WARMUP_CHAT.to_owned(),
        (false, true) => SNAPSHOT_CHAT.to_owned(),
        (true, false) => QUESTION.to_owned(),
        (true, true) => format!("{SNAPSHOT_ROOT}{QUESTION}"),
    };
    runtime.replace(PLACE, &asked)
}
