"""Apps: created, published in versions, rolled back, stopped; who did it and when."""

import asyncio
import base64
import time

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

import checks
from containers import Containers
from faults import Faults
from functions import Functions
from labels import GONE
from methods import web_of
from objects import LOOKUP, environment
from state import State, random_id

_DEPLOYED = api_pb2.APP_STATE_DEPLOYED
# An app that runs while its client does is stopped when the client has not been heard of for so long.
_HEARTBEAT_SECONDS = 60
_WHILE_CLIENT_LIVES = (api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_INITIALIZING)


class Apps:
    def __init__(self, state: State, faults: Faults, containers: Containers, functions: Functions):
        self._state = state
        self._faults = faults
        self._containers = containers
        self._functions = functions
        self._heard: dict[str, float] = {}

    def _row(self, app_id: str) -> dict:
        if app_id not in self._state.data["apps"]:
            raise checks.missing(f"App with ID '{app_id}' not found.")
        return self._state.data["apps"][app_id]

    def _create(self, name: str, place: str, state: int, tags: dict, call) -> str:
        checks.app_tags(tags)
        app_id = random_id("ap")
        self._state.data["apps"][app_id] = {
            "name": name,
            "environment": place,
            "workspace": call.workspace,
            "state": state,
            "created_at": time.time(),
            "created_by": call.user,
            "stopped_at": 0,
            "stopped_by": "",
            "tags": tags,
            "versions": [],
        }
        self._heard[app_id] = time.monotonic()
        self._state.touch()
        return app_id

    def deployed(self, name: str, place: str) -> str | None:
        """The id of the app that is deployed under a name."""
        for app_id, row in self._state.data["apps"].items():
            if row["state"] == _DEPLOYED and row["name"] == name and row["environment"] == place:
                return app_id
        return None

    async def AppCreate(self, request, call):
        place = environment(self._state, request.environment_name)
        if request.app_state == api_pb2.APP_STATE_INITIALIZING:
            checks.object_name(request.description, "App")
        app_id = self._create(request.description, place, request.app_state, dict(request.tags), call)
        page = f"https://modal.com/apps/{call.workspace}/{place}/{app_id}"
        return api_pb2.AppCreateResponse(app_id=app_id, app_page_url=page, app_logs_url=f"{page}/logs")

    async def AppGetOrCreate(self, request, call):
        place = environment(self._state, request.environment_name)
        app_id = self.deployed(request.app_name, place)
        if app_id is None:
            if request.object_creation_type == LOOKUP:
                raise checks.missing(f"App '{request.app_name}' not found in environment '{place}'.")
            checks.object_name(request.app_name, "App")
            app_id = self._create(request.app_name, place, _DEPLOYED, {}, call)
        return api_pb2.AppGetOrCreateResponse(app_id=app_id, handle_metadata=self._handle(app_id))

    def _lifecycle(self, row: dict) -> api_pb2.AppLifecycle:
        latest = row["versions"][-1] if row["versions"] else {}
        return api_pb2.AppLifecycle(
            app_state=row["state"],
            created_at=row["created_at"],
            created_by=row["created_by"],
            deployed_at=latest.get("deployed_at", 0),
            deployed_by=latest.get("deployed_by", ""),
            version=latest.get("version", 0),
            stopped_at=row["stopped_at"],
            stopped_by=row["stopped_by"],
        )

    def _handle(self, app_id: str) -> api_pb2.AppHandleMetadata:
        row = self._row(app_id)
        return api_pb2.AppHandleMetadata(
            description=row["name"],
            app_id=app_id,
            environment_name=row["environment"],
            lifecycle=self._lifecycle(row),
            functions=self._functions.published(app_id),
        )

    async def AppGetByDeploymentName(self, request, _call):
        place = environment(self._state, request.environment_name)
        app_id = self.deployed(request.name, place)
        gone = [
            (row["stopped_at"], key)
            for key, row in self._state.data["apps"].items()
            if row["state"] in GONE and row["versions"] and row["name"] == request.name and row["environment"] == place
        ]
        previous = max(gone)[1] if gone and app_id is None else ""
        found = app_id or previous
        return api_pb2.AppGetByDeploymentNameResponse(
            app_id=app_id or "",
            previous_app_id=previous,
            environment_name=place,
            lifecycle=self._lifecycle(self._row(found)) if found else None,
        )

    async def AppGetLifecycle(self, request, _call):
        return api_pb2.AppGetLifecycleResponse(lifecycle=self._lifecycle(self._row(request.app_id)))

    async def AppGetInfo(self, request, _call):
        summaries = {}
        for function_id in self._functions.published(request.app_id).values():
            function = self._functions.live(function_id).ranked_functions[0].function
            gpu = function.resources.gpu_config
            _, web = web_of(function)
            summaries[function_id] = api_pb2.AppGetInfoResponse.FunctionInfoSummary(
                gpu_config=[gpu] if gpu.count else [],
                web_function=bool(web.type),
                requires_proxy_auth=web.requires_proxy_auth,
            )
        return api_pb2.AppGetInfoResponse(info=self._handle(request.app_id), function_info_summaries=summaries)

    async def AppGetLayout(self, request, _call):
        self._row(request.app_id)
        return api_pb2.AppGetLayoutResponse(app_layout=self._functions.layout(request.app_id))

    async def AppGetObjects(self, request, _call):
        published = self._functions.published(request.app_id)
        return api_pb2.AppGetObjectsResponse(
            items=[
                api_pb2.AppGetObjectsItem(
                    tag=name,
                    object=api_pb2.Object(
                        object_id=function_id, function_handle_metadata=self._functions.metadata(function_id)
                    ),
                )
                for name, function_id in published.items()
            ]
        )

    async def AppGetTags(self, request, _call):
        return api_pb2.AppGetTagsResponse(tags=self._row(request.app_id)["tags"])

    async def AppSetTags(self, request, _call):
        checks.app_tags(dict(request.tags))
        self._row(request.app_id)["tags"] = dict(request.tags)
        self._state.touch()
        return Empty()

    async def AppList(self, request, _call):
        place = environment(self._state, request.environment_name)
        return api_pb2.AppListResponse(
            apps=[
                api_pb2.AppListResponse.AppListItem(
                    app_id=app_id,
                    description=row["name"],
                    name=row["name"] if row["versions"] else "",
                    state=row["state"],
                    created_at=row["created_at"],
                    stopped_at=row["stopped_at"],
                    n_running_tasks=len(self._containers.of_app(app_id)),
                    metadata=self._handle(app_id),
                )
                for app_id, row in self._state.data["apps"].items()
                if row["environment"] == place
            ]
        )

    async def AppPublish(self, request, call):
        app_id = request.app_id
        row = self._row(app_id)
        if row["state"] in GONE:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {app_id} is stopped and cannot be published.")
        wanted = self._functions.check_publish(app_id, request)
        classes = self._functions.check_classes(app_id, request)
        if request.app_state != _DEPLOYED:
            row["state"] = request.app_state or row["state"]
            self._functions.publish(app_id, wanted, classes)
            self._state.touch()
            return api_pb2.AppPublishResponse(url=f"https://modal.com/apps/{call.workspace}/{app_id}")
        checks.object_name(request.name, "App")
        checks.deployment_tag(request.deployment_tag)
        checks.app_tags(dict(request.tags))
        if not wanted:
            raise checks.refuse(f"App '{request.name}' has no functions to deploy.")
        other = self.deployed(request.name, row["environment"])
        if other not in (None, app_id):
            raise GRPCError(Status.ALREADY_EXISTS, f"App '{request.name}' is already deployed as {other}.")
        version = {
            "tag": request.deployment_tag,
            "tags": dict(request.tags),
            "functions": wanted,
            "classes": classes,
            "rollback_version": 0,
            "commit_info": base64.b64encode(request.commit_info.SerializeToString()).decode(),
        }
        same = ("tag", "tags", "functions", "classes")
        latest = row["versions"][-1] if row["versions"] else None
        row["name"] = request.name
        url = f"https://modal.com/apps/{call.workspace}/{row['environment']}/deployed/{request.name}"
        if latest and row["state"] == _DEPLOYED and all(latest[key] == version[key] for key in same):
            return api_pb2.AppPublishResponse(url=url, deployed_at=0)
        deployed_at = await self._deploy(app_id, version, call)
        return api_pb2.AppPublishResponse(url=url, deployed_at=deployed_at)

    async def _deploy(self, app_id: str, version: dict, call) -> float:
        """Makes a version the one in production; the containers of the one before are stopped, now or later."""
        row = self._row(app_id)
        now = time.time()
        number = row["versions"][-1]["version"] + 1 if row["versions"] else 1
        row["versions"].append(
            {
                "version": number,
                "deployed_at": now,
                "deployed_by": call.user,
                "client_version": call.client_version,
                **version,
            }
        )
        row["state"] = _DEPLOYED
        row["tags"] = version["tags"]
        self._functions.publish(app_id, version["functions"], version["classes"])
        self._state.touch()
        self._state.save()
        if seconds := self._faults.read().get("rolling", {}).get(row["name"], 0):
            self._containers.roll_over(app_id, seconds)
        else:
            await self._containers.stop_app(app_id)
        self._containers.keep_warm(app_id)
        return now

    async def AppDeploymentHistory(self, request, _call):
        row = self._row(request.app_id)
        versions = row["versions"]
        return api_pb2.AppDeploymentHistoryResponse(
            production_app_version=versions[-1]["version"] if versions else 0,
            app_deployment_histories=[
                api_pb2.AppDeploymentHistory(
                    app_id=request.app_id,
                    version=version["version"],
                    client_version=version["client_version"],
                    deployed_at=version["deployed_at"],
                    deployed_by=version["deployed_by"],
                    tag=version["tag"],
                    rollback_version=version["rollback_version"],
                    rollback_allowed=version is not versions[-1] and not self._rollback_refused(row),
                    commit_info=api_pb2.CommitInfo.FromString(base64.b64decode(version["commit_info"])),
                )
                for version in reversed(versions)
            ],
        )

    def _rollback_refused(self, row: dict) -> bool:
        return row["name"] in self._faults.read().get("rollback_refused", [])

    async def AppRollback(self, request, call):
        row = self._row(request.app_id)
        if row["state"] != _DEPLOYED:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App '{row['name']}' is not deployed.")
        versions = row["versions"]
        if self._rollback_refused(row):
            raise GRPCError(Status.FAILED_PRECONDITION, f"Rollback of App '{row['name']}' is not allowed.")
        if request.version == -1:
            if len(versions) < 2:
                raise GRPCError(Status.FAILED_PRECONDITION, f"App '{row['name']}' has no previous version.")
            wanted = versions[-2]
        else:
            wanted = next((version for version in versions if version["version"] == request.version), None)
            if wanted is None:
                raise checks.missing(f"App '{row['name']}' has no version {request.version}.")
            if wanted is versions[-1]:
                raise GRPCError(Status.FAILED_PRECONDITION, f"Version {request.version} is already deployed.")
        again = {key: wanted[key] for key in ("tag", "tags", "functions", "classes", "commit_info")}
        deployed_at = await self._deploy(request.app_id, {**again, "rollback_version": wanted["version"]}, call)
        url = f"https://modal.com/apps/{call.workspace}/{row['environment']}/deployed/{row['name']}"
        return api_pb2.AppRollbackResponse(url=url, deployed_at=deployed_at)

    async def _stop(self, app_id: str, by: str) -> None:
        row = self._row(app_id)
        if row["state"] in GONE:
            return
        row.update(state=api_pb2.APP_STATE_STOPPED, stopped_at=time.time(), stopped_by=by)
        self._state.touch()
        self._state.save()
        await self._containers.stop_app(app_id)

    async def AppStop(self, request, call):
        await self._stop(request.app_id, call.user)
        return Empty()

    async def AppHeartbeat(self, request, _call):
        row = self._row(request.app_id)
        if row["state"] in GONE:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {request.app_id} is stopped.")
        self._heard[request.app_id] = time.monotonic()
        return Empty()

    async def AppClientDisconnect(self, request, _call):
        row = self._row(request.app_id)
        if row["state"] == api_pb2.APP_STATE_DETACHED:
            row["state"] = api_pb2.APP_STATE_DETACHED_DISCONNECTED
            self._state.touch()
        elif row["state"] in _WHILE_CLIENT_LIVES:
            await self._stop(request.app_id, "")
        return Empty()

    async def watch(self) -> None:
        """Stops the apps whose client is gone; runs as long as the double does."""
        for app_id, row in self._state.data["apps"].items():
            if row["state"] in _WHILE_CLIENT_LIVES:
                self._heard.setdefault(app_id, time.monotonic())
        while True:
            await asyncio.sleep(0.5)
            late = time.monotonic() - self._faults.read().get("heartbeat_seconds", _HEARTBEAT_SECONDS)
            for app_id, row in list(self._state.data["apps"].items()):
                silent = row["state"] in _WHILE_CLIENT_LIVES and self._heard.get(app_id, late) < late
                left = row["state"] == api_pb2.APP_STATE_DETACHED_DISCONNECTED
                if silent or (left and self._containers.idle(app_id)):
                    await self._stop(app_id, "")
