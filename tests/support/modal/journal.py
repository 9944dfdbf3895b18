"""What a line of the journal tells of a request: names instead of ids, and never a secret's value."""

from modal_proto import api_pb2

from methods import web_of
from state import image_id

_WEB_KINDS = {1: "asgi_app", 2: "fastapi_endpoint", 3: "wsgi_app", 4: "web_server"}


def _names(state: dict, request) -> dict:
    """The app, object and environment that a request is about, as far as it says so."""
    fields = {field.name: value for field, value in request.ListFields()}
    told = {}
    app_id = fields.get("app_id")
    function_id = fields.get("function_id") or fields.get("existing_function_id")
    if not app_id and function_id in state["functions"]:
        app_id = state["functions"][function_id]["app_id"]
    if app_id in state["apps"]:
        told["app"] = state["apps"][app_id]["name"]
        told["environment"] = state["apps"][app_id]["environment"]
    if "app_name" in fields:
        told["app"] = fields["app_name"]
    if function_id in state["functions"]:
        told["name"] = state["functions"][function_id]["name"]
    for key in ("deployment_name", "name", "object_tag", "function_name", "current_name"):
        if isinstance(fields.get(key), str):
            told["name"] = fields[key]
    for table, key in (("volumes", "volume_id"), ("dicts", "dict_id"), ("secrets", "secret_id")):
        if fields.get(key) in state[table]:
            told["name"] = state[table][fields[key]]["name"]
            told["environment"] = state[table][fields[key]]["environment"]
    if fields.get("environment_name"):
        told["environment"] = fields["environment_name"]
    return told


def _function(state: dict, function: api_pb2.Function) -> dict:
    gpu = function.resources.gpu_config
    settings = function.autoscaler_settings
    method, web = web_of(function)
    return {
        "function": function.function_name,
        "image": function.image_id,
        "gpu": {"type": gpu.gpu_type, "count": gpu.count} if gpu.count else None,
        "cpu": function.resources.milli_cpu / 1000,
        "memory": function.resources.memory_mb,
        "volumes": {
            state["volumes"].get(mount.volume_id, {}).get("name", mount.volume_id): mount.mount_path
            for mount in function.volume_mounts
        },
        "read_only": sorted(mount.mount_path for mount in function.volume_mounts if mount.read_only),
        "secrets": [state["secrets"].get(secret, {}).get("name") or "(anonymous)" for secret in function.secret_ids],
        "timeout_secs": function.timeout_secs,
        "startup_timeout_secs": function.startup_timeout_secs,
        "scaledown_window": settings.scaledown_window or function.task_idle_timeout_secs,
        "min_containers": settings.min_containers,
        "max_containers": settings.max_containers,
        "buffer_containers": settings.buffer_containers,
        "max_inputs": function.max_concurrent_inputs,
        "target_inputs": function.target_concurrent_inputs,
        "web": {
            "method": method,
            "kind": _WEB_KINDS.get(web.type, str(web.type)),
            "port": web.web_server_port,
            "startup_timeout": web.web_server_startup_timeout,
            "label": web.requested_suffix,
            "requires_proxy_auth": web.requires_proxy_auth,
        }
        if web.type
        else None,
        "memory_snapshot": function.checkpointing_enabled,
        "experimental_options": dict(function.experimental_options),
        "regions": list(function.scheduler_placement.regions),
        "cloud": function.cloud_provider_str,
        "files": sorted(
            file["filename"] for mount in function.mount_ids for file in state["mounts"].get(mount, {}).get("files", [])
        ),
    }


def journal_fields(state: dict, rpc: str, request) -> dict:
    told = _names(state, request)
    match rpc:
        case "FunctionCreate":
            ranked = request.function_data.ranked_functions
            told["name"] = (ranked[0].function if ranked else request.function).function_name
            told.update(_function(state, ranked[0].function if ranked else request.function))
        case "AppPublish":
            told["app"] = request.name or told.get("app", "")
            told["tag"] = request.deployment_tag
            told["tags"] = dict(request.tags)
            told["functions"] = sorted(request.function_ids)
            told["classes"] = sorted(request.class_ids)
            told["state"] = api_pb2.AppState.Name(request.app_state)
            if request.rollback_version:
                told["rollback_version"] = request.rollback_version
        case "AppCreate":
            told["app"] = request.description
            told["state"] = api_pb2.AppState.Name(request.app_state)
        case "AppGetByDeploymentName":
            told["app"] = request.name
        case "AppRollback":
            told["version"] = request.version
        case "ImageGetOrCreate":
            told["image"] = image_id(request.image, request.builder_version)
            told["commands"] = list(request.image.dockerfile_commands)
            told["builder_version"] = request.builder_version
        case "ImageJoinStreaming" | "ImageFromId":
            told["image"] = request.image_id
        case "DictUpdate":
            told["if_not_exists"] = request.if_not_exists
        case "VolumePutFiles" | "VolumePutFiles2":
            told["files"] = sorted(getattr(file, "filename", "") or getattr(file, "path", "") for file in request.files)
        case "VolumeRemoveFile" | "VolumeRemoveFile2" | "VolumeGetFile2" | "VolumeListFiles" | "VolumeListFiles2":
            told["path"] = request.path
        case "SecretGetOrCreate":
            told["keys"] = sorted(request.env_dict)
            told["creates"] = request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED
        case "VolumeGetOrCreate" | "DictGetOrCreate":
            told["creates"] = request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED
    return told
