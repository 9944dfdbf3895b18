"""What the double remembers: one JSON document on disk, and the names and ids in it.

Everything a restart has to bring back is in `State.data`; whoever changes it calls `touch`, and the
dispatcher saves before it answers, so that a client never heard of a change that a crash can undo.
"""

import base64
import fcntl
import hashlib
import json
import os
import secrets
import string
import sys
import time
from pathlib import Path

from google.protobuf.message import Message
from modal_proto import api_pb2

_ALPHABET = string.ascii_letters + string.digits
_DEFAULT_ENVIRONMENTS = {"goat": {"web_suffix": "goat"}, "main": {"web_suffix": "", "default": True}}
_DEFAULT_TOKENS = {"ak-test": {"secret": "as-test", "workspace": "phare"}}


def random_id(prefix: str) -> str:
    """An id as Modal makes them: a prefix and 22 characters."""
    return f"{prefix}-" + "".join(secrets.choice(_ALPHABET) for _ in range(22))


def content_id(prefix: str, *parts: bytes) -> str:
    """The id of something that is its content: the same content always has the same one."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    number = int.from_bytes(digest.digest(), "big")
    text = ""
    for _ in range(22):
        number, rest = divmod(number, len(_ALPHABET))
        text += _ALPHABET[rest]
    return f"{prefix}-{text}"


def stable_bytes(message: Message) -> bytes:
    """A message's bytes with its maps in order."""
    return message.SerializeToString(deterministic=True)


def image_id(image: api_pb2.Image, builder_version: str) -> str:
    return content_id("im", builder_version.encode(), stable_bytes(image))


def write_atomically(path: Path, content: str) -> None:
    """Replaces a file in one step, so that a reader or a crash sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.write_text(content)
    os.replace(draft, path)


def _read_json(path: Path, default):
    return json.loads(path.read_text()) if path.exists() else default


def _locked(path: Path):
    """Keeps a second double off the same state; waits for one that is just ending."""
    file = path.open("w")
    for _ in range(50):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            time.sleep(0.1)
    sys.exit(f"modal double: another one runs on {path.parent}")


class State:
    """The persisted half of the control plane."""

    def __init__(self, root: Path):
        self.root = root.resolve()
        for name in ("volumes", "files", "blobs", "images", "definitions", "logs"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.root / "lock")
        self._changed = False
        self._journal = (self.root / "journal.jsonl").open("a", buffering=1)
        tokens = self.root / "tokens.json"
        if not tokens.exists():
            write_atomically(tokens, json.dumps(_DEFAULT_TOKENS, indent=1))
        self.data = _read_json(self.root / "state.json", None) or self._first()
        self._take_in_secrets()
        self.touch()
        self.save()

    def _first(self) -> dict:
        environments = _read_json(self.root / "environments.json", _DEFAULT_ENVIRONMENTS)
        now = time.time()
        return {
            "port": 0,
            "run_dir": "",
            "environments": {
                name: {
                    "id": random_id("en"),
                    "web_suffix": given.get("web_suffix", name),
                    "default": given.get("default", False),
                    "image_builder_version": given.get("image_builder_version", "2025.06"),
                    "created_at": now,
                }
                for name, given in environments.items()
            },
            "volumes": {},
            "dicts": {},
            "secrets": {},
            "mounts": {},
            "images": {},
            "apps": {},
            "functions": {},
            "classes": {},
            "labels": {},
        }

    # Secrets' values are in a file of their own, {environment: {name: {KEY: value}}}, anonymous ones
    # under environment "" by id. A test may write it before the start instead of using the client.
    def _secrets_path(self) -> Path:
        return self.root / "secrets.json"

    def _take_in_secrets(self) -> None:
        known = {(s["environment"], s["name"]) for s in self.data["secrets"].values()}
        for environment, named in _read_json(self._secrets_path(), {}).items():
            for name, values in named.items():
                if environment and (environment, name) not in known:
                    self.data["secrets"][random_id("st")] = {
                        "name": name,
                        "environment": environment,
                        "keys": sorted(values),
                        "created_at": time.time(),
                    }

    def secret_values(self, secret_id: str) -> dict[str, str]:
        secret = self.data["secrets"][secret_id]
        everything = _read_json(self._secrets_path(), {})
        if not secret["name"]:
            return everything.get("", {}).get(secret_id, {})
        return everything.get(secret["environment"], {}).get(secret["name"], {})

    def set_secret_values(self, environment: str, name: str, values: dict[str, str] | None) -> None:
        everything = _read_json(self._secrets_path(), {})
        if values is None:
            everything.get(environment, {}).pop(name, None)
        else:
            everything.setdefault(environment, {})[name] = values
        write_atomically(self._secrets_path(), json.dumps(everything, indent=1))

    def tokens(self) -> dict:
        return _read_json(self.root / "tokens.json", {})

    def proxy_tokens(self) -> dict:
        """Modal-Key → Modal-Secret of the endpoints that ask for them; the test writes the file."""
        return _read_json(self.root / "proxy_tokens.json", {})

    def touch(self) -> None:
        self._changed = True

    def save(self) -> None:
        if self._changed:
            write_atomically(self.root / "state.json", json.dumps(self.data, indent=1))
            self._changed = False

    def journal(self, line: dict) -> None:
        self._journal.write(json.dumps({"t": round(time.time(), 4), **line}) + "\n")

    def volume_dir(self, volume: dict) -> Path:
        return self.root / "volumes" / volume["environment"] / volume["name"]

    def file(self, sha256_hex: str) -> Path:
        return self.root / "files" / sha256_hex

    def put_definition(self, data: api_pb2.FunctionData) -> str:
        content = stable_bytes(data)
        definition_id = content_id("de", content)
        path = self.root / "definitions" / definition_id
        if not path.exists():
            write_atomically(path, base64.b64encode(content).decode())
        return definition_id

    def definition(self, definition_id: str) -> api_pb2.FunctionData:
        """What was asked for of a function, as the client sent it."""
        content = base64.b64decode((self.root / "definitions" / definition_id).read_text())
        return api_pb2.FunctionData.FromString(content)
