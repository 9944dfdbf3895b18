"""What apps' containers print: kept in `DIR/logs/<app id>.jsonl`, streamed while they run."""

import asyncio
import json
import time
from collections import defaultdict

from google.protobuf.timestamp_pb2 import Timestamp
from modal_proto import api_pb2

import checks
from labels import GONE
from state import State

_POLL_SECONDS = 0.05


class Logs:
    def __init__(self, state: State):
        self._state = state
        self._entries: dict[str, list[dict]] = defaultdict(list)
        # Whether containers of the app still run: set by `Containers`, which needs the logs itself.
        self.running = lambda app_id: False
        for path in (state.root / "logs").glob("*.jsonl"):
            self._entries[path.stem] = [json.loads(line) for line in path.read_text().splitlines()]

    def add(self, app_id: str, task_id: str, function_id: str, source: int, text: str, call_id: str = "") -> None:
        entry = {"t": time.time(), "task": task_id, "function": function_id, "source": source, "text": text}
        entry["call"] = call_id
        self._entries[app_id].append(entry)
        with (self._state.root / "logs" / f"{app_id}.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def _app(self, request) -> str:
        """The app whose logs are asked for, by its id or by a container's."""
        if request.app_id:
            if request.app_id not in self._state.data["apps"]:
                raise checks.missing(f"App with ID '{request.app_id}' not found.")
            return request.app_id
        for app_id, entries in self._entries.items():
            if any(entry["task"] == request.task_id for entry in entries):
                return app_id
        raise checks.missing(f"No logs of container '{request.task_id}'.")

    def _matches(self, entry: dict, request, source: int) -> bool:
        return (
            (not source or entry["source"] == source)
            and request.task_id in ("", entry["task"])
            and request.function_id in ("", entry["function"])
            and request.function_call_id in ("", entry["call"])
            and request.search_text in entry["text"]
        )

    def _batch(self, entry: dict, number: int) -> api_pb2.TaskLogsBatch:
        item = api_pb2.TaskLogs(
            data=entry["text"],
            timestamp=entry["t"],
            timestamp_ns=int(entry["t"] * 1e9),
            file_descriptor=entry["source"],
            function_call_id=entry["call"],
            container_id=entry["task"],
        )
        return api_pb2.TaskLogsBatch(
            task_id=entry["task"], function_id=entry["function"], items=[item], entry_id=f"{number}-0"
        )

    async def AppGetLogs(self, request, _call):
        app_id = self._app(request)
        end = time.monotonic() + min(request.timeout, 55)
        at = int(request.last_entry_id.split("-")[0]) if request.last_entry_id else 0
        while True:
            done = self._state.data["apps"][app_id]["state"] in GONE and not self.running(app_id)
            entries = self._entries[app_id]
            while at < len(entries):
                entry = entries[at]
                at += 1
                if self._matches(entry, request, request.file_descriptor):
                    yield self._batch(entry, at)
            if done:
                yield api_pb2.TaskLogsBatch(app_done=True)
                return
            if time.monotonic() >= end:
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _between(self, request) -> list[tuple[int, dict]]:
        since, until = request.since.ToNanoseconds() / 1e9, request.until.ToNanoseconds() / 1e9
        return [
            (number, entry)
            for number, entry in enumerate(self._entries[self._app(request)], 1)
            if since <= entry["t"] < until and self._matches(entry, request, request.source)
        ]

    async def AppFetchLogs(self, request, _call):
        found = self._between(request)
        if request.limit:
            found = found[-request.limit :]
        return api_pb2.AppFetchLogsResponse(batches=[self._batch(entry, number) for number, entry in found])

    async def AppCountLogs(self, request, _call):
        buckets: dict[int, list[int]] = {}
        width = request.bucket_secs or 1
        for _, entry in self._between(request):
            start = int(entry["t"] // width * width)
            buckets.setdefault(start, [0, 0, 0, 0])[entry["source"]] += 1
        return api_pb2.AppCountLogsResponse(
            app_id=request.app_id,
            buckets=[
                api_pb2.AppCountLogsResponse.LogBucket(
                    bucket_start_at=Timestamp(seconds=start), stdout_logs=out, stderr_logs=err, system_logs=system
                )
                for start, (_, out, err, system) in sorted(buckets.items())
            ],
        )
