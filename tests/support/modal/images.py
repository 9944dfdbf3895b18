"""Images, and the files that go on top of them. Nothing is built: what was asked for is written down."""

import asyncio
import hashlib
import json
import re
import shlex
import string
import time

from grpclib import GRPCError, Status
from modal_proto import api_pb2

import checks
import registry
from faults import Faults
from objects import LOOKUP, environment
from state import State, content_id, random_id, write_atomically
from state import image_id as image_id_of
from transfer import Transfer

_SUCCESS = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)


class Images:
    def __init__(self, state: State, faults: Faults):
        self._state = state
        self._faults = faults

    def _metadata(self, row: dict) -> api_pb2.ImageMetadata:
        return api_pb2.ImageMetadata(
            image_builder_version=row["builder_version"], python_version_info="Python 3.11.10", workdir="/root"
        )

    def _check(self, image: api_pb2.Image, builder_version: str) -> None:
        if builder_version not in checks.BUILDER_VERSIONS:
            raise checks.refuse(f"Unsupported image builder version '{builder_version}'.")
        if image.HasField("build_function") and image.build_function.definition:
            raise GRPCError(Status.UNIMPLEMENTED, "the control plane double does not run build functions of images")
        if not image.dockerfile_commands:
            raise checks.refuse("An image needs Dockerfile commands.")
        for base in image.base_images:
            if not self._state.data["images"].get(base.image_id, {}).get("built"):
                raise GRPCError(Status.FAILED_PRECONDITION, f"Base image {base.image_id} has not been built.")
        secrets = [*image.secret_ids]
        if image.image_registry_config.secret_id:
            secrets.append(image.image_registry_config.secret_id)
        for secret in secrets:
            if secret not in self._state.data["secrets"]:
                raise checks.missing(f"Secret with ID '{secret}' not found.")
        if image.context_mount_id and image.context_mount_id not in self._state.data["mounts"]:
            raise checks.missing(f"Mount with ID '{image.context_mount_id}' not found.")

    def _write_down(self, image_id: str, image: api_pb2.Image, builder_version: str) -> None:
        secrets = self._state.data["secrets"]
        mount = self._state.data["mounts"].get(image.context_mount_id, {"files": []})
        config = image.image_registry_config
        told = {
            "id": image_id,
            "builder_version": builder_version,
            "base_images": {base.docker_tag: base.image_id for base in image.base_images},
            "dockerfile_commands": list(image.dockerfile_commands),
            "context_files": {file.filename: hashlib.sha256(file.data).hexdigest() for file in image.context_files},
            "context_mount": {file["filename"]: file["sha256"] for file in mount["files"]},
            "secrets": [secrets[secret]["name"] or "(anonymous)" for secret in image.secret_ids],
            "registry_secret": secrets[config.secret_id]["name"] if config.secret_id else None,
            "registry_auth": api_pb2.RegistryAuthType.Name(config.registry_auth_type),
            "gpu": image.gpu_config.gpu_type or None,
            "build_args": dict(image.build_args),
        }
        write_atomically(self._state.root / "images" / f"{image_id}.json", json.dumps(told, indent=1))
        for file in image.context_files:
            self._state.file(hashlib.sha256(file.data).hexdigest()).write_bytes(file.data)

    async def ImageGetOrCreate(self, request, _call):
        image, version = request.image, request.builder_version
        self._check(image, version)
        image_id = image_id_of(image, version)
        rows = self._state.data["images"]
        if image_id not in rows:
            self._write_down(image_id, image, version)
            rows[image_id] = {
                "built": False,
                "builder_version": version,
                "commands": list(image.dockerfile_commands),
                "bases": [base.image_id for base in image.base_images],
                "registry_secret": image.image_registry_config.secret_id,
                "created_at": time.time(),
                "builds": 0,
            }
        if request.force_build or request.ignore_cache:
            rows[image_id]["built"] = False
        self._state.touch()
        result = _SUCCESS if rows[image_id]["built"] else None
        return api_pb2.ImageGetOrCreateResponse(
            image_id=image_id, result=result, metadata=self._metadata(rows[image_id])
        )

    def _row(self, image_id: str) -> dict:
        if image_id not in self._state.data["images"]:
            raise checks.missing(f"Image with ID '{image_id}' not found.")
        return self._state.data["images"][image_id]

    async def ImageJoinStreaming(self, request, _call):
        row = self._row(request.image_id)

        def log(text: str) -> api_pb2.TaskLogs:
            return api_pb2.TaskLogs(data=text, timestamp=time.time(), file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT)

        logs = [log(f"Building image {request.image_id}\n"), *(log(f"=> {line}\n") for line in row["commands"][:50])]
        yield api_pb2.ImageJoinStreamingResponse(task_logs=logs, entry_id="1-0")
        if failure := self._faults.read().get("image_build_failure"):
            result = api_pb2.GenericResult(
                status=api_pb2.GenericResult.GENERIC_STATUS_FAILURE, exception=failure, exitcode=1
            )
            yield api_pb2.ImageJoinStreamingResponse(
                result=result, entry_id="2-0", eof=True, task_logs=[log(f"{failure}\n")]
            )
            return
        try:
            await self._pull(row)
        except registry.NotPulled as error:
            result = api_pb2.GenericResult(
                status=api_pb2.GenericResult.GENERIC_STATUS_FAILURE, exception=str(error), exitcode=1
            )
            yield api_pb2.ImageJoinStreamingResponse(
                result=result, entry_id="2-0", eof=True, task_logs=[log(f"{error}\n")]
            )
            return
        row["built"] = True
        row["builds"] += 1
        self._state.touch()
        self._state.save()
        yield api_pb2.ImageJoinStreamingResponse(
            result=_SUCCESS, entry_id="2-0", eof=True, metadata=self._metadata(row), task_logs=[log("Built.\n")]
        )

    async def _pull(self, row: dict) -> None:
        """What is in the image's own registry, when that is one of this machine's."""
        word, _, reference = row["commands"][0].partition(" ")
        if word != "FROM" or not registry.is_here(reference):
            return
        secret = row["registry_secret"]
        values = self._state.secret_values(secret) if secret else None
        row["environment"] = await asyncio.to_thread(registry.pull, reference, values)

    async def ImageFromId(self, request, _call):
        row = self._row(request.image_id)
        if not row["built"]:
            raise GRPCError(Status.FAILED_PRECONDITION, f"Image {request.image_id} has not been built.")
        return api_pb2.ImageFromIdResponse(image_id=request.image_id, metadata=self._metadata(row))

    async def ImageBuildChainGet(self, _request, _call):
        return api_pb2.ImageBuildChainGetResponse()


def environment_of_image(state: State, image_id: str) -> tuple[dict[str, str], str]:
    """What ENV and WORKDIR leave behind, down the chain of base images."""
    row = state.data["images"].get(image_id)
    if row is None:
        return {}, "/root"
    variables, workdir = {}, "/root"
    for base in row["bases"]:
        inherited, workdir = environment_of_image(state, base)
        variables.update(inherited)
    # Its PATH leads to programs that only the real image has.
    variables.update({name: value for name, value in row.get("environment", {}).items() if name != "PATH"})
    for command in row["commands"]:
        word, _, rest = command.strip().partition(" ")
        if word.upper() == "WORKDIR":
            workdir = shlex.split(rest)[0]
        if word.upper() != "ENV":
            continue
        # What is in single quotes is not expanded, neither by Docker nor here.
        rest = re.sub("'[^']*'", lambda quoted: quoted[0].replace("$", "$$"), rest.strip())
        first = rest.split(" ", 1)
        if "=" in first[0]:
            pairs = dict(part.partition("=")[::2] for part in shlex.split(rest))
        else:
            pairs = {first[0]: first[1].strip() if len(first) > 1 else ""}
        for key, value in pairs.items():
            variables[key] = string.Template(value).safe_substitute(variables)
    return variables, workdir


class Mounts:
    """Files by content, lists of files by their content."""

    def __init__(self, state: State, transfer: Transfer):
        self._state = state
        self._transfer = transfer

    async def MountBatchedCheckExistence(self, request, _call):
        absent = [name for name in request.sha256_hex_hashes if not self._state.file(name).exists()]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=absent)

    async def MountPutFile(self, request, _call):
        path = self._state.file(request.sha256_hex)
        if request.WhichOneof("data_oneof"):
            content = self._transfer.blob(request.data_blob_id) if request.data_blob_id else request.data
            if hashlib.sha256(content).hexdigest() != request.sha256_hex:
                raise checks.refuse("The uploaded file does not have the SHA-256 that was announced.")
            draft = path.with_suffix(f".{random_id('dr')}")
            draft.write_bytes(content)
            draft.rename(path)
        return api_pb2.MountPutFileResponse(exists=path.exists())

    async def MountGetOrCreate(self, request, _call):
        if request.deployment_name and request.object_creation_type == LOOKUP:
            # Modal's own mounts (the client, Python builds): the containers here have the installed client.
            mount_id = content_id("mo", request.deployment_name.encode())
            self._state.data["mounts"].setdefault(mount_id, {"name": request.deployment_name, "files": []})
            self._state.touch()
            return self._answer(mount_id)
        if request.environment_name:
            environment(self._state, request.environment_name)
        files = sorted(
            ({"filename": file.filename, "sha256": file.sha256_hex, "mode": file.mode} for file in request.files),
            key=lambda file: file["filename"],
        )
        for file in files:
            if not self._state.file(file["sha256"]).exists():
                raise GRPCError(Status.FAILED_PRECONDITION, f"{file['filename']}: content was not uploaded")
        mount_id = content_id("mo", json.dumps(files).encode())
        self._state.data["mounts"][mount_id] = {"name": "", "files": files}
        self._state.touch()
        return self._answer(mount_id)

    def _answer(self, mount_id: str) -> api_pb2.MountGetOrCreateResponse:
        checksum = hashlib.sha256(mount_id.encode()).hexdigest()
        return api_pb2.MountGetOrCreateResponse(
            mount_id=mount_id, handle_metadata=api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum)
        )

    async def BlobCreate(self, request, _call):
        blob_id = random_id("bl")
        urls = api_pb2.UploadUrlList(items=[self._transfer.url("blob", blob_id)])
        return api_pb2.BlobCreateResponse(blob_ids=[blob_id], upload_urls=urls)

    async def BlobGet(self, request, _call):
        if not self._transfer.blob_path(request.blob_id).exists():
            raise checks.missing(f"Blob '{request.blob_id}' not found.")
        return api_pb2.BlobGetResponse(download_url=self._transfer.url("blob", request.blob_id))
