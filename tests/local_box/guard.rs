//! The middleware that asks for the key in front of vLLM, loaded as vLLM does, in the framework that vLLM has.

use std::fs;
use std::process::Command;

use crate::support::litellm;

/// The end of `build_app` in vLLM's `entrypoints/openai/api_server.py`, from 0.8.5.post1 to 0.13.0: what
/// `--middleware` names is imported, and added last. The application below it is a double.
const PROGRAM: &str = r#"
import importlib, inspect, json, sys
from fastapi import FastAPI, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

app = FastAPI()
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])

@app.get("/health")
async def health():
    return {}

@app.get("/{path:path}")
async def get(path: str):
    return {"path": path}

@app.post("/v1/chat/completions")
async def chat():
    return StreamingResponse(iter(["data: {}\n\n", "data: [DONE]\n\n"]), media_type="text/event-stream")

@app.post("/{path:path}")
async def post(path: str):
    return {"path": path}

@app.websocket("/v1/realtime")
async def realtime(socket: WebSocket):
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()

for middleware in ["goatbuild_guard.Guard"]:
    module_path, object_name = middleware.rsplit(".", 1)
    imported = getattr(importlib.import_module(module_path), object_name)
    assert inspect.isclass(imported)
    app.add_middleware(imported)

client = TestClient(app)
key = {"Authorization": "Bearer hush-5d"}

def heard(headers):
    try:
        with client.websocket_connect("/v1/realtime", headers=headers) as socket:
            return socket.receive_text()
    except WebSocketDisconnect as end:
        return end.code

asks = {"Origin": "http://a", "Access-Control-Request-Method": "POST"}
print(json.dumps({
    "health": client.get("/health").status_code,
    "open": {path: client.get(path).status_code
             for path in ["/v1/models", "/metrics", "/health/x", "//health", "/health%2f..%2fv1", "/server_info", "/"]},
    "posted": {path: client.post(path).status_code
               for path in ["/v1/chat/completions", "/invocations", "/tokenize", "/health", "/ping", "/sleep"]},
    "wrong": [client.get("/v1/models", headers=[("Authorization", it)]).status_code for it in
              ["Bearer hush-5", "Bearer hush-5d5", "hush-5d", "Basic hush-5d", "Bearer", "Bearer  "]],
    "twice": client.get("/v1/models", headers=[("Authorization", "Bearer no"), ("Authorization", key["Authorization"])]).status_code,
    "right": [client.get("/v1/models", headers={"Authorization": it}).status_code for it in ["Bearer hush-5d", "bearer hush-5d"]],
    "streamed": client.post("/v1/chat/completions", headers=key).text,
    "preflight": client.options("/v1/models", headers=asks).status_code,
    "options": client.options("/v1/models").status_code,
    "refusal": client.get("/v1/models").headers["www-authenticate"],
    "sockets": [heard({}), heard(key)],
}))
"#;

#[test]
fn nothing_but_a_word_that_the_engine_is_up_is_had_without_the_key() {
    let Some(venv) = litellm::venv() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let guard = concat!(env!("CARGO_MANIFEST_DIR"), "/src/targets/local/goatbuild_guard.py");
    fs::copy(guard, directory.path().join("goatbuild_guard.py")).expect("the middleware");
    let ran = Command::new(venv.join("bin/python"))
        .args(["-c", PROGRAM])
        .env("PYTHONPATH", directory.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("GOATBUILD_API_KEY", "hush-5d")
        .output()
        .expect("Python");
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{told}");
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!(told["health"], 200);
    for kind in ["open", "posted"] {
        for (path, status) in told[kind].as_object().expect("paths") {
            assert_eq!(*status, 401, "{kind} {path}");
        }
    }
    assert_eq!(told["wrong"], serde_json::json!([401, 401, 401, 401, 401, 401]));
    assert_eq!(told["twice"], 401);
    assert_eq!(told["right"], serde_json::json!([200, 200]));
    assert_eq!(told["streamed"], "data: {}\n\ndata: [DONE]\n\n");
    assert_eq!((&told["preflight"], &told["options"]), (&200.into(), &401.into()));
    assert_eq!(told["refusal"], "Bearer");
    // 1008 is "policy violation": RFC 6455, 7.4.1.
    assert_eq!(told["sockets"], serde_json::json!([1008, "hello"]));
}
