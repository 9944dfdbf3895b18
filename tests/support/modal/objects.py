"""The workspace's named things that are not apps: environments, secrets, dicts, and who one is."""

import base64
import time

from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from grpclib import GRPCError, Status
from modal_proto import api_pb2

import checks
from state import State, content_id, random_id

_FAIL_IF_EXISTS = api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS
_OVERWRITE = api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS
_EPHEMERAL = api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL
_OWNED_BY_APP = api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP
LOOKUP = api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED


def environment(state: State, name: str) -> str:
    """The name of a known environment; the default one for ""."""
    known = state.data["environments"]
    if not name:
        return next((known_name for known_name, given in known.items() if given["default"]), next(iter(known)))
    for known_name, given in known.items():
        if name in (known_name, given["id"]):
            return known_name
    raise checks.missing(f"Environment '{name}' not found.")


def named(table: dict, environment_name: str, name: str) -> str | None:
    """The id of a named thing of an environment."""
    found = (key for key, row in table.items() if row["name"] == name and row["environment"] == environment_name)
    return next(found, None)


def may_create(creation_type: int, found: str | None, kind: str, name: str, environment_name: str) -> bool:
    """Whether a get-or-create has to create; refuses what the creation type forbids."""
    if found is not None:
        if creation_type == _FAIL_IF_EXISTS:
            raise GRPCError(
                Status.ALREADY_EXISTS, f"{kind} '{name}' already exists in environment '{environment_name}'."
            )
        return False
    if creation_type == LOOKUP:
        raise checks.missing(f"{kind} '{name}' not found in environment '{environment_name}'.")
    return True


def page(rows: list[tuple[str, dict]], pagination: api_pb2.ListPagination) -> list[tuple[str, dict]]:
    """One page of named rows, newest first, as the listing RPCs give them."""
    rows = sorted((row for row in rows if row[1]["name"]), key=lambda row: -row[1]["created_at"])
    if pagination.created_before:
        rows = [row for row in rows if row[1]["created_at"] < pagination.created_before]
    return rows[: pagination.max_objects] if pagination.max_objects else rows


def creation_info(row: dict) -> api_pb2.CreationInfo:
    return api_pb2.CreationInfo(created_at=row["created_at"], created_by=row.get("created_by", "tester"))


class Workspace:
    def __init__(self, state: State):
        self._state = state

    async def ClientHello(self, _request, _call):
        return api_pb2.ClientHelloResponse(image_builder_version="2025.06")

    async def TokenInfoGet(self, _request, call):
        return api_pb2.TokenInfoGetResponse(
            token_id=call.token_id,
            workspace_id=content_id("ac", call.workspace.encode()),
            workspace_name=call.workspace,
            user_identity=api_pb2.UserIdentity(user_id=content_id("us", call.user.encode()), username=call.user),
            created_at=Timestamp(seconds=1_700_000_000),
            token_name="double",
        )

    async def WorkspaceNameLookup(self, _request, call):
        return api_pb2.WorkspaceNameLookupResponse(workspace_name=call.workspace, username=call.user)

    async def WorkspaceSettings(self, _request, _call):
        return api_pb2.WorkspaceSettingsResponse(
            default_environment_name=environment(self._state, ""), image_builder_version="2025.06"
        )

    async def EnvironmentGetOrCreate(self, request, call):
        name = request.deployment_name
        if request.object_creation_type != LOOKUP and name not in self._state.data["environments"]:
            self._create(name, {})
        name = environment(self._state, name)
        row = self._state.data["environments"][name]
        settings = api_pb2.EnvironmentSettings(
            image_builder_version=row["image_builder_version"], webhook_suffix=row["web_suffix"]
        )
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id=row["id"],
            metadata=api_pb2.EnvironmentMetadata(
                name=name, settings=settings, environment_type=api_pb2.ENVIRONMENT_TYPE_PUBLIC
            ),
        )

    def _create(self, name: str, given: dict) -> None:
        checks.environment_name(name)
        if name in self._state.data["environments"]:
            raise GRPCError(Status.ALREADY_EXISTS, f"Environment '{name}' already exists.")
        suffix = given.get("web_suffix") or name.lower().replace("_", "-")
        checks.web_label(suffix)
        self._state.data["environments"][name] = {
            "id": random_id("en"),
            "web_suffix": suffix,
            "default": False,
            "image_builder_version": "2025.06",
            "created_at": time.time(),
        }
        self._state.touch()

    async def EnvironmentCreate(self, request, _call):
        self._create(request.name, {"web_suffix": request.settings.webhook_suffix})
        return Empty()

    async def EnvironmentList(self, _request, _call):
        return api_pb2.EnvironmentListResponse(
            items=[
                api_pb2.EnvironmentListItem(
                    name=name,
                    webhook_suffix=row["web_suffix"],
                    created_at=row["created_at"],
                    default=row["default"],
                    environment_id=row["id"],
                    environment_type=api_pb2.ENVIRONMENT_TYPE_PUBLIC,
                    effective_role=api_pb2.ENVIRONMENT_ROLE_CONTRIBUTOR,
                    image_builder_version=row["image_builder_version"],
                )
                for name, row in self._state.data["environments"].items()
            ]
        )

    async def EnvironmentUpdate(self, request, _call):
        name = environment(self._state, request.current_name)
        row = self._state.data["environments"][name]
        if request.HasField("web_suffix"):
            row["web_suffix"] = request.web_suffix.value
        if request.image_builder_version:
            row["image_builder_version"] = request.image_builder_version
        self._state.touch()
        return api_pb2.EnvironmentListItem(name=name, webhook_suffix=row["web_suffix"])

    async def ObjectSuggest(self, _request, _call):
        return api_pb2.ObjectSuggestResponse()


class Secrets:
    def __init__(self, state: State):
        self._state = state

    def _metadata(self, row: dict) -> api_pb2.SecretMetadata:
        return api_pb2.SecretMetadata(
            name=row["name"], creation_info=creation_info(row), keys=row["keys"], environment_name=row["environment"]
        )

    async def SecretGetOrCreate(self, request, call):
        state, table = self._state, self._state.data["secrets"]
        values = dict(request.env_dict)
        name, place = request.deployment_name, ""
        if request.object_creation_type in (_OWNED_BY_APP, _EPHEMERAL):
            pairs = [text.encode() for pair in sorted(values.items()) for text in pair]
            found, name = content_id("st", request.app_id.encode(), *pairs), ""
            create = found not in table
            if create:
                state.set_secret_values("", found, values)
        else:
            place = environment(state, request.environment_name)
            found = named(table, place, name)
            create = may_create(request.object_creation_type, found, "Secret", name, place)
            if create:
                checks.object_name(name, "Secret")
                found = random_id("st")
            if create or request.object_creation_type == _OVERWRITE:
                state.set_secret_values(place, name, values)
                if not create:
                    table[found]["keys"] = sorted(values)
        if create:
            table[found] = {
                "name": name,
                "environment": place,
                "keys": sorted(values),
                "created_at": time.time(),
                "created_by": call.user,
            }
        absent = sorted(set(request.required_keys) - set(table[found]["keys"]))
        if absent:
            raise checks.missing(f"Secret '{name}' is missing key(s): {', '.join(absent)}")
        state.touch()
        return api_pb2.SecretGetOrCreateResponse(secret_id=found, metadata=self._metadata(table[found]))

    async def SecretList(self, request, _call):
        place = environment(self._state, request.environment_name)
        rows = [row for row in self._state.data["secrets"].items() if row[1]["environment"] == place]
        return api_pb2.SecretListResponse(
            environment_name=place,
            items=[
                api_pb2.SecretListItem(
                    label=row["name"],
                    secret_id=secret_id,
                    created_at=row["created_at"],
                    environment_name=place,
                    metadata=self._metadata(row),
                )
                for secret_id, row in page(rows, request.pagination)
            ],
        )

    def _row(self, secret_id: str) -> dict:
        if secret_id not in self._state.data["secrets"]:
            raise checks.missing(f"Secret with ID '{secret_id}' not found.")
        return self._state.data["secrets"][secret_id]

    async def SecretGetInfo(self, request, _call):
        return api_pb2.SecretGetInfoResponse(metadata=self._metadata(self._row(request.secret_id)))

    async def SecretUpdate(self, request, _call):
        row = self._row(request.secret_id)
        values = self._state.secret_values(request.secret_id)
        values.update({update.key: update.value for update in request.updates})
        row["keys"] = sorted(values)
        self._state.set_secret_values(row["environment"], row["name"], values)
        self._state.touch()
        return Empty()

    async def SecretDelete(self, request, _call):
        row = self._row(request.secret_id)
        self._state.set_secret_values(row["environment"], row["name"], None)
        del self._state.data["secrets"][request.secret_id]
        self._state.touch()
        return Empty()


class Dicts:
    """Keys and values are the client's pickles; the double only compares them."""

    def __init__(self, state: State):
        self._state = state

    def _row(self, dict_id: str) -> dict:
        if dict_id not in self._state.data["dicts"]:
            raise checks.missing(f"Dict with ID '{dict_id}' not found.")
        return self._state.data["dicts"][dict_id]

    def _entries(self, dict_id: str) -> dict[str, str]:
        return self._row(dict_id)["entries"]

    async def DictGetOrCreate(self, request, call):
        table = self._state.data["dicts"]
        place = environment(self._state, request.environment_name)
        name = request.deployment_name
        if request.object_creation_type == _EPHEMERAL:
            found, create, name = random_id("di"), True, ""
        else:
            found = named(table, place, name)
            create = may_create(request.object_creation_type, found, "Dict", name, place)
        if create:
            if name:
                checks.object_name(name, "Dict")
            found = found or random_id("di")
            table[found] = {
                "name": name,
                "environment": place,
                "entries": {},
                "created_at": time.time(),
                "created_by": call.user,
            }
            self._state.touch()
        return api_pb2.DictGetOrCreateResponse(dict_id=found, metadata=self._metadata(table[found]))

    def _metadata(self, row: dict) -> api_pb2.DictMetadata:
        return api_pb2.DictMetadata(name=row["name"], creation_info=creation_info(row))

    async def DictUpdate(self, request, _call):
        entries = self._entries(request.dict_id)
        created = True
        for update in request.updates:
            key = base64.b64encode(update.key).decode()
            if request.if_not_exists and key in entries:
                created = False
                continue
            entries[key] = base64.b64encode(update.value).decode()
        self._state.touch()
        return api_pb2.DictUpdateResponse(created=created)

    async def DictGet(self, request, _call):
        value = self._entries(request.dict_id).get(base64.b64encode(request.key).decode())
        return api_pb2.DictGetResponse(found=value is not None, value=base64.b64decode(value or ""))

    async def DictPop(self, request, _call):
        value = self._entries(request.dict_id).pop(base64.b64encode(request.key).decode(), None)
        self._state.touch()
        return api_pb2.DictPopResponse(found=value is not None, value=base64.b64decode(value or ""))

    async def DictContains(self, request, _call):
        key = base64.b64encode(request.key).decode()
        return api_pb2.DictContainsResponse(found=key in self._entries(request.dict_id))

    async def DictLen(self, request, _call):
        return api_pb2.DictLenResponse(len=len(self._entries(request.dict_id)))

    async def DictContents(self, request, _call):
        for key, value in list(self._entries(request.dict_id).items()):
            yield api_pb2.DictEntry(
                key=base64.b64decode(key) if request.keys else b"",
                value=base64.b64decode(value) if request.values else b"",
            )

    async def DictClear(self, request, _call):
        self._entries(request.dict_id).clear()
        self._state.touch()
        return Empty()

    async def DictList(self, request, _call):
        place = environment(self._state, request.environment_name)
        rows = [row for row in self._state.data["dicts"].items() if row[1]["environment"] == place]
        return api_pb2.DictListResponse(
            environment_name=place,
            dicts=[
                api_pb2.DictListResponse.DictInfo(
                    name=row["name"], created_at=row["created_at"], dict_id=dict_id, metadata=self._metadata(row)
                )
                for dict_id, row in page(rows, request.pagination)
            ],
        )

    async def DictDelete(self, request, _call):
        self._row(request.dict_id)
        del self._state.data["dicts"][request.dict_id]
        self._state.touch()
        return Empty()

    async def DictGetById(self, request, _call):
        row = self._row(request.dict_id)
        return api_pb2.DictGetByIdResponse(dict_id=request.dict_id, metadata=self._metadata(row))

    async def DictHeartbeat(self, request, _call):
        self._row(request.dict_id)
        return Empty()
