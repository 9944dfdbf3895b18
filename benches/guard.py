"""What the guard in front of an engine costs: the same requests with and without it, on loopback.

    python3 benches/guard.py [SECONDS]

The engine is a double that answers at once, or streams 500 pieces; a real one takes far longer, so
the figures are what the guard could pass on at most. Engine, guard and clients share the cores. A
fraction of a second only tries it out.
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PART = Path(__file__).parent.parent / "src/targets/modal/runtime/guard.part.py"
IMPORTS = "import asyncio, contextlib, ctypes, hashlib, hmac, json, os, re, socket, subprocess, sys\nfrom pathlib import Path\n"
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "' + b"x" * 2000 + b'"}]}'
PIECES = 500
PIECE = b'data: {"choices": [{"delta": {"content": "word"}}]}\n\n'


async def engine(reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except EOFError:  # the guard looks whether somebody listens
        writer.close()
        return
    await reader.readexactly(len(BODY))
    head_back = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    if b"/stream" in head:
        writer.write(head_back + b"\r\n")
        for _ in range(PIECES):
            writer.write(PIECE)
            await writer.drain()
            await asyncio.sleep(0)
    else:
        writer.write(head_back + b"Content-Length: 2\r\n\r\n{}")
    await writer.drain()
    writer.close()


async def run_engine(port):
    server = await asyncio.start_server(engine, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


async def ask(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key\r\nContent-Length: {len(BODY)}\r\n"
    writer.write(fields.encode() + b"Connection: close\r\n\r\n" + BODY)
    answer = await reader.read(-1)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    return answer


async def load(port, path, clients, seconds):
    end = time.monotonic() + seconds
    took = []

    async def client():
        while (began := time.monotonic()) < end:
            await ask(port, path)
            took.append(time.monotonic() - began)

    await asyncio.gather(*(client() for _ in range(clients)))
    took.sort()
    return len(took) / seconds, 1000 * took[len(took) // 2], 1000 * took[int(len(took) * 0.99)]


async def measure(seconds, engine_port, guard_port):
    for path, clients, what in [
        ("/", 1, "one client"),
        ("/", 32, "32 clients"),
        ("/stream", 32, f"32 clients, {PIECES} pieces"),
    ]:
        for port, name in [(engine_port, "direct"), (guard_port, "guarded")]:
            rate, median, slow = await load(port, path, clients, seconds)
            pieces = f", {rate * PIECES:,.0f} pieces/s" if path == "/stream" else ""
            print(f"{what:>26} {name:>8}: {rate:7.0f} requests/s{pieces}, {median:.2f} ms, p99 {slow:.2f} ms")


def free_ports(count):
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_for(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


def main():
    if sys.argv[1:2] == ["engine"]:
        asyncio.run(run_engine(int(sys.argv[2])))
    engine_port, guard_port = free_ports(2)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as directory:
        guard = Path(directory) / "serve.py"
        model = f"MODEL = {{'port': {guard_port}, 'engine_port': {engine_port}, 'api_key': {{}}}}\n"
        guard.write_text(IMPORTS + model + PART.read_text())
        children = [subprocess.Popen([sys.executable, __file__, "engine", str(engine_port)])]
        try:
            children.append(subprocess.Popen([sys.executable, guard, "guard"], stdin=subprocess.PIPE))
            children[1].stdin.write(b"key")
            children[1].stdin.close()
            wait_for(guard_port)
            asyncio.run(measure(seconds, engine_port, guard_port))
        finally:
            for child in children:
                child.kill()


if __name__ == "__main__":
    main()
