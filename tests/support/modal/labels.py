"""Web labels: the name in `https://LABEL.modal.run`, who holds it, and the loopback port in its place.

Modal's rule is `<workspace>[-<web suffix>]--<app>-<function>` in [a-z0-9-], truncated with a hash past 63
characters. Modal does not publish the hash; the double's is its own.
"""

import hashlib
import re
from dataclasses import dataclass

from modal_proto import api_pb2

from faults import Faults
from state import State

_LONGEST = 63
_HASH = 6
GONE = (api_pb2.APP_STATE_STOPPED, api_pb2.APP_STATE_STOPPING)


@dataclass
class Assigned:
    label: str
    info: api_pb2.WebUrlInfo


def _with_hash(label: str, of: str) -> str:
    digest = hashlib.sha256(of.encode()).hexdigest()[:_HASH]
    return f"{label[: _LONGEST - _HASH - 1].rstrip('-')}-{digest}"


def wanted_label(
    workspace: str, web_suffix: str, app: str, function: str, web: api_pb2.WebhookConfig, dev: bool
) -> str:
    """The label before truncation and before looking who has it."""
    place = f"{workspace}-{web_suffix}" if web_suffix else workspace
    name = web.requested_suffix or f"{app}-{function}"
    if dev and web.ephemeral_suffix:
        name += f"-{web.ephemeral_suffix}"
    return re.sub("[^a-z0-9-]", "-", f"{place}--{name}".lower())


class Labels:
    def __init__(self, state: State, faults: Faults):
        self._state = state
        self._faults = faults

    def assign(self, app_id: str, function: str, named: str, web: api_pb2.WebhookConfig) -> Assigned:
        """Reserves a label for a function of an app, which is `named` in it; the same function gets the same one
        again."""
        app = self._state.data["apps"][app_id]
        place = self._state.data["environments"][app["environment"]]["web_suffix"]
        dev = app["state"] in (api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_DETACHED)
        full = wanted_label(app["workspace"], place, app["name"], named, web, dev)
        info = api_pb2.WebUrlInfo(truncated=len(full) > _LONGEST)
        label = _with_hash(full, full) if info.truncated else full
        owner = self._owner(label)
        if owner is not None and owner != (app_id, function):
            if app["name"] in self._faults.read().get("label_stolen", []):
                info.label_stolen = True
            else:
                info.has_unique_hash = True
                label = _with_hash(label, f"{app['environment']}/{app['name']}/{function}")
        row = self._state.data["labels"].setdefault(label, {"port": 0})
        row.update(app_id=app_id, function=function, url=f"https://{label}.modal.run")
        self._state.touch()
        return Assigned(label, info)

    def _owner(self, label: str) -> tuple[str, str] | None:
        """The app and function that hold a label; an app that is gone holds none."""
        row = self._state.data["labels"].get(label)
        if row is None or self._state.data["apps"][row["app_id"]]["state"] in GONE:
            return None
        return row["app_id"], row["function"]
