"""Web endpoints: a loopback port for each label, and a relay from there into the function's container.

One request a connection: `Connection: close` is put into it, so that what is under way can be counted and a
container without requests found. Bytes are passed on as they come, so streams work.
"""

import asyncio
import itertools
import json
import sys
import time
from dataclasses import dataclass

from modal_proto import api_pb2

from faults import Faults
from methods import web_of
from state import State

_HEAD_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 16
_HEAD_SECONDS = 60
# A request that nobody could take for so long is sent on: guide/webhook-timeouts of Modal's documentation.
_REDIRECT_SECONDS = 150
_CALL = "__modal_function_call_id"


class Refused(Exception):
    """A request gets this answer instead of one from a container."""

    def __init__(self, status: str, text: str, location: str = ""):
        super().__init__(text)
        self.status, self.text, self.location = status, text, location


@dataclass
class Waiting:
    """A request that was sent on, until it is asked for again."""

    lines: list[bytes]
    headers: dict[str, str]
    body: bytes


def _parse(head: bytes) -> tuple[list[bytes], dict[str, str]]:
    lines = head.rstrip(b"\r\n").split(b"\r\n")
    pairs = (line.decode("latin-1").partition(":") for line in lines[1:])
    return lines, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _closing(lines: list[bytes], headers: dict[str, str]) -> bytes:
    """The head of a request with its connection closed afterwards, unless it asks for an upgrade."""
    if "upgrade" not in headers:
        lines = [line for line in lines if not line.lower().startswith((b"connection:", b"keep-alive:"))]
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Web:
    def __init__(self, state: State, faults: Faults):
        self._state = state
        self._faults = faults
        self._servers: dict[str, asyncio.Server] = {}
        self._refused: dict[str, int] = {}
        self._waiting: dict[str, Waiting] = {}
        self._calls = itertools.count(1)
        # Set once both exist: containers need the functions, which need the URLs.
        self.containers = None
        self.functions = None

    async def open(self, label: str) -> str:
        """Listens for a label, on the port it always had; returns the URL."""
        row = self._state.data["labels"][label]
        if label not in self._servers:

            async def serve(reader, writer):
                await self._serve(label, reader, writer)

            try:
                server = await asyncio.start_server(serve, "127.0.0.1", row["port"], limit=_HEAD_BYTES)
            except OSError as error:
                print(f"modal double: port {row['port']} of {label} is taken ({error}): a new one", file=sys.stderr)
                server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_HEAD_BYTES)
            self._servers[label] = server
            row["port"] = server.sockets[0].getsockname()[1]
            row["loopback"] = f"http://127.0.0.1:{row['port']}"
            self._state.touch()
        return row["loopback"]

    async def open_all(self) -> None:
        for label in self._state.data["labels"]:
            await self.open(label)

    async def _serve(self, label: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
            lines, headers = _parse(head)
            function_id, function = self._function(label)
            self._authorize(function, headers)
            self._refuse(label)
            waiting = self._sent_on(lines) or Waiting(lines, headers, b"")
            seconds = self._faults.read().get("redirect_seconds", _REDIRECT_SECONDS)
            try:
                container = await asyncio.wait_for(self._container(function_id, function), seconds)
            except TimeoutError:
                await self._send_on(label, waiting, reader)
            container.connections += 1
            try:
                seconds = function.timeout_secs
                request = _closing(waiting.lines, waiting.headers) + waiting.body
                await asyncio.wait_for(self._relay(container, request, reader, writer), seconds)
            finally:
                container.connections -= 1
                container.touch()
        except Refused as refused:
            body = refused.text.encode()
            head = f"HTTP/1.1 {refused.status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
            if refused.location:
                head += f"Location: {refused.location}\r\n"
            writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    def _function(self, label: str) -> tuple[str, api_pb2.Function]:
        row = self._state.data["labels"][label]
        app = self._state.data["apps"][row["app_id"]]
        live = (api_pb2.APP_STATE_DEPLOYED, api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_DETACHED)
        function_id = self.functions.published(row["app_id"]).get(row["function"])
        if app["state"] not in live or function_id is None:
            raise Refused("404 Not Found", "modal-http: app for invoked web endpoint is stopped")
        function = self.functions.live(function_id).ranked_functions[0].function
        if web_of(function)[1].type != api_pb2.WEBHOOK_TYPE_WEB_SERVER:
            raise Refused("501 Not Implemented", "the control plane double serves only @modal.web_server")
        return function_id, function

    def _authorize(self, function: api_pb2.Function, headers: dict[str, str]) -> None:
        if not web_of(function)[1].requires_proxy_auth:
            return
        key, secret = headers.get("modal-key"), headers.get("modal-secret")
        if not key or not secret:
            raise Refused("401 Unauthorized", "modal-http: missing credentials for proxy authorization")
        if self._state.proxy_tokens().get(key) != secret:
            raise Refused("401 Unauthorized", "modal-http: invalid credentials for proxy authorization")

    def _sent_on(self, lines: list[bytes]) -> Waiting | None:
        """The request that an earlier one is asked for again by."""
        method, target = lines[0].split(b" ")[:2]
        _, found, call = target.decode("latin-1").partition(f"{_CALL}=")
        if not found:
            return None
        if method != b"GET":
            # As somebody met it who sent the POST again.
            raise Refused("400 Bad Request", "modal-http: bad redirect method")
        waiting = self._waiting.pop(call, None)
        if waiting is None:
            raise Refused("404 Not Found", f"modal-http: no call {call}")
        return waiting

    async def _send_on(self, label: str, waiting: Waiting, reader: asyncio.StreamReader) -> None:
        """Has the client ask again, at the same address, for what it has sent by now."""
        if not waiting.body:
            waiting.body = await reader.readexactly(int(waiting.headers.get("content-length", 0)))
        call = f"fc-{next(self._calls)}"
        self._waiting[call] = waiting
        target = waiting.lines[0].split(b" ")[1].decode("latin-1")
        joint = "&" if "?" in target else "?"
        app = self._state.data["apps"][self._state.data["labels"][label]["app_id"]]["name"]
        self._state.journal({"rpc": "(web)", "app": app, "sent_on": call})
        location = f"{self._state.data['labels'][label]['loopback']}{target}{joint}{_CALL}={call}"
        raise Refused("303 See Other", "", location)

    def _refuse(self, label: str) -> None:
        """Turns the first requests away as a test asks for it, by somebody on the way."""
        app = self._state.data["apps"][self._state.data["labels"][label]["app_id"]]["name"]
        wanted = self._faults.read().get("refusals", {}).get(app)
        if wanted and self._refused.setdefault(json.dumps(wanted), 0) < wanted["times"]:
            self._refused[json.dumps(wanted)] += 1
            raise Refused(wanted["status"], "no healthy upstream")

    async def _container(self, function_id: str, function: api_pb2.Function):
        """A container that is ready, started if there is none."""
        running = self.containers.of_function(function_id)
        # As long as containers of an earlier version take requests, they get them.
        serving = [task for task in running if task.outdated and task.ready]
        serving = serving or [task for task in running if not task.outdated]
        if not serving:
            self.containers.ensure(function_id, 1)
            serving = [task for task in self.containers.of_function(function_id) if not task.outdated]
        container = serving[0]
        end = time.monotonic() + container.startup_seconds + 30
        while not container.ready and not container.ended.is_set() and time.monotonic() < end:
            await asyncio.sleep(0.02)
        if not container.ready or container.ended.is_set():
            raise Refused("503 Service Unavailable", f"modal-http: container failed to start: {container.failure}")
        return container

    async def _relay(self, container, head: bytes, reader, writer) -> None:
        back_reader, back_writer = await container_connection(container)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while chunk := await source.read(_CHUNK_BYTES):
                target.write(chunk)
                await target.drain()

        async def upwards() -> None:
            await pump(reader, back_writer)
            back_writer.write_eof()

        up = None
        try:
            back_writer.write(head)
            up = asyncio.create_task(upwards())
            await pump(back_reader, writer)
        finally:
            if up is not None:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
            back_writer.close()


async def container_connection(container):
    """A connection to the container's server, through the relay in its network unless it has none of its own."""
    if (container.directory / "shared-network").exists():
        return await asyncio.open_connection("127.0.0.1", container.web_port)
    for _ in range(100):
        if container.web_socket.exists():
            break
        await asyncio.sleep(0.02)
    return await asyncio.open_unix_connection(str(container.web_socket))
