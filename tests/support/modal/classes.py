"""Classes: names for functions that serve the methods of one."""

from modal_proto import api_pb2

import checks
from functions import Functions
from objects import environment
from state import State, random_id


class Classes:
    def __init__(self, state: State, functions: Functions):
        self._state = state
        self._functions = functions

    async def ClassCreate(self, request, _call):
        if not request.only_class_function or request.methods:
            raise checks.refuse("This client is too old: methods belong to their class's function.")
        rows = self._state.data["classes"]
        class_id = request.existing_class_id
        if class_id and rows.get(class_id, {}).get("app_id") != request.app_id:
            raise checks.missing(f"Class with ID '{class_id}' not found.")
        if not class_id:
            class_id = random_id("cs")
            rows[class_id] = {"app_id": request.app_id, "name": "", "published": False}
            self._state.touch()
        return api_pb2.ClassCreateResponse(class_id=class_id, handle_metadata=api_pb2.ClassHandleMetadata())

    async def ClassGet(self, request, _call):
        place = environment(self._state, request.environment_name)
        for class_id, row in self._state.data["classes"].items():
            app = self._state.data["apps"][row["app_id"]]
            deployed = app["state"] == api_pb2.APP_STATE_DEPLOYED and app["environment"] == place
            if deployed and row["published"] and (app["name"], row["name"]) == (request.app_name, request.object_tag):
                return api_pb2.ClassGetResponse(class_id=class_id, handle_metadata=api_pb2.ClassHandleMetadata())
        raise checks.missing(f"Class '{request.object_tag}' not found in App '{request.app_name}'")
