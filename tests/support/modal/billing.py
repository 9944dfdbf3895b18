"""What a workspace has spent: the rows that a test wrote.

Requests and answers are those of the client (1.6.4): `_environments.py`, `_EnvironmentBillingManager.report`, and
`cli/billing.py`; `modal_proto`, WorkspaceBillingReportRequest and -Item. That whole intervals alone are reported,
in UTC, is its documentation ("partial end intervals will be excluded"). That whoever may not see bills is refused
with PERMISSION_DENIED is an assumption.

WorkspaceBillingRates has the fields of `modal_proto`; which names and units it has is what people kept of
`modal billing rates --json` in public, and an assumption [`prices`].
"""

import json
from datetime import timezone

from grpclib import GRPCError, Status
from modal_proto import api_pb2

import checks
from state import State

_SECONDS = {"h": 3600, "d": 24 * 3600}


class Billing:
    def __init__(self, state: State):
        self._state = state

    async def WorkspaceBillingReport(self, request, _call):
        """Rows out of billing.json, [{"app": id, "name", "environment", "at": seconds, "usd": "1.5"}]; nobody may
        see any without that file."""
        path = self._state.root / "billing.json"
        if request.resolution not in _SECONDS:
            raise checks.refuse(f"Invalid resolution '{request.resolution}'.")
        if not path.exists():
            raise GRPCError(Status.PERMISSION_DENIED, "You do not have permission to view billing information.")
        length = _SECONDS[request.resolution]
        start = request.start_timestamp.ToDatetime(timezone.utc).timestamp()
        end = request.end_timestamp.ToDatetime(timezone.utc).timestamp()
        wanted = {self._state.data["environments"][name]["id"]: name for name in self._state.data["environments"]}
        for row in json.loads(path.read_text()):
            begun = row["at"] - row["at"] % length
            if begun < start - start % length or begun + length > end:
                continue
            if request.environment_ids and row["environment"] not in [wanted.get(it) for it in request.environment_ids]:
                continue
            item = api_pb2.WorkspaceBillingReportItem(
                object_id=row["app"], description=row["name"], environment_name=row["environment"], cost=row["usd"]
            )
            item.interval.FromSeconds(int(begun))
            yield item

    async def WorkspaceBillingRates(self, _request, _call):
        """Rates out of rates.json, {"rates": {name: "1.5"}, "gone": [name]}; nobody may see any without that
        file, and with null in it there is no such call."""
        path = self._state.root / "rates.json"
        if not path.exists():
            raise GRPCError(Status.PERMISSION_DENIED, "You do not have permission to view billing information.")
        told = json.loads(path.read_text())
        if told is None:
            raise GRPCError(Status.UNIMPLEMENTED, "Method not found!")
        gone = {name: "This rate is no longer billed." for name in told.get("gone", [])}
        formatted = "\n".join(f"{name}: {usd}" for name, usd in told["rates"].items())
        return api_pb2.WorkspaceBillingRatesResponse(
            rates=told["rates"], deprecation_warnings=gone, formatted=formatted
        )
