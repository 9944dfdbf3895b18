"""Builds the wheel of the package in the current directory, as PEP 517 says.

Its argument is JSON: `backend`, `path` (where the backend is, if it is in the package itself) and
`wheel`, the directory that the wheel goes to. What the backend wants beside the package's own build
requirements, and isn't there, is written to `missing` in that directory.
"""

import importlib
import json
import os
import sys

from importlib import metadata

# pip is always there, and knows requirements.
from pip._vendor.packaging.requirements import Requirement

asked = json.loads(sys.argv[1])


def is_there(text):
    wanted = Requirement(text)
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return True
    try:
        found = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return False
    return wanted.specifier.contains(found, prereleases=True)


# The current directory is on the path only where the package says so.
sys.path[0:1] = [os.path.abspath(path) for path in asked["path"]]
module, _, names = asked["backend"].partition(":")
backend = importlib.import_module(module)
for name in filter(None, names.split(".")):
    backend = getattr(backend, name)
wanted = getattr(backend, "get_requires_for_build_wheel", lambda settings: [])(None)
missing = [text for text in wanted if not is_there(text)]
if missing:
    with open(os.path.join(asked["wheel"], "missing"), "w", encoding="utf-8") as file:
        file.write("\n".join(missing))
    sys.exit("it also takes " + ", ".join(missing))
backend.build_wheel(asked["wheel"], None, None)
