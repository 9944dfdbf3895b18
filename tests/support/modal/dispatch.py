"""Takes every RPC: who calls, the journal, the faults, the handler, the save, the answer."""

import inspect
import sys
import traceback
from dataclasses import dataclass, field

from grpclib import GRPCError, Status
from modal_proto import api_grpc, api_pb2

from faults import Faults
from journal import journal_fields
from state import State

_SERVICE = api_pb2.DESCRIPTOR.services_by_name["ModalClient"]
# Sent before or without credentials.
_OPEN = {"ClientHello"}


@dataclass
class Call:
    """One RPC under way: who sent it and from where."""

    rpc: str
    workspace: str = ""
    user: str = ""
    token_id: str = ""
    client_version: str = ""
    task: object | None = None
    metadata: dict = field(default_factory=dict)


def _who(state: State, call: Call) -> None:
    if call.task is not None or call.rpc in _OPEN:
        return
    token = state.tokens().get(call.metadata.get("x-modal-token-id", ""))
    if token is None or token["secret"] != call.metadata.get("x-modal-token-secret"):
        raise GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed or token validation failed.")
    call.token_id = call.metadata["x-modal-token-id"]
    call.workspace = token["workspace"]
    call.user = token.get("user", "tester")
    call.client_version = call.metadata.get("x-modal-client-version", "")


class Dispatcher:
    """Finds the handler of an RPC: a method of that name of one of the providers."""

    def __init__(self, state: State, faults: Faults, providers: list):
        self._state = state
        self._faults = faults
        self._handlers = {}
        for provider in providers:
            for method in _SERVICE.methods:
                if hasattr(provider, method.name):
                    assert method.name not in self._handlers, f"two providers of {method.name}"
                    self._handlers[method.name] = getattr(provider, method.name)

    def implemented(self) -> list[str]:
        return sorted(self._handlers)

    async def handle(self, rpc: str, stream, task) -> None:
        request = await stream.recv_message()
        call = Call(rpc, task=task, metadata=dict(stream.metadata))
        fields = journal_fields(self._state.data, rpc, request)
        line = {"rpc": rpc, **fields}
        if task is not None:
            line["task"] = task.task_id
            line.setdefault("app", self._state.data["apps"][task.app_id]["name"])
        else:
            line["token"] = call.metadata.get("x-modal-token-id", "")
        if retry := int(call.metadata.get("x-retry-attempt", 0)):
            line["retry"] = retry
        if rpc not in self._handlers:
            line["unimplemented"] = True
        rule = self._faults.rule(rpc, line.get("app", ""), task is None)
        if rule is not None:
            line["fault"] = rule["action"]
        # Long polls of containers say nothing and would drown what a test looks for.
        if rpc not in ("ContainerHeartbeat", "FunctionGetInputs"):
            self._state.journal(line)
        _who(self._state, call)
        if rpc not in self._handlers:
            print(f"modal double: {rpc} IS NOT IMPLEMENTED: {str(request)[:300]!r}", file=sys.stderr, flush=True)
            raise GRPCError(Status.UNIMPLEMENTED, f"the control plane double does not implement {rpc}")
        await self._faults.before(rule, stream)
        result = self._handlers[rpc](request, call)
        if inspect.isasyncgen(result):
            async for message in result:
                await stream.send_message(message)
            self._state.save()
            self._faults.after(rule)
            return
        try:
            response = await result
        finally:
            self._state.save()
            self._faults.after(rule)
        await stream.send_message(response)

    def service(self, task=None):
        """The gRPC service: of a client, or of the container `task`."""

        def method(rpc: str):
            async def serve(_self, stream) -> None:
                try:
                    await self.handle(rpc, stream, task)
                except GRPCError:
                    self._state.save()
                    raise
                except Exception as error:
                    traceback.print_exc()
                    raise GRPCError(Status.INTERNAL, f"bug in the control plane double: {error!r}") from error

            return serve

        methods = {rpc.name: method(rpc.name) for rpc in _SERVICE.methods}
        return type("Service", (api_grpc.ModalClientBase,), methods)()
