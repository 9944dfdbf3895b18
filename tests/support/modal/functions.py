"""Functions: their definitions, their handles, their web URLs."""

from grpclib import GRPCError, Status
from modal_proto import api_pb2

import checks
from faults import Faults
from labels import Labels
from methods import handles, label_of, web_of
from objects import environment
from state import State, random_id, stable_bytes
from web import Web

_SHARED = [
    field.name
    for field in api_pb2.FunctionData.DESCRIPTOR.fields
    if field.name in api_pb2.Function.DESCRIPTOR.fields_by_name
]
_WEB_SERVER = api_pb2.WEBHOOK_TYPE_WEB_SERVER


def _as_data(request: api_pb2.FunctionCreateRequest) -> api_pb2.FunctionData:
    """The definition in the form with a list of ranked functions, which every request can take."""
    if request.HasField("function_data"):
        return _in_order(request.function_data)
    data = api_pb2.FunctionData()
    copied = api_pb2.Function.FromString(stable_bytes(request.function))
    for name in _SHARED:
        value = getattr(copied, name)
        descriptor = api_pb2.Function.DESCRIPTOR.fields_by_name[name]
        if descriptor.message_type is None and not hasattr(value, "extend"):
            setattr(data, name, value)
        elif hasattr(value, "extend") or not hasattr(value, "ByteSize") or copied.HasField(name):
            getattr(data, name).MergeFrom(value)
    data.ranked_functions.add(rank=0, function=copied)
    return _in_order(data)


def _in_order(data: api_pb2.FunctionData) -> api_pb2.FunctionData:
    """The client sends the mounts of a function in the order of a set: another one each time."""
    for ranked in data.ranked_functions:
        mounts = sorted(ranked.function.mount_ids)
        ranked.function.ClearField("mount_ids")
        ranked.function.mount_ids.extend(mounts)
    return data


class Functions:
    def __init__(self, state: State, faults: Faults, web: Web):
        self._state = state
        self._labels = Labels(state, faults)
        self._web = web

    def _row(self, function_id: str) -> dict:
        if function_id not in self._state.data["functions"]:
            raise checks.missing(f"Function with ID '{function_id}' not found.")
        return self._state.data["functions"][function_id]

    def live(self, function_id: str) -> api_pb2.FunctionData:
        """The published definition, or the one that is about to be."""
        row = self._row(function_id)
        return self._state.definition(row["definition"] or row["draft"])

    def published(self, app_id: str) -> dict[str, str]:
        """Name → id of the functions in production."""
        return {
            row["name"]: function_id
            for function_id, row in self._state.data["functions"].items()
            if row["app_id"] == app_id and row["definition"]
        }

    def metadata(self, function_id: str, published: bool = False, methods=None) -> api_pb2.FunctionHandleMetadata:
        """A handle: on what is being deployed, or on what is in production. `methods` of a class, where no whole
        definition has been seen yet."""
        row = self._row(function_id)
        definition = row["definition"] if published else row["draft"]
        told = api_pb2.FunctionHandleMetadata(
            function_name=row["name"],
            app_id=row["app_id"],
            web_url=row["web_url"],
            definition_id=definition,
            function_type=row["type"],
        )
        if definition:
            function = self._state.definition(definition).ranked_functions[0].function
            told.is_method = function.is_method
            told.function_schema.CopyFrom(function.function_schema)
            told.supported_input_formats.extend(function.supported_input_formats)
            told.supported_output_formats.extend(function.supported_output_formats)
            methods = methods or function.method_definitions
        for name, handle in handles(methods or {}, row["app_id"], row["web_url"]).items():
            told.method_handle_metadata[name].CopyFrom(handle)
        if told.method_handle_metadata:
            # It is that of a method.
            told.web_url = ""
        return told

    def layout(self, app_id: str) -> api_pb2.AppLayout:
        """What a container or a redeploy needs to know of the app's objects."""
        published = self.published(app_id)
        objects = {}
        for function_id in published.values():
            objects[function_id] = api_pb2.Object(
                object_id=function_id, function_handle_metadata=self.metadata(function_id, published=True)
            )
            function = self.live(function_id).ranked_functions[0].function
            for dependency in function.object_dependencies:
                objects.setdefault(dependency.object_id, self._object(dependency.object_id))
        classes = {
            row["name"]: class_id
            for class_id, row in self._state.data["classes"].items()
            if row["app_id"] == app_id and row["published"]
        }
        for name, class_id in classes.items():
            handle = api_pb2.ClassHandleMetadata(class_function_id=published[f"{name}.*"])
            objects[class_id] = api_pb2.Object(object_id=class_id, class_handle_metadata=handle)
        return api_pb2.AppLayout(objects=list(objects.values()), function_ids=published, class_ids=classes)

    def _object(self, object_id: str) -> api_pb2.Object:
        told = api_pb2.Object(object_id=object_id)
        if object_id.startswith("vo-"):
            row = self._state.data["volumes"].get(object_id, {"name": "", "version": 1})
            told.volume_metadata.CopyFrom(api_pb2.VolumeMetadata(version=row["version"], name=row["name"]))
        elif object_id.startswith("mo-"):
            told.mount_handle_metadata.SetInParent()
        elif object_id.startswith("fu-"):
            told.function_handle_metadata.CopyFrom(self.metadata(object_id))
        return told

    def _app(self, app_id: str) -> dict:
        if app_id not in self._state.data["apps"]:
            raise checks.missing(f"App with ID '{app_id}' not found.")
        app = self._state.data["apps"][app_id]
        if app["state"] in (api_pb2.APP_STATE_STOPPED, api_pb2.APP_STATE_STOPPING):
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {app_id} is stopped.")
        return app

    def _register(self, app_id: str, name: str, existing: str, function_type: int) -> str:
        # The function that serves a class is called like it, and `.*`.
        checks.object_name(name.removesuffix(".*"), "Function")
        table = self._state.data["functions"]
        if existing:
            if self._row(existing)["app_id"] != app_id:
                raise checks.refuse(f"Function {existing} belongs to another app.")
            return existing
        for function_id, row in table.items():
            if row["app_id"] == app_id and row["name"] == name:
                return function_id
        function_id = random_id("fu")
        table[function_id] = {
            "app_id": app_id,
            "name": name,
            "type": function_type,
            "definition": "",
            "draft": "",
            "web_url": "",
            "label": "",
        }
        self._state.touch()
        return function_id

    async def _assign_url(self, function_id: str, function) -> api_pb2.WebUrlInfo:
        row = self._row(function_id)
        _, web = web_of(function)
        if not web.type:
            row["web_url"] = row["label"] = ""
            return api_pb2.WebUrlInfo()
        assigned = self._labels.assign(row["app_id"], row["name"], label_of(function), web)
        row["label"] = assigned.label
        row["web_url"] = await self._web.open(assigned.label)
        self._state.touch()
        return assigned.info

    async def FunctionPrecreate(self, request, _call):
        self._app(request.app_id)
        function_id = self._register(
            request.app_id, request.function_name, request.existing_function_id, request.function_type
        )
        # The label is taken when the whole definition has been seen: here only a function that has one tells it.
        return api_pb2.FunctionPrecreateResponse(function_id=function_id, handle_metadata=self.metadata(function_id, methods=request.method_definitions))

    async def FunctionCreate(self, request, _call):
        self._app(request.app_id)
        data = _as_data(request)
        if not data.ranked_functions:
            raise checks.refuse("A function needs a definition.")
        for ranked in data.ranked_functions:
            checks.function(self._state.data, ranked.function)
        function = data.ranked_functions[0].function
        function_id = self._register(
            request.app_id, function.function_name, request.existing_function_id, function.function_type
        )
        info = await self._assign_url(function_id, function)
        row = self._row(function_id)
        row["type"] = function.function_type
        row["draft"] = self._state.put_definition(data)
        self._state.touch()
        answer = api_pb2.Function.FromString(stable_bytes(function))
        method, _ = web_of(function)
        told = answer.method_definitions[method] if method else answer
        told.web_url = row["web_url"]
        told.web_url_info.CopyFrom(info)
        return api_pb2.FunctionCreateResponse(
            function_id=function_id,
            function=answer,
            handle_metadata=self.metadata(function_id),
            function_data=self._told(function_id, row["draft"], info),
        )

    def _told(self, function_id: str, definition: str, info: api_pb2.WebUrlInfo | None = None) -> api_pb2.FunctionData:
        data = self._state.definition(definition)
        data.web_url = self._row(function_id)["web_url"]
        if info is not None:
            data.web_url_info.CopyFrom(info)
        for ranked in data.ranked_functions:
            method, _ = web_of(ranked.function)
            told = ranked.function.method_definitions[method] if method else ranked.function
            told.web_url = data.web_url
        return data

    def check_publish(self, app_id: str, request: api_pb2.AppPublishRequest) -> dict[str, dict[str, str]]:
        """Name → id and definition of what a publish asks for; refuses what was never created."""
        wanted = {}
        for name, function_id in sorted(request.function_ids.items()):
            row = self._row(function_id)
            definition = request.definition_ids.get(function_id) or row["draft"]
            if row["app_id"] != app_id or not definition or definition != row["draft"]:
                raise GRPCError(Status.FAILED_PRECONDITION, f"Function '{name}' was not created in this deployment.")
            wanted[name] = {"id": function_id, "definition": definition}
        return wanted

    def check_classes(self, app_id: str, request: api_pb2.AppPublishRequest) -> dict[str, str]:
        """Name → id of the classes that a publish asks for; refuses those without the function that serves them."""
        for name, class_id in request.class_ids.items():
            if self._state.data["classes"].get(class_id, {}).get("app_id") != app_id:
                raise checks.missing(f"Class with ID '{class_id}' not found.")
            if f"{name}.*" not in request.function_ids:
                raise GRPCError(Status.FAILED_PRECONDITION, f"Class '{name}' has no function '{name}.*'.")
        return dict(request.class_ids)

    def publish(self, app_id: str, wanted: dict[str, dict[str, str]], classes: dict[str, str]) -> None:
        """Makes these definitions and classes, and no others, the ones of the app."""
        for row in self._state.data["classes"].values():
            if row["app_id"] == app_id:
                row["published"] = False
        for name, class_id in classes.items():
            self._state.data["classes"][class_id].update(name=name, published=True)
        for row in self._state.data["functions"].values():
            if row["app_id"] == app_id:
                row["definition"] = ""
        for function in wanted.values():
            self._row(function["id"]).update(definition=function["definition"], draft=function["definition"])
        self._state.touch()

    async def FunctionGet(self, request, _call):
        place = environment(self._state, request.environment_name)
        for app_id, app in self._state.data["apps"].items():
            deployed = app["state"] == api_pb2.APP_STATE_DEPLOYED and app["name"] == request.app_name
            if not deployed or app["environment"] != place:
                continue
            function_id = self.published(app_id).get(request.object_tag)
            if function_id is None:
                raise checks.missing(f"Function '{request.object_tag}' not found in App '{request.app_name}'")
            row = self._row(function_id)
            return api_pb2.FunctionGetResponse(
                function_id=function_id,
                handle_metadata=self.metadata(function_id, published=True),
                function=self._told(function_id, row["definition"]),
            )
        raise checks.missing(f"App '{request.app_name}' not found in environment '{place}'")

    async def FunctionGetById(self, request, _call):
        row = self._row(request.function_id)
        return api_pb2.FunctionGetByIdResponse(
            function=self._told(request.function_id, row["definition"] or row["draft"]),
            handle_metadata=self.metadata(request.function_id),
        )

    async def FunctionGetSchedulingParams(self, request, _call):
        settings = self.live(request.function_id).ranked_functions[0].function.autoscaler_settings
        return api_pb2.FunctionGetSchedulingParamsResponse(
            autoscaler_configuration=api_pb2.AutoscalerConfiguration(
                settings=settings, static_settings=settings, default_settings=api_pb2.AutoscalerSettings()
            )
        )
