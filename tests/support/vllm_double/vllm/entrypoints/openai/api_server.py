"""A DOUBLE of vLLM's server: it wants the weights where its command line says, fills a compile cache as 0.13.0 does
unless it is eager, and answers the OpenAI API. `GET /double` tells how it was started. With `--enable-sleep-mode` and
VLLM_SERVER_DEV_MODE=1 it can be put to sleep, in which it answers nothing that needs the model. MODE=crash ends
before it listens, MODE=mortal ends with status 7 when it is told "end".
"""

import hashlib
import http.server
import itertools
import json
import os
import pathlib
import sys


def names(flags):
    """As many names as stand there, as vLLM's parser takes them."""
    behind = flags[flags.index("--served-model-name") + 1 :]
    return list(itertools.takewhile(lambda flag: not flag.startswith("--"), behind))


def compile_once(flags):
    """Compiles where the cache has nothing for this key, and writes down what went into that: not what requests call
    the model (`ModelConfig.compute_hash` of 0.13.0 leaves `served_model_name` out)."""
    if "--enforce-eager" in flags:
        return False
    cache = pathlib.Path(os.environ["VLLM_CACHE_ROOT"])
    env = {name: value for name, value in os.environ.items() if name.startswith("VLLM_") and name != "VLLM_CACHE_ROOT"}
    factors = json.dumps({"env": env, "config": sorted(set(flags) - set(names(flags)))}, sort_keys=True)
    place = cache / "torch_compile_cache" / hashlib.sha256(factors.encode()).hexdigest()[:10] / "rank_0_0" / "backbone"
    if place.exists():
        return False
    place.mkdir(parents=True)
    (place / "cache_key_factors.json").write_text(factors)
    (place / "graph.bin").write_bytes(b"compiled")
    return True


def adapters(flags):
    """The names and paths of adapters, told apart as `LoRAParserAction` in 0.8.5.post1 and 0.13.0 does."""
    if "--lora-modules" not in flags:
        return []
    assert "--enable-lora" in flags, "LoRA is not enabled"
    behind = flags[flags.index("--lora-modules") + 1 :]
    items = list(itertools.takewhile(lambda flag: not flag.startswith("--"), behind))
    found = [
        tuple(item.split("=")) if "=" in item and "," not in item else (json.loads(item)["name"], json.loads(item)["path"])
        for item in items
    ]
    for _, path in found:
        assert (pathlib.Path(path) / "adapter_config.json").is_file(), f"no adapter in {path}"
    return found


def main():
    flags = sys.argv[1:]

    def value(name):
        return flags[flags.index(name) + 1]

    weights = pathlib.Path(value("--model"))
    assert (weights / "config.json").is_file(), f"no weights in {weights}"
    assert os.environ["HF_HUB_OFFLINE"] == "1" and "HF_TOKEN" not in os.environ
    if "--speculative-config" in flags:
        draft = json.loads(value("--speculative-config"))["model"]
        assert (pathlib.Path(draft) / "config.json").is_file(), f"no draft in {draft}"
    if json.loads((weights / "config.json").read_text())["model_type"] == "gpt_oss":
        # openai-harmony 0.0.8 reads it here, or else at its public address.
        words = pathlib.Path(os.environ["TIKTOKEN_ENCODINGS_BASE"]) / "o200k_base.tiktoken"
        assert hashlib.sha256(words.read_bytes()).hexdigest().startswith("446a9538cb6c348e"), f"{words} is another file"
    if "--tokenizer" in flags:
        words = pathlib.Path(value("--tokenizer"))
        assert (words / "tokenizer.json").is_file(), f"no tokenizer in {words}"
        assert not list(words.glob("*.safetensors")), f"weights in {words}"
    served = names(flags)
    served += [name for name, _ in adapters(flags)]
    # The endpoints for developers are there with the variable; without the flag nothing can sleep.
    developers = os.environ.get("VLLM_SERVER_DEV_MODE") == "1"
    awake = [True]
    if os.environ.get("MODE") == "crash":
        sys.exit("no kernel image is available")
    told = {"flags": flags, "compiled": compile_once(flags)}
    print("started", json.dumps(told), flush=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

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
            answers = {
                "/health": "",
                "/double": json.dumps(told),
                "/v1/models": json.dumps({"object": "list", "data": [{"id": name} for name in served]}),
            }
            if developers:
                answers["/is_sleeping"] = json.dumps({"is_sleeping": not awake[0]})
                answers["/server_info"] = json.dumps({"vllm_config": "all of it"})
            self.answer(200 if self.path in answers else 404, answers.get(self.path, ""))

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or b"{}")
            if developers and self.path in ("/sleep?level=1", "/wake_up"):
                able = "--enable-sleep-mode" in flags
                if able:
                    awake[0] = self.path == "/wake_up"
                    print("awake" if awake[0] else "asleep", flush=True)
                self.answer(200 if able else 500, "")
                return
            if not awake[0]:
                self.answer(500, json.dumps({"message": "the engine is asleep"}))
                return
            print("asked", flush=True)
            if self.path != "/v1/chat/completions" or asked.get("model") not in served:
                self.answer(404, json.dumps({"message": f"no model {asked.get('model')}"}))
                return
            if os.environ.get("MODE") == "mortal" and asked["messages"][-1]["content"] == "end":
                os._exit(7)
            whole = {"object": "chat.completion", "model": asked["model"]}
            if not asked.get("stream"):
                message = {"role": "assistant", "content": "hello"}
                self.answer(200, json.dumps(whole | {"choices": [{"index": 0, "message": message}]}))
                return
            piece = {"choices": [{"index": 0, "delta": {"content": "hello"}}]}
            events = [json.dumps(whole | piece), "[DONE]"]
            self.answer(200, "".join(f"data: {event}\n\n" for event in events), "text/event-stream")

    http.server.ThreadingHTTPServer((value("--host"), int(value("--port"))), Handler).serve_forever()


if __name__ == "__main__":
    main()
