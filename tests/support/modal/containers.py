"""Containers: processes that run the real client's container entrypoint on the uploaded code.

How a process is cut off from the machine (files, volumes, network) is told to `inside/sandbox.py` in a file.
Nothing here survives a restart of the double: its containers die with it.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpclib.server
import modal_proto
from modal_proto import api_pb2

from faults import Faults
from images import environment_of_image
from logs import Logs
from methods import web_of
from state import State, random_id

_INSIDE = Path(__file__).resolve().parent / "inside"
_TICK_SECONDS = 0.05
_DEFAULT_WINDOW_SECONDS = 60
_DEFAULT_MOST = 8
_LINE_BYTES = 1 << 16


@dataclass(eq=False)
class Container:
    """A process that serves one function."""

    task_id: str
    app_id: str
    function_id: str
    function: api_pb2.Function
    directory: Path
    enqueued_at: float = field(default_factory=time.time)
    started_at: float = 0.0
    ready: bool = False
    # What it calls the snapshot that it is to ask for, until it was restored from that.
    checkpoint_id: str = ""
    # Why it could not start, or nothing.
    failure: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    service: grpclib.server.Server | None = None
    # Inputs being worked on → when they time out (monotonic).
    inputs: dict = field(default_factory=dict)
    connections: int = 0
    stopping: bool = False
    # Of an earlier version, and still taking requests.
    outdated: bool = False
    last_used: float = field(default_factory=time.monotonic)

    @property
    def volume_ids(self) -> list[str]:
        return [mount.volume_id for mount in self.function.volume_mounts]

    @property
    def web_port(self) -> int:
        return web_of(self.function)[1].web_server_port

    @property
    def web_socket(self) -> Path:
        return self.directory / "web.sock"

    @property
    def restored(self) -> Path:
        """Appears when the container is restored."""
        return self.directory / "restore-state.json"

    @property
    def own_network(self) -> bool:
        """Servers would meet on one port; what has no server may need the machine's loopback (a hub)."""
        return bool(self.web_port or self.function.resources.gpu_config.count)

    @property
    def startup_seconds(self) -> int:
        return self.function.startup_timeout_secs or self.function.timeout_secs

    @property
    def busy(self) -> bool:
        return bool(self.inputs or self.connections or not self.ready)

    def touch(self) -> None:
        self.last_used = time.monotonic()


def _window(function: api_pb2.Function) -> int:
    settings = function.autoscaler_settings
    return settings.scaledown_window or function.task_idle_timeout_secs or _DEFAULT_WINDOW_SECONDS


class Containers:
    def __init__(self, state: State, faults: Faults, logs: Logs, python: str, extra: dict[str, str]):
        self._state = state
        self._faults = faults
        self._logs = logs
        self._python = python
        self._extra = extra
        self._running: dict[str, Container] = {}
        self._tasks: set[asyncio.Task] = set()
        # Told by the parts that know more: functions' definitions, the RPC service, what a death means.
        self.functions = None
        self.service_of = None
        self.on_end = lambda container: None
        logs.running = lambda app_id: bool(self.of_app(app_id))
        if self._state.data["run_dir"]:
            shutil.rmtree(self._state.data["run_dir"], ignore_errors=True)
        # Short, since a Unix socket's path holds 107 bytes.
        self._run_dir = Path(tempfile.mkdtemp(prefix="modal-double-", dir="/tmp"))
        self._state.data["run_dir"] = str(self._run_dir)
        self._state.touch()
        self._state.save()

    def all(self) -> list[Container]:
        return list(self._running.values())

    def get(self, task_id: str) -> Container | None:
        return self._running.get(task_id)

    def of_app(self, app_id: str) -> list[Container]:
        return [container for container in self.all() if container.app_id == app_id]

    def of_function(self, function_id: str) -> list[Container]:
        """The ones that take work: not those that are being stopped."""
        return [task for task in self.all() if task.function_id == function_id and not task.stopping]

    def idle(self, app_id: str) -> bool:
        return not any(task.busy for task in self.of_app(app_id))

    def ensure(self, function_id: str, wanted: int) -> None:
        """Starts containers of a function until `wanted` or its most run."""
        function = self.functions.live(function_id).ranked_functions[0].function
        most = function.autoscaler_settings.max_containers or function.concurrency_limit or _DEFAULT_MOST
        current = [task for task in self.of_function(function_id) if not task.outdated]
        for _ in range(min(wanted, most) - len(current)):
            self._start(function_id, function)

    def keep_warm(self, app_id: str) -> None:
        """Starts what `min_containers` asks for."""
        for function_id in self.functions.published(app_id).values():
            function = self.functions.live(function_id).ranked_functions[0].function
            self.ensure(function_id, function.autoscaler_settings.min_containers or function.warm_pool_size)

    def _start(self, function_id: str, function: api_pb2.Function) -> Container:
        app_id = self._state.data["functions"][function_id]["app_id"]
        task_id = random_id("ta")
        container = Container(task_id, app_id, function_id, function, self._run_dir / task_id)
        container.directory.mkdir()
        # Only what is deployed is worth a snapshot.
        deployed = self._state.data["apps"][app_id]["state"] == api_pb2.APP_STATE_DEPLOYED
        container.checkpoint_id = random_id("ch") if function.checkpointing_enabled and deployed else ""
        self._running[task_id] = container
        job = asyncio.create_task(self._live(container))
        self._tasks.add(job)
        job.add_done_callback(self._tasks.discard)
        return container

    def _environment(self, container: Container) -> tuple[dict[str, str], str]:
        app = self._state.data["apps"][container.app_id]
        variables, workdir = environment_of_image(self._state, container.function.image_id)
        base = {
            "PATH": f"{os.path.dirname(self._python)}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PYTHONPATH": "/root",
            "PYTHONUNBUFFERED": "1",
            **self._extra,
            **variables,
        }
        for secret_id in container.function.secret_ids:
            base.update(self._state.secret_values(secret_id))
        base.update(
            MODAL_IS_REMOTE="1",
            MODAL_SERVER_URL=f"unix://{container.directory}/api.sock",
            MODAL_CONTAINER_ARGUMENTS_PATH=str(container.directory / "arguments.pb"),
            MODAL_TASK_ID=container.task_id,
            MODAL_IMAGE_ID=container.function.image_id,
            MODAL_FUNCTION_ID=container.function_id,
            MODAL_ENVIRONMENT=app["environment"],
            MODAL_CLOUD_PROVIDER="CLOUD_PROVIDER_DOUBLE",
            MODAL_REGION="loopback",
        )
        if container.checkpoint_id:
            checkpoint = container.directory / "checkpoint"
            # What the real container's runtime says there once all of it, the GPU too, is back.
            checkpoint.write_text("restore")
            base.update(
                MODAL_ENABLE_SNAP_RESTORE="1",
                MODAL_RESTORE_STATE_PATH=str(container.restored),
                MODAL_DOUBLE_CHECKPOINT=str(checkpoint),
            )
        return base, workdir

    def _specification(self, container: Container) -> dict:
        variables, workdir = self._environment(container)
        mounts = self._state.data["mounts"]
        volumes = self._state.data["volumes"]
        full = self._faults.read().get("full_volumes", {})
        files = [file for mount in container.function.mount_ids for file in mounts[mount]["files"]]
        return {
            "parent": os.getpid(),
            "directory": str(container.directory),
            "command": [self._python, str(_INSIDE / "boot.py"), str(Path(modal_proto.__path__[0]).parent)],
            "environment": variables,
            "workdir": workdir,
            "files": [
                [file["filename"], str(self._state.file(file["sha256"])), file["mode"] or 0o644] for file in files
            ],
            "volumes": [
                [
                    str(self._state.volume_dir(volumes[mount.volume_id]) / mount.sub_path),
                    mount.mount_path,
                    mount.read_only,
                    full.get(volumes[mount.volume_id]["name"], 0),
                ]
                for mount in container.function.volume_mounts
            ],
            "own_network": container.own_network,
            "relay": [str(container.web_socket), container.web_port] if container.web_port else None,
        }

    async def _live(self, container: Container) -> None:
        """A container from its start to its end."""
        try:
            defined = api_pb2.Function.FromString(container.function.SerializeToString())
            if container.checkpoint_id:
                defined.is_checkpointing_function = True
                gpu = defined.experimental_options.get("enable_gpu_snapshot") == "True"
                defined._experimental_enable_gpu_snapshot = gpu
            arguments = api_pb2.ContainerArguments(
                task_id=container.task_id,
                function_id=container.function_id,
                app_id=container.app_id,
                function_def=defined,
                checkpoint_id=container.checkpoint_id,
                environment_name=self._state.data["apps"][container.app_id]["environment"],
                app_layout=self.functions.layout(container.app_id),
            )
            (container.directory / "arguments.pb").write_bytes(arguments.SerializeToString())
            specification = container.directory / "sandbox.json"
            specification.touch(mode=0o600)
            specification.write_text(json.dumps(self._specification(container)))
            container.service = grpclib.server.Server([self.service_of(container)])
            await container.service.start(path=str(container.directory / "api.sock"))
            container.process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(_INSIDE / "sandbox.py"),
                str(specification),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            container.started_at = time.time()
            container.touch()
            await asyncio.gather(
                self._read(container, container.process.stdout, api_pb2.FILE_DESCRIPTOR_STDOUT),
                self._read(container, container.process.stderr, api_pb2.FILE_DESCRIPTOR_STDERR),
            )
            status = await container.process.wait()
            when = "" if container.ready else " before it was ready"
            container.failure = container.failure or f"The container exited with status {status}{when}."
            self._tell_end(container, status)
        finally:
            self._running.pop(container.task_id, None)
            container.ended.set()
            self.on_end(container)
            if container.service is not None:
                container.service.close()
            shutil.rmtree(container.directory, ignore_errors=True)

    def _tell_end(self, container: Container, status: int) -> None:
        """For tests alone: Modal tells nobody with what status a container of the past ended."""
        end = {
            "app": self._state.data["apps"][container.app_id]["name"],
            "status": status,
            "ready": container.ready,
            "stopped": container.stopping,
            "seconds": time.time() - container.started_at,
        }
        with (self._state.root / "ends.jsonl").open("a") as file:
            file.write(json.dumps(end) + "\n")

    async def _read(self, container: Container, pipe: asyncio.StreamReader, source: int) -> None:
        rest = b""
        while chunk := await pipe.read(_LINE_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._log(container, source, line + b"\n")
            if len(rest) > _LINE_BYTES:
                self._log(container, source, rest)
                rest = b""
        if rest:
            self._log(container, source, rest + b"\n")

    def _log(self, container: Container, source: int, line: bytes) -> None:
        call_id = next(iter(container.inputs.values())).call_id if container.inputs else ""
        text = line.decode(errors="replace")
        self._logs.add(container.app_id, container.task_id, container.function_id, source, text, call_id)

    async def stop(self, container: Container, failure: str = "") -> None:
        """Kills a container and all it started; returns when nothing of it is left."""
        container.failure = container.failure or failure
        container.stopping = True
        if container.process is None:
            # It is just being started: there is soon something to kill.
            for _ in range(100):
                await asyncio.sleep(_TICK_SECONDS)
                if container.process is not None or container.ended.is_set():
                    break
        if container.process is not None and container.process.returncode is None:
            # The group, for when the container has no processes of its own to end with the first.
            os.killpg(container.process.pid, signal.SIGKILL)
        try:
            await asyncio.wait_for(container.ended.wait(), 30)
        except TimeoutError:
            print(f"modal double: {container.task_id} does not end", file=sys.stderr, flush=True)

    async def stop_app(self, app_id: str) -> None:
        await asyncio.gather(*(self.stop(container, "The app was stopped.") for container in self.of_app(app_id)))

    def roll_over(self, app_id: str, seconds: float) -> None:
        """What runs goes on taking requests for a while, although another version is deployed.

        That old containers drain while traffic shifts is what the client says of `strategy="rolling"`
        (`modal.App.deploy` of 1.6.4); that they serve until they scale down is what people report. How long
        it takes is not published: an assumption of each test.
        """
        for container in self.of_app(app_id):
            container.outdated = True
        job = asyncio.create_task(self._drain(app_id, seconds))
        self._tasks.add(job)
        job.add_done_callback(self._tasks.discard)

    async def _drain(self, app_id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        outdated = [container for container in self.of_app(app_id) if container.outdated]
        await asyncio.gather(*(self.stop(container, "A new version took over.") for container in outdated))

    async def stop_all(self) -> None:
        await asyncio.gather(*(self.stop(container) for container in self.all()), return_exceptions=True)
        shutil.rmtree(self._run_dir, ignore_errors=True)

    async def watch(self) -> None:
        """Scales to zero and ends what takes too long to start; runs as long as the double does."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for container in self.all():
                idle = time.monotonic() - container.last_used
                if not container.ready and container.started_at and idle > container.startup_seconds:
                    await self.stop(container, f"The container did not start in {container.startup_seconds} s.")
                least = container.function.autoscaler_settings.min_containers
                spare = len(self.of_function(container.function_id)) > least
                if spare and not container.busy and idle > _window(container.function):
                    await self.stop(container)
