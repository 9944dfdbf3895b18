"""Calls of functions: inputs in, to a container, outputs back; and what containers and their list say."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

import checks
from containers import Container, Containers
from functions import Functions
from labels import GONE
from objects import environment
from state import State, random_id

_POLL_SECONDS = 0.02
_LONGEST_POLL_SECONDS = 55.0
# The container asks again after this; a live connection with nothing to do looks no different.
_INPUT_POLL_SECONDS = 30.0
_RESULT = api_pb2.GenericResult
_FAILS = (
    _RESULT.GENERIC_STATUS_FAILURE,
    _RESULT.GENERIC_STATUS_TIMEOUT,
    _RESULT.GENERIC_STATUS_INTERNAL_FAILURE,
)


@dataclass(eq=False)
class Input:
    input_id: str
    call_id: str
    function_id: str
    index: int
    content: api_pb2.FunctionInput
    invocation: int
    retries: int = 0
    deadline: float = float("inf")


@dataclass(eq=False)
class FunctionCall:
    function_id: str
    unfinished: int = 0
    outputs: list[api_pb2.FunctionGetOutputsItem] = field(default_factory=list)


class Calls:
    def __init__(self, state: State, containers: Containers, functions: Functions):
        self._state = state
        self._containers = containers
        self._functions = functions
        self._calls: dict[str, FunctionCall] = {}
        self._waiting: dict[str, list[Input]] = defaultdict(list)
        containers.on_end = self._container_ended

    def _running_app(self, function_id: str) -> None:
        row = self._state.data["functions"].get(function_id)
        if row is None:
            raise checks.missing(f"Function with ID '{function_id}' not found.")
        app = self._state.data["apps"][row["app_id"]]
        if app["state"] in GONE or not row["definition"]:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {row['app_id']} is not running.")

    def _enqueue(self, call_id: str, items, invocation: int) -> list[api_pb2.FunctionPutInputsResponseItem]:
        call = self._calls[call_id]
        answers = []
        for item in items:
            waiting = Input(random_id("in"), call_id, call.function_id, item.idx, item.input, invocation)
            self._waiting[call.function_id].append(waiting)
            call.unfinished += 1
            answers.append(
                api_pb2.FunctionPutInputsResponseItem(
                    idx=item.idx, input_id=waiting.input_id, input_jwt=waiting.input_id
                )
            )
        self._scale(call.function_id)
        return answers

    def _scale(self, function_id: str) -> None:
        running = [container for container in self._containers.of_function(function_id)]
        inputs = len(self._waiting[function_id]) + sum(len(container.inputs) for container in running)
        each = self._capacity(self._functions.live(function_id).ranked_functions[0].function)
        if inputs:
            self._containers.ensure(function_id, -(-inputs // each))

    @staticmethod
    def _capacity(function: api_pb2.Function) -> int:
        return function.max_concurrent_inputs or 1

    async def FunctionMap(self, request, _call):
        self._running_app(request.function_id)
        call_id = random_id("fc")
        self._calls[call_id] = FunctionCall(request.function_id)
        answers = self._enqueue(call_id, request.pipelined_inputs, request.function_call_invocation_type)
        return api_pb2.FunctionMapResponse(
            function_call_id=call_id,
            function_call_jwt=call_id,
            pipelined_inputs=answers,
            retry_policy=self._functions.live(request.function_id).ranked_functions[0].function.retry_policy,
            max_inputs_outstanding=1000,
        )

    def _call(self, call_id: str) -> FunctionCall:
        if call_id not in self._calls:
            raise checks.missing(f"Function call '{call_id}' not found.")
        return self._calls[call_id]

    async def FunctionPutInputs(self, request, _call):
        self._call(request.function_call_id)
        answers = self._enqueue(
            request.function_call_id, request.inputs, api_pb2.FUNCTION_CALL_INVOCATION_TYPE_SYNC_LEGACY
        )
        return api_pb2.FunctionPutInputsResponse(inputs=answers)

    async def FunctionFinishInputs(self, _request, _call):
        return Empty()

    async def FunctionGetOutputs(self, request, _call):
        call = self._call(request.function_call_id)
        after = int(request.last_entry_id.split("-")[0] or 0) if request.last_entry_id else 0
        end = time.monotonic() + min(request.timeout, _LONGEST_POLL_SECONDS)
        while len(call.outputs) <= after and time.monotonic() < end:
            await asyncio.sleep(_POLL_SECONDS)
        found = call.outputs[after:]
        return api_pb2.FunctionGetOutputsResponse(
            outputs=found,
            idxs=[output.idx for output in found],
            last_entry_id=f"{len(call.outputs)}-0",
            num_unfinished_inputs=call.unfinished,
        )

    async def FunctionCallCancel(self, request, _call):
        call = self._call(request.function_call_id)
        result = _RESULT(status=_RESULT.GENERIC_STATUS_TERMINATED, exception="The function call was cancelled.")
        for waiting in list(self._waiting[call.function_id]):
            if waiting.call_id == request.function_call_id:
                self._waiting[call.function_id].remove(waiting)
                self._output(waiting, result)
        for container in self._containers.of_function(call.function_id):
            if any(running.call_id == request.function_call_id for running in container.inputs.values()):
                await self._containers.stop(container, "The function call was cancelled.")
        return Empty()

    async def FunctionGetCurrentStats(self, request, _call):
        running = self._containers.of_function(request.function_id)
        return api_pb2.FunctionStats(
            backlog=len(self._waiting[request.function_id]),
            num_total_tasks=len(running),
            num_running_inputs=sum(len(container.inputs) + container.connections for container in running),
        )

    def _output(self, done: Input, result, data_format: int = 0, task_id: str = "", started: float = 0) -> None:
        call = self._calls[done.call_id]
        policy = self._functions.live(done.function_id).ranked_functions[0].function.retry_policy
        row = self._state.data["functions"][done.function_id]
        alive = self._state.data["apps"][row["app_id"]]["state"] not in GONE
        if result.status in _FAILS and done.retries < policy.retries and alive:
            done.retries += 1
            self._waiting[done.function_id].append(done)
            self._scale(done.function_id)
            return
        call.unfinished -= 1
        call.outputs.append(
            api_pb2.FunctionGetOutputsItem(
                result=result,
                idx=done.index,
                input_id=done.input_id,
                data_format=data_format,
                task_id=task_id,
                input_started_at=started,
                output_created_at=time.time(),
                retry_count=done.retries,
            )
        )

    # What containers send. `call.task` is the container: each has a socket of its own.

    def _from_container(self, call) -> Container:
        if call.task is None:
            raise GRPCError(Status.PERMISSION_DENIED, f"{call.rpc} is for containers.")
        return call.task

    async def ContainerHello(self, _request, call):
        self._from_container(call)
        return Empty()

    async def ContainerHeartbeat(self, _request, call):
        self._from_container(call)
        return api_pb2.ContainerHeartbeatResponse()

    async def FunctionGetInputs(self, request, call):
        container = self._from_container(call)
        if not container.ready:
            container.ready = True
            container.touch()
        waiting = self._waiting[container.function_id]
        end = time.monotonic() + _INPUT_POLL_SECONDS
        while time.monotonic() < end and not container.ended.is_set():
            if waiting and len(container.inputs) < self._capacity(container.function):
                taken = waiting.pop(0)
                taken.deadline = time.monotonic() + container.function.timeout_secs
                container.inputs[taken.input_id] = taken
                item = api_pb2.FunctionGetInputsItem(
                    input_id=taken.input_id,
                    input=taken.content,
                    function_call_id=taken.call_id,
                    function_call_invocation_type=taken.invocation,
                    retry_count=taken.retries,
                    function_map_idx=taken.index,
                )
                return api_pb2.FunctionGetInputsResponse(inputs=[item])
            await asyncio.sleep(_POLL_SECONDS)
        return api_pb2.FunctionGetInputsResponse()

    async def FunctionPutOutputs(self, request, call):
        container = self._from_container(call)
        for output in request.outputs:
            done = container.inputs.pop(output.input_id, None)
            if done is not None:
                self._output(done, output.result, output.data_format, container.task_id, output.input_started_at)
        container.touch()
        return Empty()

    async def TaskResult(self, request, call):
        """The container could not start: its inputs fail with what it says."""
        container = self._from_container(call)
        container.failure = request.result.exception or request.result.traceback or "The container failed."
        waiting, self._waiting[container.function_id] = self._waiting[container.function_id], []
        for done in [*container.inputs.values(), *waiting]:
            self._output(done, request.result, task_id=container.task_id)
        container.inputs.clear()
        return Empty()

    def _container_ended(self, container: Container) -> None:
        status, told = _RESULT.GENERIC_STATUS_FAILURE, container.failure or "The container ended."
        lost = list(container.inputs.values())
        if not container.ready:
            lost += self._waiting[container.function_id]
            self._waiting[container.function_id] = []
        now = time.monotonic()
        for done in lost:
            if now >= done.deadline:
                status = _RESULT.GENERIC_STATUS_TIMEOUT
            self._output(done, _RESULT(status=status, exception=told), task_id=container.task_id)
        container.inputs.clear()
        row = self._state.data["functions"][container.function_id]
        if self._waiting[container.function_id] and row["definition"]:
            self._scale(container.function_id)

    async def watch(self) -> None:
        """Ends inputs that take longer than their function's timeout; runs as long as the double does."""
        while True:
            await asyncio.sleep(0.05)
            now = time.monotonic()
            for container in self._containers.all():
                for late in [running for running in container.inputs.values() if running.deadline <= now]:
                    limit = container.function.timeout_secs
                    told = f"Task's current input {late.input_id} hit its timeout of {limit}s"
                    await self._containers.stop(container, told)
                    break

    async def ContainerStop(self, request, _call):
        container = self._containers.get(request.task_id)
        if container is None:
            raise checks.missing(f"Container '{request.task_id}' not found.")
        await self._containers.stop(container, "The container was stopped.")
        return api_pb2.ContainerStopResponse()

    async def TaskList(self, request, _call):
        if request.app_id:
            found = self._containers.of_app(request.app_id)
        else:
            place = environment(self._state, request.environment_name)
            apps = self._state.data["apps"]
            found = [task for task in self._containers.all() if apps[task.app_id]["environment"] == place]
        return api_pb2.TaskListResponse(
            tasks=[
                api_pb2.TaskStats(
                    task_id=container.task_id,
                    app_id=container.app_id,
                    app_description=self._state.data["apps"][container.app_id]["name"],
                    started_at=container.started_at,
                    enqueued_at=container.enqueued_at,
                )
                for container in found
            ]
        )

    async def TaskGetInfo(self, request, _call):
        container = self._containers.get(request.task_id)
        if container is None:
            raise checks.missing(f"Container '{request.task_id}' not found.")
        info = api_pb2.TaskInfo(
            id=container.task_id,
            started_at=container.started_at,
            enqueued_at=container.enqueued_at,
            gpu_config=container.function.resources.gpu_config,
        )
        return api_pb2.TaskGetInfoResponse(app_id=container.app_id, info=info)
