//! Models that don't chat: tried out, tested and shown by what they are for.
//!
//! The server is a double. What it takes and gives is what OpenAI's API reference says of `completions`,
//! `embeddings` and `audio/transcriptions`, and vLLM's documentation of `rerank`; it refuses what is not there,
//! and chats with nobody, as vLLM does for models that don't generate.
#![cfg(target_os = "linux")]

use crate::support;

use support::project::Project;

pub(crate) const SERVER: &str = r#"
import email, http.server, io, json, sys, wave
api = sys.argv[1]

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(200, {"object": "list", "data": [{"id": "tiny"}]})

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/" + api.removeprefix("bad-"):
            return self.answer(404, {"error": {"message": f"The model does not support {self.path}"}})
        if api == "audio/transcriptions":
            head = f"Content-Type: {self.headers['Content-Type']}\n\n".encode()
            parts = {it.get_param("name", header="content-disposition"): it.get_payload(decode=True)
                     for it in email.message_from_bytes(head + sent).get_payload()}
            with wave.open(io.BytesIO(parts["file"])) as sound:
                assert (sound.getnchannels(), sound.getframerate(), sound.getnframes()) == (1, 16000, 16000)
            assert parts["model"] == b"tiny"
            return self.answer(200, {"text": ""})
        asked = json.loads(sent)
        assert asked.pop("model") == "tiny"
        if api == "completions":
            assert set(asked) == {"prompt", "max_tokens"}
            self.answer(200, {"object": "text_completion", "choices": [{"index": 0, "text": " Hi"}]})
        elif api == "rerank":
            scores = [{"index": at, "document": {"text": it}, "relevance_score": 0.9 - at / 2}
                      for at, it in enumerate(asked["documents"])]
            assert set(asked) == {"query", "documents"}
            self.answer(200, {"results": scores})
        else:
            assert set(asked) == {"input"}
            vector = [None, 0.5] if api == "bad-embeddings" else [0.25, -0.5, 1]
            one = {"object": "embedding", "index": 0, "embedding": vector}
            self.answer(200, {"object": "list", "data": [one], "usage": {"prompt_tokens": 3}})

http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"#;

/// A model that is served by this, and what its spec says of that.
fn project(api: &str, said: &str) -> Option<Project> {
    let project = Project::new()?;
    project.write("model/server.py", SERVER);
    project.edit(
        "specs/tiny.toml",
        "\"--host\", \"{host}\", \"--port\", ",
        &format!("\"{api}\", "),
    );
    project.append("specs/tiny.toml", &format!("\n[serve]\nserved-name = \"tiny\"\n{said}"));
    Some(project)
}

#[test]
fn what_does_not_chat_is_tried_out_tested_and_shown_by_what_it_is_for() {
    for (path, api, tested, shown) in [
        ("completions", "completions", "text", "\"prompt\":\"Hello\""),
        ("embeddings", "embeddings", "3 numbers", "\"input\":\"Hello\""),
        ("rerank", "rerank", "text 1 fits best, 0.900", "\"query\":\"Hello\""),
        ("audio/transcriptions", "transcriptions", "hear", "-F file=@speech.wav"),
    ] {
        let Some(project) = project(path, &format!("api = \"{api}\"\n")) else { return };
        let url = format!("/v1/{path} ");
        project.run("apply").exits(0).says(&["curl http://127.0.0.1:", &url, shown]);
        let ran = project.run("test tiny").exits(0);
        assert!(!ran.stdout.contains("chat") && !ran.stdout.contains("stream"), "{}", ran.stdout);
        ran.says(&[tested]);
        // What it is asked for is nothing of what it is: only its entry in the gateway's file says it.
        project.edit("specs/tiny.toml", &format!("api = \"{api}\"\n"), "");
        assert_eq!(project.plan("").ids("run"), ["gateway:tiny"]);
        project.run("test tiny").fails(1, &["does not support /v1/chat/completions"]);
    }
}

#[test]
fn a_vector_that_overflowed_is_none() {
    let Some(project) = project("bad-embeddings", "api = \"embeddings\"\n") else { return };
    project.run("apply").fails(1, &["something else than a list with a vector of numbers"]);
}

#[test]
fn what_is_none_of_them_is_told() {
    let Some(project) = project("embeddings", "api = \"embedding\"\n") else { return };
    project.run("plan").fails(65, &["did you mean \"embeddings\"?"]);
}
