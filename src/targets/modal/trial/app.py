"""What `goatbuild check --live` deploys to see how Modal behaves: no GPU, and gone in the end."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import modal

TRIAL: dict[str, Any] = {}

app = modal.App(TRIAL["app"], tags=TRIAL["tags"])

volume = modal.Volume.from_name(
    TRIAL["volume"], environment_name=TRIAL["environment"], create_if_missing=True
)

SERVER = """
import http.server, sys, time

delay, answer = float(sys.argv[1]), sys.argv[2]
time.sleep(delay)
if answer == "exit":
    sys.exit(3)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


@app.function(
    gpu=TRIAL["gpu"],
    cpu=0.125,
    memory=128,
    timeout=600,
    startup_timeout=600,
    scaledown_window=60,
    max_containers=1,
    secrets=[
        modal.Secret.from_name(name, environment_name=TRIAL["environment"])
        for name in TRIAL["secrets"]
    ],
)
@modal.concurrent(max_inputs=TRIAL["max_inputs"])
@modal.web_server(8000, startup_timeout=600, requires_proxy_auth=TRIAL["proxy_auth"])
def serve() -> None:
    """A server that answers with one word, after a while, or ends instead."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(TRIAL["delay"]), TRIAL["answer"]]
    )

    def end_with_it() -> None:
        # As models' programs end with their engine.
        server.wait()
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()


@app.function(cpu=0.125, memory=128, timeout=60, volumes={"/trial": volume})
def write(text: str) -> None:
    """Leaves a file in the volume."""
    Path("/trial/written").write_text(text)
    volume.commit()


@app.function(cpu=0.125, memory=128, timeout=60, volumes={"/trial": volume.read_only()})
def read() -> tuple[str, bool]:
    """What is in that file, and whether the volume refuses to be written to."""
    text = Path("/trial/written").read_text()
    try:
        Path("/trial/refused").write_text("")
    except OSError:
        return text, True
    return text, False


@app.function(cpu=0.125, memory=128, timeout=900)
def sleep() -> None:
    """Runs for longer than anybody waits."""
    time.sleep(600)
