"""A stand-in for Modal's client that runs what a script defines and tells what that would start.

It is the judge of what `goatbuild import` reads: that never runs anything.
"""

import json
import subprocess
import sys


class Anything:
    """Whatever is asked of it, it gives itself."""

    def __init__(self, *positional, **named):
        self.positional, self.named = positional, named

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *positional, **named: self


Image = Volume = Secret = Anything()


class App:
    def __init__(self, name=None):
        self.name = name

    def function(self, **named):
        def decorate(function):
            tell(self.name, named, function)
            return function

        return decorate

    def local_entrypoint(self):
        return lambda function: function


def keep(**kept):
    def decorate(function):
        function.kept = {**getattr(function, "kept", {}), **kept}
        return function

    return decorate


def concurrent(max_inputs):
    return keep(max_inputs=max_inputs)


def web_server(port, startup_timeout=5, requires_proxy_auth=False):
    return keep(startup_timeout=startup_timeout)


def tell(app, named, function):
    started = []
    subprocess.Popen = lambda command, **_: started.append(command)
    function()
    plain = {name: named.get(name) for name in ("gpu", "timeout", "scaledown_window")}
    json.dump({"app": app, "command": started[0], **plain, **function.kept}, sys.stdout)
