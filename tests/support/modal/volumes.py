"""Volumes: plain files in `DIR/volumes/<environment>/<name>/`, for tests to look at and to tamper with."""

import hashlib
import os
import shutil
import time
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

import checks
from objects import creation_info, environment, may_create, named, page
from state import State, random_id
from transfer import Transfer

_V1 = api_pb2.VOLUME_FS_VERSION_V1
_LIST_BATCH = 500


class Volumes:
    def __init__(self, state: State, transfer: Transfer):
        self._state = state
        self._transfer = transfer

    def _row(self, volume_id: str) -> dict:
        if volume_id not in self._state.data["volumes"]:
            raise checks.missing(f"Volume with ID '{volume_id}' not found.")
        return self._state.data["volumes"][volume_id]

    def _metadata(self, row: dict) -> api_pb2.VolumeMetadata:
        return api_pb2.VolumeMetadata(version=row["version"], name=row["name"], creation_info=creation_info(row))

    def _base(self, volume_id: str) -> Path:
        base = self._state.volume_dir(self._row(volume_id))
        base.mkdir(parents=True, exist_ok=True)
        return base

    def _path(self, volume_id: str, path: str) -> Path:
        base = self._base(volume_id)
        if ".." in Path(path).parts:
            raise checks.refuse(f"Invalid path '{path}'.")
        return base / path.strip("/")

    async def VolumeGetOrCreate(self, request, call):
        table, name = self._state.data["volumes"], request.deployment_name
        place = environment(self._state, request.environment_name)
        found = named(table, place, name)
        if may_create(request.object_creation_type, found, "Volume", name, place):
            checks.object_name(name, "Volume")
            found = random_id("vo")
            table[found] = {
                "name": name,
                "environment": place,
                "version": request.version or _V1,
                "created_at": time.time(),
                "created_by": call.user,
            }
            self._base(found)
            self._state.touch()
        row = table[found]
        return api_pb2.VolumeGetOrCreateResponse(volume_id=found, version=row["version"], metadata=self._metadata(row))

    async def VolumeGetById(self, request, _call):
        row = self._row(request.volume_id)
        return api_pb2.VolumeGetByIdResponse(volume_id=request.volume_id, metadata=self._metadata(row))

    async def VolumeList(self, request, _call):
        place = environment(self._state, request.environment_name)
        rows = [row for row in self._state.data["volumes"].items() if row[1]["environment"] == place]
        return api_pb2.VolumeListResponse(
            environment_name=place,
            items=[
                api_pb2.VolumeListItem(
                    label=row["name"], volume_id=volume_id, created_at=row["created_at"], metadata=self._metadata(row)
                )
                for volume_id, row in page(rows, request.pagination)
            ],
        )

    async def VolumeDelete(self, request, _call):
        shutil.rmtree(self._base(request.volume_id))
        del self._state.data["volumes"][request.volume_id]
        self._state.touch()
        return Empty()

    async def VolumeRename(self, request, _call):
        row = self._row(request.volume_id)
        checks.object_name(request.name, "Volume")
        if named(self._state.data["volumes"], row["environment"], request.name):
            raise GRPCError(Status.ALREADY_EXISTS, f"Volume '{request.name}' already exists.")
        before = self._base(request.volume_id)
        row["name"] = request.name
        before.rename(self._state.volume_dir(row))
        self._state.touch()
        return Empty()

    def _entry(self, base: Path, path: Path) -> api_pb2.FileEntry:
        kind = api_pb2.FileEntry.FILE
        if path.is_symlink():
            kind = api_pb2.FileEntry.SYMLINK
        elif path.is_dir():
            kind = api_pb2.FileEntry.DIRECTORY
        seen = path.lstat()
        size = seen.st_size if kind == api_pb2.FileEntry.FILE else 0
        return api_pb2.FileEntry(path=str(path.relative_to(base)), type=kind, mtime=int(seen.st_mtime), size=size)

    async def _list(self, request, response):
        base, path = self._base(request.volume_id), self._path(request.volume_id, request.path)
        if not os.path.lexists(path):
            raise checks.missing(f"No such file or directory: '{request.path}'")
        inside = sorted(path.rglob("*") if request.recursive else path.iterdir()) if path.is_dir() else None
        found = [path] if inside is None else inside
        if request.max_entries:
            found = found[: request.max_entries]
        for start in range(0, len(found), _LIST_BATCH):
            yield response(entries=[self._entry(base, item) for item in found[start : start + _LIST_BATCH]])

    async def VolumeListFiles(self, request, _call):
        async for batch in self._list(request, api_pb2.VolumeListFilesResponse):
            yield batch

    async def VolumeListFiles2(self, request, _call):
        async for batch in self._list(request, api_pb2.VolumeListFiles2Response):
            yield batch

    def _refuse_overwriting(self, request, paths: list[str]) -> None:
        for path in paths:
            if request.disallow_overwrite_existing_files and self._path(request.volume_id, path).exists():
                raise GRPCError(Status.ALREADY_EXISTS, f"{path}: already exists")

    async def VolumePutFiles(self, request, _call):
        self._refuse_overwriting(request, [file.filename for file in request.files])
        for file in request.files:
            if not self._state.file(file.sha256_hex).exists():
                raise GRPCError(Status.FAILED_PRECONDITION, f"{file.filename}: content was not uploaded")
        for file in request.files:
            target = self._path(request.volume_id, file.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._state.file(file.sha256_hex), target)
            target.chmod((file.mode or 0o644) & 0o777)
        return Empty()

    async def VolumePutFiles2(self, request, _call):
        self._refuse_overwriting(request, [file.path for file in request.files])
        absent = [
            api_pb2.VolumePutFiles2Response.MissingBlock(
                file_index=number,
                block_index=index,
                put_url=self._transfer.url("block", block.contents_sha256.hex()),
            )
            for number, file in enumerate(request.files)
            for index, block in enumerate(file.blocks)
            if not self._transfer.blob_path(block.contents_sha256.hex()).exists()
        ]
        if absent:
            return api_pb2.VolumePutFiles2Response(missing_blocks=absent)
        for file in request.files:
            target = self._path(request.volume_id, file.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                for block in file.blocks:
                    content = self._transfer.blob(block.contents_sha256.hex())
                    assert hashlib.sha256(content).digest() == block.contents_sha256
                    out.write(content)
            os.truncate(target, file.size)
            target.chmod((file.mode or 0o644) & 0o777)
        return api_pb2.VolumePutFiles2Response()

    async def VolumeGetFile2(self, request, _call):
        path = self._path(request.volume_id, request.path)
        if not path.is_file():
            raise checks.missing(f"No such file: '{request.path}'")
        size = path.stat().st_size
        start = min(request.start, size)
        length = min(request.len or size, size - start)
        urls = self._transfer.file_urls(path.resolve(), start, length)
        return api_pb2.VolumeGetFile2Response(get_urls=urls, size=size, start=start, len=length)

    async def _remove(self, request):
        path = self._path(request.volume_id, request.path)
        if not os.path.lexists(path):
            raise checks.missing(f"No such file or directory: '{request.path}'")
        if path.is_dir() and not path.is_symlink():
            if not request.recursive:
                raise checks.refuse(f"'{request.path}' is a directory; use recursive to remove it")
            base = self._base(request.volume_id)
            shutil.rmtree(path)
            base.mkdir(exist_ok=True)
        else:
            path.unlink()
        return Empty()

    async def VolumeRemoveFile(self, request, _call):
        return await self._remove(request)

    async def VolumeRemoveFile2(self, request, _call):
        return await self._remove(request)

    async def _copy(self, request):
        sources = [self._path(request.volume_id, path) for path in request.src_paths]
        target = self._path(request.volume_id, request.dst_path)
        for source in sources:
            if not source.exists():
                raise checks.missing(f"No such file: '{source.name}'")
            into = target / source.name if target.is_dir() else target
            into.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, into, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, into)
        return Empty()

    async def VolumeCopyFiles(self, request, _call):
        return await self._copy(request)

    async def VolumeCopyFiles2(self, request, _call):
        return await self._copy(request)

    def _in_container(self, volume_id: str, call) -> None:
        self._row(volume_id)
        if call.task is None or volume_id not in call.task.volume_ids:
            raise GRPCError(
                Status.FAILED_PRECONDITION, "a volume can only be committed or reloaded by a container that mounts it"
            )

    async def VolumeCommit(self, request, call):
        self._in_container(request.volume_id, call)
        return api_pb2.VolumeCommitResponse(skip_reload=True)

    async def VolumeReload(self, request, call):
        self._in_container(request.volume_id, call)
        return Empty()

    async def VolumeHeartbeat(self, request, _call):
        self._row(request.volume_id)
        return Empty()
