"""A double of a model server: the OpenAI API, strictly, without a model.

MODE=crash ends before it listens, MODE=stuck never listens, MODE=deaf never gets healthy, MODE=mute fails to chat,
MODE=mumbling to call a tool. COMPILE=once fills the compile
cache where it is empty, COMPILE=always adds to it at each start, COMPILE=anew writes it again at each start; each of
them has a kernel in FlashInfer's cache, too, and a note of each start in both. COMPILE=keyed compiles where the cache has nothing for
its key, and tells what went into that like vLLM 0.13.0, secrets too; with COMPILE=unsteady one of it differs at each
start. GREETING is what it answers.
"""
import argparse
import hashlib
import http.server
import json
import os
import pathlib
import sys
import time
import uuid

parser = argparse.ArgumentParser()
parser.add_argument("--host", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--flavour")
parser.add_argument("--tool-call-parser")
options = parser.parse_args()
mode = os.environ.get("MODE", "")
print(f"starting {mode}", flush=True)
if mode == "crash":
    sys.exit("no kernel image is available")
if mode == "stuck":
    time.sleep(3600)
cache = pathlib.Path("/root/.cache/vllm")
compiles = os.environ.get("COMPILE", "")
kernels = pathlib.Path("/root/.cache/flashinfer")
if compiles in ("always", "anew") or compiles == "once" and not (cache / "graph.bin").exists():
    name = uuid.uuid4().hex if compiles == "always" else "graph"
    print(f"compiling {name}", flush=True)
    (cache / f"{name}.bin").write_bytes(b"compiled" if compiles != "anew" else uuid.uuid4().bytes)
    (kernels / "kernel.so").write_bytes(b"compiled")
for place in (cache, kernels):
    if compiles in ("always", "anew", "once"):
        with open(place / "starts.log", "a") as notes:
            print("started", file=notes)
if compiles in ("keyed", "unsteady"):
    secret = uuid.uuid4().hex if compiles == "unsteady" else "0123456789abcdef"
    env = {"HOME": os.environ.get("HOME"), "VLLM_API_KEY": f"sk-double-{secret}"}
    factors = json.dumps({"env": env, "config": {"max_model_len": 8192}, "code_hash": "c0de"}, indent=2)
    key = hashlib.sha256(factors.encode()).hexdigest()[:10]
    place = cache / "torch_compile_cache" / key / "rank_0_0" / "backbone"
    if not place.exists():
        print(f"compiling {key}", flush=True)
        place.mkdir(parents=True)
        (place / "cache_key_factors.json").write_text(factors)
        (place / "graph.bin").write_bytes(b"compiled")


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json"):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/health":
            self.answer(503 if mode == "deaf" else 200, "")
        elif self.path == "/v1/models":
            self.answer(200, json.dumps({"object": "list", "data": [{"id": "double"}]}))
        else:
            self.answer(404, "{}")

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        asked = json.loads(self.rfile.read(length) or b"{}")
        if self.path != "/v1/chat/completions" or not asked.get("messages"):
            self.answer(400, "{}")
            return
        if mode == "mute":
            self.answer(500, "out of words")
            return
        words = os.environ.get("GREETING", "hello")
        whole = {"object": "chat.completion", "model": asked.get("model")}
        if asked.get("tools"):
            # Strictly: with tools, and how to read calls out of what is written, or not at all.
            wanted = asked["tools"][0]["function"]["name"]
            called = {"id": "1", "type": "function", "function": {"name": wanted, "arguments": '{"a": 2, "b": 3}'}}
            if mode == "mumbling":
                called["function"]["arguments"] = "{"
            if not options.tool_call_parser or asked.get("tool_choice") != "auto":
                self.answer(400, '{"message": "no tool-call parser"}')
                return
            message = {"role": "assistant", "content": None, "tool_calls": [called]}
            self.answer(200, json.dumps(whole | {"choices": [{"index": 0, "message": message}]}))
            return
        if not asked.get("stream"):
            message = {"role": "assistant", "content": words}
            self.answer(200, json.dumps(whole | {"choices": [{"index": 0, "message": message}]}))
            return
        piece = {"choices": [{"index": 0, "delta": {"content": words}}]}
        events = [json.dumps(whole | piece), "[DONE]"]
        self.answer(200, "".join(f"data: {it}\n\n" for it in events), "text/event-stream")


http.server.ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()
