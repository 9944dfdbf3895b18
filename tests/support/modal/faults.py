"""Faults that a test asks for, read again on every RPC so that it can change them while it runs.

`{"rules": [{"rpc": …, "app": …, "nth": 1, "action": …}], "label_stolen": [app], "rollback_refused": [app],
"image_build_failure": text, "full_volumes": {name: bytes}, "rolling": {app: seconds},
"refusals": {app: {"status": "503 Service Unavailable", "times": 2}}, "redirect_seconds": 150,
"heartbeat_seconds": 60}` (what containers see of `full_volumes` is empty and has no more room than that; `rolling`
has what runs go on taking requests for so long after another version was deployed; `refusals` turn the first requests
away on their way; the last two are how long a request waits until it is sent on, and a client may be silent).

Counts of `nth` survive a restart of the double (an `"id"` in a rule tells two otherwise equal ones apart) and are
forgotten when the rule leaves the file. `"retry_after": seconds` makes the
client wait and try again, as it does when the real server throttles; without it `resource_exhausted` is final.
The client itself tries `unavailable`, `internal` and `drop` again: for a lasting one leave out `nth`. The `rpc` `*`
is any call that no container makes. `kill_before` and `kill_after` kill the process whose id is in the file
`"pid_file"`, before the change, which is not made then, or after it.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from pathlib import Path

from grpclib import GRPCError, Status
from grpclib.encoding.base import StatusDetailsCodecBase
from modal_proto import api_pb2

from state import write_atomically

_STATUS = {
    "unavailable": (Status.UNAVAILABLE, "the double is told to be unavailable"),
    "resource_exhausted": (Status.RESOURCE_EXHAUSTED, "the double is told to throttle: rate limit exceeded"),
    "internal": (Status.INTERNAL, "the double is told to fail"),
}
ACTIONS = {*_STATUS, "hang", "drop", "die_before", "die_after", "kill_before", "kill_after"}
_HANG_SECONDS = 600
_READS = 10


class RetryAfter(StatusDetailsCodecBase):
    """How the server tells the client when to come again, in the details of a status."""

    def encode(self, status: Status, message: str | None, details) -> bytes:
        told = api_pb2.RPCStatus(code=status.value, message=message or "")
        for detail in details or []:
            told.details.add().Pack(detail, type_url_prefix="type.modal.com/")
        return told.SerializeToString()

    def decode(self, status: Status, message: str | None, data: bytes):
        raise NotImplementedError("a server does not decode them")


def _kill(pid_file: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(Path(pid_file).read_text()), signal.SIGKILL)


class Faults:
    def __init__(self, path: Path | None, root: Path):
        self._path = path
        self._counts_path = root / "fault_counts.json"
        self._counts = json.loads(self._counts_path.read_text()) if self._counts_path.exists() else {}

    def read(self) -> dict:
        if self._path is None or not self._path.exists():
            return {}
        for _ in range(_READS):
            try:
                return json.loads(self._path.read_text())
            except json.JSONDecodeError:
                # A test is just writing it.
                time.sleep(0.02)
        raise GRPCError(Status.INTERNAL, f"faults file: {self._path} is not JSON")

    def rule(self, rpc: str, app: str, by_client: bool) -> dict | None:
        """The first rule that this call meets; every rule that matches counts it."""
        rules = self.read().get("rules", [])
        keys = [json.dumps(rule, sort_keys=True) for rule in rules]
        before = dict(self._counts)
        self._counts = {key: count for key, count in self._counts.items() if key in keys}
        chosen = None
        for key, rule in zip(keys, rules, strict=True):
            if rule["action"] not in ACTIONS:
                raise GRPCError(Status.INTERNAL, f"faults file: no action {rule['action']!r}, only {sorted(ACTIONS)}")
            meant = by_client if rule["rpc"] == "*" else rule["rpc"] == rpc
            if not meant or rule.get("app", app) != app:
                continue
            self._counts[key] = self._counts.get(key, 0) + 1
            if chosen is None and rule.get("nth", self._counts[key]) == self._counts[key]:
                chosen = rule
        if self._counts != before:
            write_atomically(self._counts_path, json.dumps(self._counts))
        return chosen

    async def before(self, rule: dict | None, stream) -> None:
        """Does what comes before the change."""
        if rule is None:
            return
        match rule["action"]:
            case "die_after" | "kill_after":
                return
            case "kill_before":
                _kill(rule["pid_file"])
                # Whoever asked for it may ask again, and is about to hear that nobody waits.
                stream._stream._transport.abort()
                await asyncio.sleep(_HANG_SECONDS)
            case "die_before":
                os._exit(70)
            case "hang":
                await asyncio.sleep(_HANG_SECONDS)
                raise GRPCError(Status.DEADLINE_EXCEEDED, "the double hung as told")
            case "drop":
                stream._stream._transport.abort()
                # grpclib cancels the call once it has seen that.
                await asyncio.sleep(_HANG_SECONDS)
            case action:
                after = rule.get("retry_after")
                details = [api_pb2.RPCRetryPolicy(retry_after_secs=after)] if after is not None else None
                raise GRPCError(*_STATUS[action], details)

    @staticmethod
    def after(rule: dict | None) -> None:
        """Does what comes after the change was made and saved, before the answer."""
        match rule and rule["action"]:
            case "die_after":
                os._exit(71)
            case "kill_after":
                _kill(rule["pid_file"])
