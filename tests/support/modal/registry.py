"""Images out of a registry on loopback: asked for, with a secret's credentials, as Modal's builders pull them.

What is refused is what Modal refuses: wrong credentials, what isn't there, another platform than linux/amd64, no
`python` or no `pip` on its PATH.
"""

import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import urllib.error
import urllib.request

_KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_REFERENCE = re.compile(r"(127\.0\.0\.1(?::\d+)?)/([a-z0-9._/-]+)(?:@(sha256:[0-9a-f]{64})|:([\w.-]+))")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NotPulled(Exception):
    """Why an image can't be had."""


def is_here(reference: str) -> bool:
    """Whether a registry that is asked for it is on this machine; all others are taken at their word."""
    return _REFERENCE.fullmatch(reference) is not None


class _Registry:
    def __init__(self, reference: str, values: dict[str, str] | None):
        host, repository, digest, tag = _REFERENCE.fullmatch(reference).groups()
        self._root = f"http://{host}/v2/{repository}"
        self._reference = reference
        self.name = digest or tag
        self._headers = {"Accept": ", ".join(_KINDS)}
        if values is not None:
            both = f"{values['REGISTRY_USERNAME']}:{values['REGISTRY_PASSWORD']}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"

    def get(self, path: str) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(f"{self._root}/{path}", headers=self._headers), timeout=30) as got:
                return got.read()
        except urllib.error.HTTPError as error:
            why = {401: "unauthorized: authentication required", 404: "manifest unknown"}.get(error.code, error.reason)
            raise NotPulled(f"Failed to pull {self._reference}: {why}") from None
        except OSError as error:
            raise NotPulled(f"Failed to pull {self._reference}: {error}") from None

    def named(self, name: str, kind: str) -> bytes:
        content = self.get(f"{kind}/{name}")
        if name.startswith("sha256:") and f"sha256:{hashlib.sha256(content).hexdigest()}" != name:
            raise NotPulled(f"Failed to pull {self._reference}: {name} has other bytes")
        return content


def pull(reference: str, values: dict[str, str] | None) -> dict[str, str]:
    """The variables that an image sets, once all of it that Modal asks for was found."""
    registry = _Registry(reference, values)
    manifest = json.loads(registry.named(registry.name, "manifests"))
    if "manifests" in manifest:
        ours = [
            entry["digest"]
            for entry in manifest["manifests"]
            if (entry["platform"]["os"], entry["platform"]["architecture"]) == ("linux", "amd64")
        ]
        if not ours:
            raise NotPulled(f"Failed to pull {reference}: no image for linux/amd64")
        manifest = json.loads(registry.named(ours[0], "manifests"))
    config = json.loads(registry.named(manifest["config"]["digest"], "blobs"))
    platform = f"{config.get('os')}/{config.get('architecture')}"
    if platform != "linux/amd64":
        raise NotPulled(f"Failed to pull {reference}: it is for {platform}, not linux/amd64")
    variables = dict(line.split("=", 1) for line in config["config"].get("Env") or [])
    lacking = {"python", "pip"}
    # Programs of its own are in upper layers, and most bytes in lower ones.
    for layer in reversed(manifest["layers"]):
        content = registry.named(layer["digest"], "blobs")
        lacking -= _programs(content, variables.get("PATH", _PATH))
        if not lacking:
            return variables
    raise NotPulled(f"{reference} has no {' and no '.join(sorted(lacking))} on its PATH")


def _programs(layer: bytes, path: str) -> set[str]:
    places = {place.strip("/") for place in path.split(":")}
    content = gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer
    found = set()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            place, _, name = member.name.removeprefix("./").rpartition("/")
            if place in places and (member.issym() or member.mode & 0o111):
                found.add(name)
    return found
