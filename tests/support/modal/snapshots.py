"""Memory snapshots: a container says when it is to be frozen, and goes on as if it had been restored.

Nothing is frozen here: the same processes go on. What comes before and after is told in the app's log.
"""

import asyncio
import json

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

import checks
from containers import Container
from logs import Logs

_FROZEN_SECONDS = 0.2


class Snapshots:
    def __init__(self, logs: Logs):
        self._logs = logs
        self._tasks: set[asyncio.Task] = set()

    async def ContainerCheckpoint(self, request, call):
        container = call.task
        if container is None:
            raise GRPCError(Status.PERMISSION_DENIED, "ContainerCheckpoint is for containers.")
        if not container.checkpoint_id or request.checkpoint_id != container.checkpoint_id:
            raise checks.missing(f"Checkpoint '{request.checkpoint_id}' not found.")
        if container.ready:
            raise GRPCError(Status.FAILED_PRECONDITION, "A container that takes inputs cannot be snapshotted.")
        self._say(container, "Creating memory snapshot for Function.")
        job = asyncio.create_task(self._restore(container))
        self._tasks.add(job)
        job.add_done_callback(self._tasks.discard)
        return Empty()

    async def _restore(self, container: Container) -> None:
        await asyncio.sleep(_FROZEN_SECONDS)
        self._say(container, "Using memory snapshot for Function.")
        container.checkpoint_id = ""
        state = {"task_id": container.task_id, "function_id": container.function_id}
        draft = container.restored.with_suffix(".draft")
        draft.write_text(json.dumps(state))
        draft.rename(container.restored)

    def _say(self, container: Container, text: str) -> None:
        source = api_pb2.FILE_DESCRIPTOR_INFO
        self._logs.add(container.app_id, container.task_id, container.function_id, source, f"{text}\n", "")
