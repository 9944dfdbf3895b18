"""What the real server refuses, or what its documentation says it refuses.

The client checks part of it too (names, tags, scaledown window); the double checks all of it again, since a
client of another version or a hand-made request must not get further here than there.
"""

import re

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from methods import web_of

# Name → most GPUs per container.
GPUS = {
    "T4": 8,
    "L4": 8,
    "A10": 4,
    "A10G": 4,
    "L40S": 8,
    "A100": 8,
    "A100-40GB": 8,
    "A100-80GB": 8,
    "RTX-PRO-6000": 8,
    "H100": 8,
    "H100!": 8,
    "H200": 8,
    "B200": 8,
    "B200+": 8,
}
# `ImageBuilderVersion` in `modal/_image.py` 1.6.4.
BUILDER_VERSIONS = {"2023.12", "2024.04", "2024.10", "2025.06", "2026.10", "PREVIEW"}
MAX_TIMEOUT_SECONDS = 24 * 60 * 60
MAX_CONCURRENT_INPUTS = 1000
_OBJECT_NAME = re.compile(r"[a-zA-Z0-9-_.]{1,64}")
_ENVIRONMENT_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-_]{0,63}")
_APP_ID = re.compile(r"ap-[a-zA-Z0-9]{22}")
_LABEL = re.compile(r"(?![0-9]+$)(?!-)[a-z0-9-]{1,63}(?<!-)")


def refuse(message: str) -> GRPCError:
    return GRPCError(Status.INVALID_ARGUMENT, message)


def missing(message: str) -> GRPCError:
    return GRPCError(Status.NOT_FOUND, message)


def object_name(name: str, kind: str) -> None:
    if not _OBJECT_NAME.fullmatch(name) or _APP_ID.fullmatch(name):
        raise refuse(
            f"Invalid {kind} name: '{name}'. Names may contain only alphanumeric characters, dashes, periods, and "
            "underscores, must be shorter than 64 characters, and cannot conflict with App ID strings."
        )


def environment_name(name: str) -> None:
    if not _ENVIRONMENT_NAME.fullmatch(name) or name.lower().startswith("en-"):
        raise refuse(f"Invalid Environment name: '{name}'.")


def deployment_tag(tag: str) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9._-]{0,50}", tag):
        raise refuse(
            f"Deployment tag '{tag}' is invalid. Tags may only contain alphanumeric characters, dashes, periods, and "
            "underscores, and must be 50 characters or less."
        )


def app_tags(tags: dict[str, str]) -> None:
    for text in (*tags.keys(), *tags.values()):
        if not re.fullmatch(r"[a-zA-Z0-9._-]{1,63}", text):
            raise refuse(f"Invalid tag: '{text}'. Tags must be 63 characters or less of [a-zA-Z0-9._-].")


def web_label(label: str) -> None:
    if not _LABEL.fullmatch(label):
        raise refuse(f"Invalid label '{label}': must be a valid subdomain label ([a-z0-9-], at most 63 characters).")


def _gpu(gpu: api_pb2.GPUConfig) -> None:
    if not gpu.gpu_type and not gpu.count:
        return
    if gpu.gpu_type not in GPUS:
        raise refuse(f"Invalid GPU type: '{gpu.gpu_type}'. Supported types: {', '.join(GPUS)}.")
    if not 1 <= gpu.count <= GPUS[gpu.gpu_type]:
        raise refuse(f"Invalid GPU count {gpu.count} for {gpu.gpu_type}: must be between 1 and {GPUS[gpu.gpu_type]}.")


def _seconds(what: str, value: int) -> None:
    if not 1 <= value <= MAX_TIMEOUT_SECONDS:
        raise refuse(f"Function {what} must be between 1 second and 24 hours, not {value} seconds.")


def _autoscaler(function: api_pb2.Function) -> None:
    settings = function.autoscaler_settings
    window = settings.scaledown_window or function.task_idle_timeout_secs
    if window and not 2 <= window <= 3600:
        raise refuse(f"scaledown_window must be between 2 and 3600 seconds, not {window}.")
    least, most = settings.min_containers, settings.max_containers
    if most and least > most:
        raise refuse(f"min_containers ({least}) cannot be greater than max_containers ({most}).")


def _snapshot(function: api_pb2.Function) -> None:
    options = dict(function.experimental_options)
    gpu = options.pop("enable_gpu_snapshot", "False")
    if options:
        raise refuse(f"Unknown experimental options: {', '.join(sorted(options))}.")
    if gpu not in ("True", "False"):
        raise refuse(f"enable_gpu_snapshot must be True or False, not {gpu}.")
    if gpu == "True" and not (function.checkpointing_enabled and function.resources.gpu_config.count):
        raise refuse("enable_gpu_snapshot needs enable_memory_snapshot=True and a GPU.")


def function(state: dict, function: api_pb2.Function) -> None:
    """Refuses a function definition that the server would not take."""
    name = function.function_name
    if function.is_class != name.endswith(".*"):
        raise refuse(f"Function '{name}': only what serves a class is called `CLASS.*`.")
    object_name(name.removesuffix(".*"), "Function")
    _snapshot(function)
    _gpu(function.resources.gpu_config)
    _seconds("timeout", function.timeout_secs)
    if function.startup_timeout_secs:
        _seconds("startup_timeout", function.startup_timeout_secs)
    _autoscaler(function)
    if function.max_concurrent_inputs > MAX_CONCURRENT_INPUTS:
        raise refuse(f"max_inputs must be at most {MAX_CONCURRENT_INPUTS}, not {function.max_concurrent_inputs}.")
    if function.target_concurrent_inputs > max(function.max_concurrent_inputs, 0):
        raise refuse("target_inputs cannot be greater than max_inputs.")
    _, web = web_of(function)
    endpoints = sum(bool(method.webhook_config.type) for method in function.method_definitions.values())
    if function.is_class and not function.method_definitions or endpoints > 1:
        raise refuse(f"Class '{name}' needs methods; the double serves one web endpoint of a class.")
    if web.requested_suffix:
        web_label(web.requested_suffix)
    if web.type == api_pb2.WEBHOOK_TYPE_WEB_SERVER and not 1 <= web.web_server_port <= 65535:
        raise refuse(f"Invalid web server port {web.web_server_port}.")
    image = state["images"].get(function.image_id)
    if image is None:
        raise missing(f"Image with ID '{function.image_id}' not found.")
    if not image["built"]:
        raise GRPCError(Status.FAILED_PRECONDITION, f"Image {function.image_id} has not been built.")
    for kind, table, ids in (
        ("Secret", "secrets", function.secret_ids),
        ("Mount", "mounts", function.mount_ids),
        ("Volume", "volumes", [mount.volume_id for mount in function.volume_mounts]),
    ):
        for wanted in ids:
            if wanted not in state[table]:
                raise missing(f"{kind} with ID '{wanted}' not found.")
    paths = [mount.mount_path for mount in function.volume_mounts]
    for path in paths:
        if not path.startswith("/") or path.rstrip("/") in ("", "/root", "/tmp"):
            raise refuse(f"Volume cannot be mounted at '{path}'.")
    if len(set(paths)) != len(paths):
        raise refuse("Two volumes cannot be mounted at the same path.")
