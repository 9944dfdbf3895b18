"""Builds the wheel of the package in the current directory, as PEP 517 says.

Its argument is JSON: `backend`, `path` (where the backend is, if it is in the package itself) and
`wheel`, the directory that the wheel goes to. What the backend wants beside the package's own build
requirements, and isn't there, is written to `missing` in that directory.
"""

import importlib
import json
import os
import subprocess
import sys

# pip is always there, and knows requirements. In a process of its own: setuptools is another one in a
# process that has imported pip.
CHECK = """
import json, sys
from importlib import metadata
from pip._vendor.packaging.requirements import Requirement
for text in json.loads(sys.argv[1]):
    wanted = Requirement(text)
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        continue
    try:
        found = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        print(text)
        continue
    if not wanted.specifier.contains(found, prereleases=True):
        print(text)
"""

asked = json.loads(sys.argv[1])
# The current directory is on the path only where the package says so.
sys.path[0:1] = [os.path.abspath(path) for path in asked["path"]]
module, _, names = asked["backend"].partition(":")
backend = importlib.import_module(module)
for name in filter(None, names.split(".")):
    backend = getattr(backend, name)
wanted = getattr(backend, "get_requires_for_build_wheel", lambda settings: [])(None)
if wanted:
    command = [sys.executable, "-c", CHECK, json.dumps(wanted)]
    checked = subprocess.run(command, cwd="/", check=True, stdout=subprocess.PIPE, text=True)
    if checked.stdout:
        with open(os.path.join(asked["wheel"], "missing"), "w", encoding="utf-8") as file:
            file.write(checked.stdout)
        sys.exit("it also takes " + ", ".join(checked.stdout.splitlines()))
backend.build_wheel(asked["wheel"], None, None)
