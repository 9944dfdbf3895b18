"""A strict loopback DOUBLE of Modal's control plane. It is not Modal; it stands in for it in tests.

    python control_plane.py --root DIR --port-file FILE [--faults FILE] [--python PYTHON] [--env KEY=VALUE]…

Run by a Python that has the real client `modal` (1.6.4): the protocol is that client's `modal_proto`, the server
is grpclib, and what runs in containers is that client's own container entrypoint. The client is pointed at it
by `MODAL_SERVER_URL=http://127.0.0.1:PORT MODAL_TOKEN_ID=ak-test MODAL_TOKEN_SECRET=as-test`.

Stands in for: deploy, run, app list/stop/history/rollback/logs/info, function info and calls, images,
volumes v1 and v2, dicts, secrets, environments, containers, `@modal.web_server` endpoints behind loopback URLs.

DIR holds everything, and a double started again on the same DIR goes on (same ports, no containers):
  tokens.json, proxy_tokens.json, environments.json   what the test may write before the first start
  secrets.json          values: {environment: {name: {KEY: value}}}; seeded or by `modal secret create`
  journal.jsonl         one line per RPC as it arrives, before faults; never a secret's value. A client's have
                        "token" (its id), a container's "task"; its polls (ContainerHeartbeat, FunctionGetInputs)
                        are left out
  state.json, definitions/, files/, blobs/   the state, saved before an RPC is answered
  images/<id>.json      what an image was asked to be
  volumes/<environment>/<name>/   plain files
  logs/<app id>.jsonl   what containers printed
  fault_counts.json, lock   the `nth` of the faults; only one double at a time

PYTHON should be in a directory that has `python` (a virtual environment's): it comes first on the containers'
PATH. It need not have the client, which is added behind what it has.

Rejects as the real one does (`checks.py`): wrong tokens, unknown environments, secrets, volumes, images, GPUs;
bad names, labels, tags; timeouts, scaledown windows, concurrency out of range; an app without functions; a
function whose image is not built; publishing or rolling back a stopped app. An RPC that it does not have answers
UNIMPLEMENTED, on stderr and with "unimplemented" in the journal. Faults: `faults.py`.

Not as the real one:
  - No image is built: a container is a copy-on-write view of this machine with PYTHON, the image's ENV and
    WORKDIR, and the uploaded files. `run_function` layers are refused. What comes FROM a registry on 127.0.0.1
    is asked for there (`registry.py`), and not unpacked; other registries are not asked.
  - No GPUs, CPU or memory limits; regions, clouds, schedules are recorded only.
  - A memory snapshot freezes nothing: a container that asks for one goes on as if it had been restored from it, GPU
    included (`snapshots.py`). Only containers of deployed apps ask.
  - Volumes are bound, so writes are seen by all at once; `commit()` and `reload()` are checked and recorded.
  - Containers with a GPU or a web server have a network of their own without a way out (Modal's have one);
    the others have this machine's, so that they reach a loopback hub.
  - A web URL is `http://127.0.0.1:P` instead of `https://LABEL.modal.run` (state.json, "labels", has both), and
    no start is put off after others that failed. Only `@modal.web_server`.
  - A new version, a rollback and a stop kill the containers at once, whatever the strategy: unless a test has them
    go on for a while (`"rolling"` in `faults.py`).
  - Containers end by SIGKILL: `@modal.exit` hooks are not run.
  - Which version a redeploy with only another tag makes, the hash of truncated labels, the tag a rollback shows
    (here: that of the version it goes back to) and many texts of errors are not published by Modal: guesses.
  - Of classes only those without parameters, with one web endpoint; no generators, queues, sandboxes, schedules, domains; one user.
"""
# ruff: noqa: E402

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import grpclib.server
from modal_proto import api_pb2

# The sources are in the project's tree, where caches of bytecode have no place.
sys.dont_write_bytecode = True

from apps import Apps
from billing import Billing
from calls import Calls
from classes import Classes
from containers import Containers
from dispatch import Dispatcher
from faults import Faults, RetryAfter
from functions import Functions
from images import Images, Mounts
from logs import Logs
from objects import Dicts, Secrets, Workspace
from snapshots import Snapshots
from state import State, write_atomically
from transfer import Transfer
from volumes import Volumes
from web import Web


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A loopback double of Modal's control plane, for tests.")
    parser.add_argument("--root", type=Path, required=True, help="where its state is")
    parser.add_argument("--port-file", type=Path, required=True, help="gets the port once it listens")
    parser.add_argument("--faults", type=Path, help="JSON of faults, read on every RPC")
    parser.add_argument("--python", default=sys.executable, help="what containers run")
    parser.add_argument("--env", action="append", default=[], metavar="KEY=VALUE", help="into every container")
    return parser.parse_args()


async def _parent_died(parent: int) -> None:
    """Returns once the parent is gone. Not PR_SET_PDEATHSIG: that is the death of the *thread* that started us,
    and a Rust test runs in a thread of its own."""
    while os.getppid() == parent:
        await asyncio.sleep(0.2)


async def _listen(server: grpclib.server.Server, wanted: int) -> int:
    """Listens on the port of last time if it is still free."""
    try:
        await server.start("127.0.0.1", wanted)
    except OSError:
        await server.start("127.0.0.1", 0)
    return server._server.sockets[0].getsockname()[1]


async def _main(arguments: argparse.Namespace, parent: int) -> None:
    state = State(arguments.root)
    faults = Faults(arguments.faults, state.root)
    transfer = Transfer(state.root)
    await transfer.start()
    logs = Logs(state)
    extra = dict(pair.split("=", 1) for pair in arguments.env)
    containers = Containers(state, faults, logs, os.path.abspath(arguments.python), extra)
    web = Web(state, faults)
    functions = Functions(state, faults, web)
    containers.functions = web.functions = functions
    web.containers = containers
    apps = Apps(state, faults, containers, functions)
    calls = Calls(state, containers, functions)
    dispatcher = Dispatcher(
        state,
        faults,
        [
            Workspace(state),
            Secrets(state),
            Dicts(state),
            Billing(state),
            Volumes(state, transfer),
            Images(state, faults),
            Mounts(state, transfer),
            apps,
            functions,
            Classes(state, functions),
            Snapshots(logs),
            calls,
            logs,
        ],
    )
    containers.service_of = dispatcher.service
    await web.open_all()
    server = grpclib.server.Server([dispatcher.service()], status_details_codec=RetryAfter())
    state.data["port"] = await _listen(server, state.data["port"])
    state.touch()
    state.save()
    for app_id, app in state.data["apps"].items():
        if app["state"] == api_pb2.APP_STATE_DEPLOYED:
            containers.keep_warm(app_id)
    write_atomically(arguments.port_file, str(state.data["port"]))
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    watchers = [asyncio.create_task(part.watch()) for part in (apps, calls, containers)]
    endings = [asyncio.create_task(stopped.wait()), asyncio.create_task(_parent_died(parent))]
    # A watcher that ends has failed, and a double that does not watch is not one.
    await asyncio.wait([*endings, *watchers], return_when=asyncio.FIRST_COMPLETED)
    for watcher in watchers:
        if watcher.done():
            watcher.result()
    server.close()
    await containers.stop_all()
    state.save()


if __name__ == "__main__":
    asyncio.run(_main(_arguments(), os.getppid()))
