"""Does things at Modal through its own client, one after the other: a request comes as a line of JSON on
standard input, its answer goes as one to standard output. What the client and the apps say goes to
standard error, with the request's "end" as a line behind what belongs to it. Standard input stays open for
as long as somebody waits for answers.

Public interfaces of the client do what changes anything. Looking uses its stub, since no command
tells several apps in one round trip; the client's version is locked, so the stub cannot change.
"""

import asyncio
import contextlib
import gc
import importlib.util
import io
import json
import logging
import os
import queue
import re
import signal
import sys
import threading
import time
import traceback
from datetime import datetime, timezone
from pathlib import Path

# Answers have a channel of their own, whatever anything prints.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

# A tenth of what the imports take is looking for what nobody needs any more.
gc.disable()

import certifi  # noqa: E402

# The client asks certifi alone; companies put their authorities into the system's store.
for STORE in (os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"):
    if STORE and Path(STORE).exists():
        certifi.where = lambda store=STORE: store
        break

import modal  # noqa: E402
from google.protobuf.empty_pb2 import Empty  # noqa: E402
from modal._utils.async_utils import synchronizer  # noqa: E402
from modal._environments import _Environment  # noqa: E402
from modal._utils.logger import logger  # noqa: E402
from modal.client import _Client  # noqa: E402
from modal.secret import _Secret  # noqa: E402
from modal.volume import _Volume  # noqa: E402
from modal_proto import api_pb2  # noqa: E402

gc.enable()

# How long stopping may take when nobody waits for an answer any more.
GRACE_SECONDS = 60
DEPLOYED = api_pb2.APP_STATE_DEPLOYED

# What lines begin with that replicas tell of themselves (`runtime/replica.part.py`), how far back they
# count, how many, and how long they are waited for.
REPLICA = "goatbuild-replica: "
DAY_SECONDS = 86400
MOST_TOLD = 200
LAST_WORDS = 50
LOG_SECONDS = 10


class Moved(Exception):
    """What is deployed is not what was planned from."""


class Broken(Exception):
    """Somebody broke the lease; who has it now, in JSON."""


class Unrecorded(Exception):
    """Something was changed, and what stands since then can't be told."""


class Failures(logging.Handler):
    """Why connections fail. The client tells that to who debugs it alone, and tries again until its time
    is over: `ModalChannel._create_connection` in `modal/_utils/grpc_utils.py`."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.last = None

    def emit(self, record):
        said = record.getMessage()
        if said.startswith("Connection attempt to ") and " failed after " in said:
            self.last = said.partition(" failed after ")[2].partition(": ")[2]

    def are_final(self):
        """Whether another attempt would end as well: a proxy that refuses, or what it takes is missing."""
        return (self.last or "").startswith(("ProxyError(", "ImportError("))


FAILURES = Failures()
# What it has handlers of its own for stays what it was: they have levels of their own.
logger.addHandler(FAILURES)
logger.setLevel(logging.DEBUG)


async def connected(request):
    """The client, unless Modal doesn't answer in time: its own patience is a minute."""
    server, patience = modal.config.config["server_url"], request["patience"]
    FAILURES.last = None
    began = time.monotonic()
    client = asyncio.ensure_future(_Client.from_env())
    while not (await asyncio.wait({client}, timeout=0.1))[0]:
        if FAILURES.are_final():
            client.cancel()
            raise ConnectionError(f"{server} can't be reached: {FAILURES.last}")
        if time.monotonic() - began > patience:
            client.cancel()
            why = f": {FAILURES.last}" if FAILURES.last else ""
            raise ConnectionError(f"{server} did not answer in {patience} s{why}")
    return client.result()


@synchronizer.create_blocking
async def connect(request):
    """Makes sure, for what the client does by itself, that Modal answers."""
    await connected(request)


async def history(client, app_id):
    """The versions of an app, newest first."""
    asked = api_pb2.AppDeploymentHistoryRequest(app_id=app_id)
    answer = await client._stub.AppDeploymentHistory(asked)
    tags = {entry.version: entry.tag for entry in answer.app_deployment_histories}
    versions = [
        {
            "version": entry.version,
            # A rollback may have none of its own.
            "tag": entry.tag or tags.get(entry.rollback_version, ""),
            "by": entry.deployed_by,
            "at": entry.deployed_at,
            "rollback_allowed": entry.rollback_allowed,
        }
        for entry in answer.app_deployment_histories
    ]
    return sorted(versions, key=lambda entry: -entry["version"])


def label(name):
    """How an app's name stands in addresses."""
    return re.sub("[^a-z0-9-]", "-", name.lower())


async def listed(client, request):
    """The apps of the environment by name, those that are deployed before those that were."""
    asked = api_pb2.AppListRequest(environment_name=request["environment"])
    apps = (await client._stub.AppList(asked)).apps
    named = {}
    for app in sorted(apps, key=lambda app: (app.state == DEPLOYED, app.created_at)):
        named[app.name or app.description] = app
    return named


def web_url(handle):
    """Where a function answers, or the method of its class that does; nothing for one that doesn't."""
    methods = (method.web_url for method in handle.method_handle_metadata.values())
    return handle.web_url or next(filter(None, methods), "")


async def serving(client, request, name, app_id):
    """How an app's function is made that serves, if it has one, and where its others answer."""
    layout = await client._stub.AppGetLayout(api_pb2.AppGetLayoutRequest(app_id=app_id))
    handles = {
        entry.object_id: entry.function_handle_metadata for entry in layout.app_layout.objects
    }
    tags = layout.app_layout.function_ids.items()
    urls = {tag: web_url(handles[id]) for tag, id in tags if id in handles}
    found = sorted((tag for tag, url in urls.items() if url), key=lambda tag: (tag != "serve", tag))
    if not found:
        return None
    asked = api_pb2.FunctionGetRequest(
        app_name=name, object_tag=found[0], environment_name=request["environment"]
    )
    try:
        data = (await client._stub.FunctionGet(asked)).function
    except modal.exception.NotFoundError:
        return None
    # Those after the first differ in their GPU alone, and serve when there is none of the first's.
    function = data.ranked_functions[0].function if data.ranked_functions else None
    if function is None:
        return None
    gpu, scaling = function.resources.gpu_config, function.autoscaler_settings
    configs = [function.webhook_config]
    configs += [method.webhook_config for method in function.method_definitions.values()]
    web = next((config for config in configs if config.type), function.webhook_config)
    # A port that isn't open by then ends a start, however long a container may take for its own.
    starts = (function.startup_timeout_secs, web.web_server_startup_timeout)
    return {
        "function": found[0],
        "label": web.requested_suffix or None,
        "url": urls[found[0]],
        "others": [urls[tag] for tag in found[1:]],
        "domains": [domain.name for domain in web.custom_domains],
        "gpu": gpu.gpu_type if gpu.count else None,
        "gpu_count": gpu.count,
        "max_inputs": function.max_concurrent_inputs,
        "scaledown_window": scaling.scaledown_window,
        "timeout": function.timeout_secs,
        "startup_timeout": int(min(filter(None, starts), default=0)),
        "min_containers": scaling.min_containers,
        "max_containers": scaling.max_containers,
        "buffer_containers": scaling.buffer_containers,
        # What `@app.server` makes is protected unless it says otherwise.
        "proxy_auth": web.requires_proxy_auth
        or (function.is_server and not function.http_config.unauthenticated),
    }


async def lines_of(client, since=0, **wanted):
    """Lines of an app's log since then, a day back at most, each with its replica and its time."""
    now = time.time()
    asked = api_pb2.AppFetchLogsRequest(**wanted)
    asked.since.FromNanoseconds(int(max(since, now - DAY_SECONDS) * 1e9))
    asked.until.FromNanoseconds(int(now * 1e9))
    answer = await asyncio.wait_for(client._stub.AppFetchLogs(asked), LOG_SECONDS)
    return [
        (batch.task_id, item.timestamp, line)
        for batch in answer.batches
        for item in batch.items
        for line in item.data.splitlines()
    ]


async def told_by(client, app_id, since):
    """What an app's replicas told of themselves since then; nothing where that can't be had in time:
    nobody plans by it."""
    try:
        lines = await lines_of(
            client, since, app_id=app_id, limit=MOST_TOLD, search_text=REPLICA
        )
    except Exception:  # noqa: BLE001: whatever it is, the rest is told without
        return None
    return [
        {"at": at, "replica": replica, "words": line.removeprefix(REPLICA)}
        for replica, at, line in lines
        if line.startswith(REPLICA)
    ]


async def seen_app(client, request, name, app, kept):
    """One app: whether it is up, and its versions; where what is kept doesn't tell, whose it is, and
    how somebody else's is made."""
    versions = await history(client, app.app_id)
    owner = serves = None
    newest = versions[0] if versions else {"version": 0, "tag": "", "at": 0}
    tells = kept is not None and app.state == DEPLOYED
    if newest["tag"].startswith("gb1-") and newest["version"] != kept:
        asked = api_pb2.AppGetTagsRequest(app_id=app.app_id)
        owner = (await client._stub.AppGetTags(asked)).tags.get("goatbuild")
    elif kept is None and app.state == DEPLOYED:
        serves = await serving(client, request, name, app.app_id)
    return {
        "deployed": app.state == DEPLOYED,
        "containers": app.n_running_tasks,
        "stopped_at": app.stopped_at,
        "history": versions,
        "owner": owner,
        "serves": serves,
        "told": await told_by(client, app.app_id, newest["at"]) if tells else None,
    }


async def seen_volume(client, request, wanted):
    """A volume's id, the files of one directory of it, and one of them; nothing when there is none."""
    volume = _Volume.from_name(
        wanted["name"], environment_name=request["environment"], client=client
    )
    try:
        await volume.hydrate()
    except modal.exception.NotFoundError:
        return None
    files, text = [], ""
    try:
        if wanted["directory"]:
            files = [entry.path for entry in await volume.listdir(wanted["directory"])]
        if wanted.get("file") and any(path.endswith(wanted["file"]) for path in files):
            path = f"{wanted['directory']}/{wanted['file']}"
            async for block in volume.read_file(path):
                text += block.decode()
    except (modal.exception.NotFoundError, FileNotFoundError):
        files = []
    return {"id": volume.object_id, "files": [Path(path).name for path in files], "text": text}


async def secrets(client, request):
    """The keys of each secret of the environment, by name; nothing where none is needed or they can't be
    listed."""
    if not request.get("secrets"):
        return None
    try:
        found = await _Secret.objects.list(environment_name=request["environment"], client=client)
    except modal.exception.PermissionDeniedError:
        return None
    return {secret.name: sorted(await secret._get_keys()) for secret in found}


@synchronizer.create_blocking
async def look(request):
    client = await connected(request)
    apps, named, *volumes = await asyncio.gather(
        listed(client, request),
        secrets(client, request),
        *(seen_volume(client, request, wanted) for wanted in request["volumes"]),
    )
    kept = {}
    for volume in volumes:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            deployments = json.loads(volume["text"])["deployments"].values()
            kept |= {entry["app"]: entry["version"] for entry in deployments}
    models = {*kept, *request["apps"]}
    # Another spelling of a name may have its label, and so its address.
    labels = {label(name) for name in request["apps"]}
    # A candidate may have been left by a model that is nowhere any more.
    wanted = [
        name
        for name, app in apps.items()
        if name in models
        or (app.state == DEPLOYED and (name.endswith(request["candidate"]) or label(name) in labels))
    ]
    seen = await asyncio.gather(
        *(seen_app(client, request, name, apps[name], kept.get(name)) for name in wanted)
    )
    return {"apps": dict(zip(wanted, seen)), "volumes": volumes, "secrets": named}


@synchronizer.create_blocking
async def spent(request):
    """What is up in the environment, and what Modal has billed for it since midnight, UTC: for whole hours
    alone, and only whoever may see bills is told."""
    client = await connected(request)
    place = request["environment"]
    now = datetime.now(timezone.utc)
    tasks = (await client._stub.TaskList(api_pb2.TaskListRequest(environment_name=place))).tasks
    running = [{"app": task.app_description, "since": task.started_at} for task in tasks]
    answer = {"now": now.timestamp(), "running": running, "bill": None, "refused": None}
    try:
        environment = _Environment.from_name(place, client=client)
        await environment.hydrate()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        rows = await environment.billing.report(start=midnight, end=now, resolution="h")
        answer["bill"] = [{"app": row.description, "usd": str(row.cost)} for row in rows]
    except (modal.exception.PermissionDeniedError, modal.exception.AuthError) as error:
        answer["refused"] = str(error)
    return answer


@synchronizer.create_blocking
async def rates(request):
    """What Modal bills, by its own names, but those that it gives up; or why it doesn't say."""
    client = await connected(request)
    try:
        answer = await client._stub.WorkspaceBillingRates(api_pb2.WorkspaceBillingRatesRequest())
    except (modal.exception.PermissionDeniedError, modal.exception.UnimplementedError) as error:
        return {"rates": None, "refused": str(error)}
    gone = {*answer.deprecation_warnings, *answer.deprecation_errors}
    return {"rates": {key: told for key, told in answer.rates.items() if key not in gone}, "refused": None}


@synchronizer.create_blocking
async def told(request):
    """What the replicas of an app told of themselves since then."""
    client = await connected(request)
    app = (await listed(client, request)).get(request["app"])
    return (await told_by(client, app.app_id, request["since"]) if app else None) or []


@synchronizer.create_blocking
async def last_words(request):
    """What one replica of an app said last, beside what it told of itself."""
    client = await connected(request)
    app = (await listed(client, request))[request["app"]]
    lines = await lines_of(client, app_id=app.app_id, task_id=request["replica"], limit=LAST_WORDS)
    return [line for _, _, line in lines if line.strip() and not line.startswith(REPLICA)]


@synchronizer.create_blocking
async def account(request):
    """The workspace of the credentials, and the environment's suffix in addresses."""
    client = await connected(request)
    workspace = await client._stub.WorkspaceNameLookup(Empty())
    environments = (await client._stub.EnvironmentList(Empty())).items
    suffixes = {entry.name: entry.webhook_suffix for entry in environments}
    if request["environment"] not in suffixes:
        raise modal.exception.NotFoundError(
            f"environment {request['environment']}; there are: {', '.join(sorted(suffixes))}"
        )
    return {"workspace": workspace.workspace_name, "suffix": suffixes[request["environment"]]}


def loaded(file):
    """A generated file as a module, as `modal deploy FILE` loads it."""
    path = Path(file)
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    # The client finds it by its name, and another model's has the same.
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    return module


@synchronizer.create_blocking
async def newest(request):
    """The newest version of the deployed app; nothing when it isn't up."""
    client = await connected(request)
    app = (await listed(client, request)).get(request["app"])
    if app is None or app.state != DEPLOYED:
        return None
    return {"id": app.app_id, **(await history(client, app.app_id))[0]}


@synchronizer.create_blocking
async def containers(request):
    """The containers of an app that are up."""
    client = await connected(request)
    asked = api_pb2.TaskListRequest(environment_name=request["environment"])
    tasks = (await client._stub.TaskList(asked)).tasks
    return [task.task_id for task in tasks if task.app_description == request["app"]]


def trial(request):
    """Tries out one thing that is taken for granted of Modal."""
    from trial import rows

    return rows.tried(sys.modules[__name__], request)


@synchronizer.create_blocking
async def older(request):
    """How many containers are up that were asked for before a version was deployed, as the client
    itself tells them apart that are to make way for it."""
    client = await connected(request)
    versions = await history(client, request["id"])
    at = next((it["at"] for it in versions if it["version"] == request["version"]), 0)
    asked = api_pb2.TaskListRequest(environment_name=request["environment"], app_id=request["id"])
    tasks = (await client._stub.TaskList(asked)).tasks
    return {"older": sum(1 for task in tasks if 0 < task.enqueued_at < at)}


def address(request):
    """Where an app answers: its function, or that method of a class where it starts from a snapshot."""
    place = {"environment_name": request["environment"]}
    try:
        return modal.Function.from_name(request["app"], "serve", **place).get_web_url()
    except modal.exception.NotFoundError:
        return modal.Cls.from_name(request["app"], "Server", **place)().serve.get_web_url()


@synchronizer.create_blocking
async def made_by_hand(request, app_id):
    """How an app of somebody else is made."""
    return await serving(await connected(request), request, request["app"], app_id)


def recorded(request):
    """The newest version of a deployed app, and where it answers."""
    found = newest(request)
    if found["tag"].startswith("gb1-"):
        bound = {
            name: modal.Volume.from_name(name, environment_name=request["environment"]).hydrate().object_id
            for name in request.get("volumes", [])
        }
        return {**found, "url": address(request), "volumes": bound}
    serves = made_by_hand(request, found["id"]) or {"url": "", "proxy_auth": False}
    return {**found, "url": serves["url"], "proxy_auth": serves["proxy_auth"]}


@contextlib.contextmanager
def changed():
    """Whatever fails here, something was changed already."""
    try:
        yield
    except Exception as error:
        traceback.print_exception(error)
        raise Unrecorded(f"{type(error).__name__}: {error}") from error


def deploy(request):
    before = newest(request)
    found = before and before["tag"]
    if request["replaces"] != found:
        raise Moved(f"{found or 'nothing'} is deployed, and {request['replaces'] or 'nothing'} was")
    module = loaded(request["file"])
    with modal.enable_output():
        module.app.deploy(
            name=request["app"],
            environment_name=request["environment"],
            tag=request["tag"],
            strategy=request["strategy"],
        )
    with changed():
        return recorded(request)


def run(request):
    module = loaded(request["file"])
    with modal.enable_output(), module.app.run(environment_name=request["environment"]):
        return getattr(module, request["function"]).remote()


def build(request):
    module = loaded(request["file"])
    with modal.enable_output():
        app = modal.App(request["app"])
        with app.run(environment_name=request["environment"]):
            module.image.build(app)
    return {"id": module.image.object_id}


def rollback(request):
    """Makes an earlier version the newest again, as `modal app rollback` does."""
    before = newest(request)
    if before is None or before["version"] != request["stands"]:
        found = f"v{before['version']}" if before else "nothing"
        raise Moved(f"{found} is deployed, and v{request['stands']} was")
    with modal.enable_output():
        command_line("app", "rollback", before["id"], f"v{request['version']}")
    with changed():
        return recorded(request)


def command_line(*arguments):
    """What the client's own command line does."""
    from modal.cli.entry_point import entrypoint_cli

    entrypoint_cli.main(list(arguments), standalone_mode=False)


def logs(request):
    """What an app's containers printed, to standard output: the answer goes to standard error."""
    os.dup2(ANSWERS.fileno(), 1)
    place = ("--env", request["environment"])
    with modal.enable_output():
        if request["lines"] is not None:
            command_line("app", "logs", request["app"], "--tail", str(request["lines"]), *place)
        if request["follow"]:
            command_line("app", "logs", request["app"], "--follow", *place)
    sys.stdout.flush()
    return {}


def put(request):
    """Writes small files of a volume whole."""
    volume = modal.Volume.from_name(
        request["volume"], environment_name=request["environment"], create_if_missing=True
    )
    with volume.batch_upload(force=True) as upload:
        for path, text in request["files"]:
            upload.put_file(io.BytesIO(text.encode()), path)
    return {}


@synchronizer.create_blocking
async def read(request):
    """The texts of small files of a volume; nothing for one that isn't there."""
    client = await connected(request)
    volume = _Volume.from_name(
        request["volume"], environment_name=request["environment"], client=client
    )

    async def text(path):
        with contextlib.suppress(modal.exception.NotFoundError, FileNotFoundError):
            return b"".join([block async for block in volume.read_file(path)]).decode()

    return await asyncio.gather(*(text(path) for path in request["paths"]))


def discard(request):
    """Removes files and directories of a volume, as far as they are there."""
    volume = modal.Volume.from_name(request["volume"], environment_name=request["environment"])
    for path in request["paths"]:
        with contextlib.suppress(modal.exception.NotFoundError, FileNotFoundError):
            volume.remove_file(path, recursive=True)
    return {}


def leases(request):
    return modal.Dict.from_name(
        request["dict"], environment_name=request["environment"], create_if_missing=True
    )


def take_lease(request):
    """Nothing when the lease is taken, else who has it; `instead` names one whose holder is gone."""
    dictionary = leases(request)
    if request["instead"] is not None:
        end_lease({**request, "id": request["instead"]})
    while not dictionary.put("lease", request["holder"], skip_if_exists=True):
        # Whoever had it may have given it back between the two questions.
        if (holder := dictionary.get("lease")) is not None:
            return holder
    return None


def assert_held(lease, environment):
    """Fails once somebody has broken the lease: whoever has it now may be at the same thing."""
    found = leases({**lease, "environment": environment}).get("lease")
    if (found or {}).get("id") != lease["id"]:
        raise Broken(json.dumps(found))


def beat(request):
    """Counts up, unless somebody has taken the lease away."""
    dictionary = leases(request)
    if (dictionary.get("lease") or {}).get("id") == request["holder"]["id"]:
        dictionary.put("lease", request["holder"])


def lease_holder(request):
    return leases(request).get("lease")


def end_lease(request):
    """Gives a lease back; says whether it was there, and who has another one."""
    dictionary = leases(request)
    found = dictionary.get("lease")
    if (found or {}).get("id") != request["id"]:
        return {"ended": False, "holder": found}
    dictionary.pop("lease", None)
    return {"ended": True, "holder": None}


def stop(request):
    app = newest(request)
    if app is not None:
        command_line("app", "stop", app["id"], "--yes")
    return {"stopped": app is not None}


KINDS = [
    (Moved, "moved"),
    (Broken, "broken"),
    (Unrecorded, "unrecorded"),
    (modal.exception.AuthError, "token"),
    (modal.exception.NotFoundError, "missing"),
    (modal.exception.InvalidError, "invalid"),
    (modal.exception.RemoteError, "remote"),
    ((modal.exception.ConnectionError, asyncio.TimeoutError, OSError), "unreachable"),
]


class Requests:
    """What is to be done, as it comes."""

    def __init__(self):
        self.lines = queue.SimpleQueue()
        self.busy = self.unwanted = False
        threading.Thread(target=self.receive, daemon=True).start()

    def receive(self):
        """Reads until nobody waits any more; then the work stops, and with it what it runs at Modal."""
        rest = b""
        while block := os.read(0, 1 << 16):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self.lines.put(json.loads(line))
        self.unwanted = True
        self.lines.put(None)
        if self.busy:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for output in (1, 2, ANSWERS.fileno()):
                os.dup2(nowhere, output)
            os.kill(os.getpid(), signal.SIGINT)
        # Where nobody is there to be told that it stops, the client would wait for ever.
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    def __iter__(self):
        while (request := self.lines.get()) is not None:
            # Either this sees that nobody waits, or whoever reads sees that there is work to stop.
            self.busy = True
            if self.unwanted:
                return
            yield request
            self.busy = False


COMMANDS = {
    "account": account,
    "beat": beat,
    "build": build,
    "deploy": deploy,
    "discard": discard,
    "logs": logs,
    "older": older,
    "end_lease": end_lease,
    "lease_holder": lease_holder,
    "look": look,
    "put": put,
    "rates": rates,
    "read": read,
    "recorded": recorded,
    "rollback": rollback,
    "run": run,
    "last_words": last_words,
    "spent": spent,
    "stop": stop,
    "told": told,
    "take_lease": take_lease,
    "trial": trial,
}


def answered(request):
    """Does one thing; what came of it, or why nothing did."""
    settings = dict(os.environ)
    # The client reads its settings anew each time.
    if builder := request.pop("builder", None):
        os.environ["MODAL_IMAGE_BUILDER_VERSION"] = builder
    try:
        connect(request)
        if lease := request.pop("lease", None):
            assert_held(lease, request["environment"])
        return {"ok": COMMANDS[request.pop("command")](request)}
    except BaseException as error:  # noqa: BLE001: whatever it is, the caller hears of it
        kind = next((kind for types, kind in KINDS if isinstance(error, types)), "other")
        message = str(error) or type(error).__name__
        if kind == "other":
            traceback.print_exception(error)
            message = f"{type(error).__name__}: {message}"
        return {"error": {"kind": kind, "message": message}}
    finally:
        os.environ.clear()
        os.environ.update(settings)


def main():
    for request in Requests():
        logging = request["command"] == "logs"
        end = request.pop("end", "")
        answer = answered(request)
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            if not logging:
                # Whatever was said last may have no end of its own.
                print(f"\n{end}", file=sys.stderr, flush=True)
            print(json.dumps(answer), file=sys.stderr if logging else ANSWERS, flush=True)
        if logging:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
