"""What is taken for granted of Modal, tried out one by one: each function is a row of docs/modal.md.

A row gives whether it held, or nothing where that was not to be seen, and what was seen. All that it leaves at
Modal is called by one name, and `end` removes it.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import modal
from modal_proto import api_pb2

# How long Modal may take for what it does at once.
SOON_SECONDS = 60
# A name of 64 characters, as long as one may be: its label has to be cut.
LONGEST = 64
# One more than Modal's documentation lets a container take at once.
TOO_MANY_INPUTS = 1001


class Trial:
    """One trial: what it is called, where it is, and what it deploys."""

    def __init__(self, driver, request):
        self.driver = driver
        self.request = request
        self.name = request["app"]
        self.place = {"environment_name": request["environment"]}

    def program(self, **changes):
        """The program with other settings, as a module."""
        settings = {
            "app": self.name,
            "tags": self.request["tags"],
            "volume": self.name,
            "environment": self.request["environment"],
            "gpu": None,
            "secrets": [],
            "max_inputs": 8,
            "proxy_auth": False,
            "delay": 0,
            "answer": "one",
        } | changes
        source = Path(__file__).with_name("app.py").read_text()
        source = source.replace("= {}\n", f"= {settings!r}\n", 1)
        path = Path(self.request["directory"]) / "goatbuild_trial.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return self.driver.loaded(path)

    def deploy(self, tag="trial", **changes):
        """Deploys it; gives its address."""
        program = self.program(**changes)
        name = changes.get("app", self.name)
        with modal.enable_output():
            program.app.deploy(name=name, tag=tag, **self.place)
        return modal.Function.from_name(name, "serve", **self.place).get_web_url()

    def stop(self, name=None):
        """Stops the app, if it is up."""
        self.driver.stop({**self.request, "app": name or self.name})

    def newest(self):
        """Its newest version."""
        return self.driver.newest({**self.request, "app": self.name})

    def containers(self):
        """The ids of the containers that are up."""
        return self.driver.containers({**self.request, "app": self.name})

    def until_none(self, seconds):
        """Waits until no container is up; after how many seconds, if it is so within these."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if not self.containers():
                return time.monotonic() - began
            time.sleep(1)
        return None


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows nobody."""

    def redirect_request(self, *_):
        return None


def asked(url, seconds=SOON_SECONDS, follow=True):
    """The status and the text of an answer; status 0 where there is none."""
    opener = urllib.request.build_opener(*(() if follow else (Stay(),)))
    try:
        with opener.open(url, timeout=seconds) as answer:
            return answer.status, answer.read(1000).decode(errors="replace"), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(1000).decode(errors="replace"), error.headers
    except OSError as error:
        return 0, str(error), {}


def refused(trial, kinds, what, **changes):
    """Whether a deployment is refused, as one should be that Modal can't run."""
    try:
        trial.deploy(**changes)
    except kinds as error:
        return True, str(error).splitlines()[0]
    trial.stop()
    return False, f"{what} was deployed"


def order(trial):
    kinds = (modal.exception.NotFoundError,)
    return refused(trial, kinds, "an app whose secret isn't there", secrets=[f"{trial.name}-none"])


def gpu(trial):
    return refused(trial, (modal.exception.Error,), "a GPU of no kind", gpu="NO-SUCH-GPU")


def max_inputs(trial):
    kinds = (modal.exception.Error,)
    return refused(trial, kinds, f"max_inputs={TOO_MANY_INPUTS}", max_inputs=TOO_MANY_INPUTS)


def label(trial):
    url = trial.deploy()
    long = trial.name.ljust(LONGEST, "x")
    try:
        cut = trial.deploy(app=long)
    finally:
        trial.stop(long)
    held = url.rstrip("/") == trial.request["expected"].rstrip("/")
    return held, f"{url}, and {cut} for a name of {LONGEST} characters"


def auth(trial):
    url = trial.deploy(proxy_auth=True)
    status, text, _ = asked(url)
    time.sleep(trial.request["pause"])
    up = trial.containers()
    return status == 401 and not up, f"{status}, {text.strip()!r}; {len(up)} containers"


def tag(trial):
    trial.deploy(tag="trial-a")
    before = trial.newest()
    trial.deploy(tag="trial-b")
    after = trial.newest()
    held = after["version"] == before["version"] + 1 and after["tag"] == "trial-b"
    return held, f"v{after['version']} {after['tag']} after v{before['version']} {before['tag']}"


def rolling(trial):
    url = trial.deploy(answer="one")
    status, text, _ = asked(url, trial.request["patience_seconds"])
    if (status, text) != (200, "one"):
        return None, f"the first version answered {status}, {text!r}"
    trial.deploy(answer="two")
    began, last, news = time.monotonic(), None, 0
    while news < trial.request["answers"]:
        if time.monotonic() - began > trial.request["patience_seconds"]:
            return False, f"the old version still answered after {round(last or 0)} s"
        status, text, _ = asked(url, trial.request["patience_seconds"])
        if text == "two":
            news += 1
        else:
            news, last = 0, time.monotonic() - began
        time.sleep(0.5)
    return True, "no old answer" if last is None else f"the last old answer after {last:.0f} s"


def rollback(trial):
    trial.deploy(tag="trial-a", answer="one")
    wanted = trial.newest()
    trial.deploy(tag="trial-b", answer="two")
    stands = trial.newest()
    request = {**trial.request, "version": wanted["version"], "stands": stands["version"]}
    after = trial.driver.rollback(request)
    held = after["tag"] == "trial-a" and after["version"] > stands["version"]
    return held, f"v{after['version']} {after['tag']} is v{wanted['version']} again"


def crash(trial):
    url = trial.deploy(answer="exit", delay=2)
    status, text, _ = asked(url, trial.request["patience_seconds"])
    gone = trial.until_none(trial.request["patience_seconds"])
    trial.stop()
    if gone is None:
        return False, f"answered {status}; a container stays up whose server has ended"
    return status >= 500 or status == 0, f"{status}, {text.strip()[:100]!r}; all gone {gone:.0f} s later"


def redirect(trial):
    wait = trial.request["slow"]
    url = trial.deploy(delay=wait)
    began = time.monotonic()
    status, text, headers = asked(url, 3 * wait, follow=False)
    if status == 200:
        return False, f"answered after {time.monotonic() - began:.0f} s, and never sent on"
    if status not in (302, 303) or not headers.get("Location"):
        return False, f"{status}, {text.strip()[:100]!r} after {time.monotonic() - began:.0f} s"
    sent_on = time.monotonic() - began
    status, text, _ = asked(urllib.request.urljoin(url, headers["Location"]), 3 * wait)
    return (status, text) == (200, "one"), f"sent on after {sent_on:.0f} s; then {status}"


def killed(trial):
    trial.stop()
    trial.until_none(SOON_SECONDS)
    command = [sys.executable, __file__]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=sys.stderr)
    try:
        run.stdin.write(json.dumps(trial.request).encode())
        run.stdin.close()
        began = time.monotonic()
        while not trial.containers():
            if run.poll() is not None or time.monotonic() - began > SOON_SECONDS:
                return None, "what is to be killed did not start"
            time.sleep(1)
    finally:
        run.kill()
        run.wait()
    gone = trial.until_none(trial.request["patience_seconds"])
    if gone is None:
        return False, f"it still ran after {trial.request['patience_seconds']} s"
    return gone < 2 * SOON_SECONDS, f"ended after {gone:.0f} s"


def volume(trial):
    program = trial.program()
    text = f"written at {time.time()}"
    with modal.enable_output(), program.app.run(**trial.place):
        program.write.remote(text)
        found, refuses = program.read.remote()
    seen = "was seen by the next container" if found == text else f"was {found!r} to the next"
    return found == text and refuses, f"it {seen}; read-only {'refuses' if refuses else 'takes'} writes"


def lease(trial):
    entries = modal.Dict.from_name(trial.name, create_if_missing=True, **trial.place)
    entries.pop("lease", None)
    puts = [entries.put("lease", turn, skip_if_exists=True) for turn in (1, 2)]
    return puts == [True, False] and entries["lease"] == 1, f"put once: {puts}"


def end(trial):
    """Removes all of it."""
    trial.stop()
    trial.stop(trial.name.ljust(LONGEST, "x"))
    for objects in (modal.Volume.objects, modal.Dict.objects):
        objects.delete(trial.name, allow_missing=True, **trial.place)
    return None, ""


ROWS = {
    "order": order,
    "gpu": gpu,
    "max-inputs": max_inputs,
    "label": label,
    "auth": auth,
    "tag": tag,
    "rollback": rollback,
    "rolling": rolling,
    "crash": crash,
    "volume": volume,
    "lease": lease,
    "redirect": redirect,
    "killed": killed,
    "end": end,
}


def tried(driver, request):
    held, detail = ROWS[request["row"]](Trial(driver, request))
    return {"held": held, "detail": detail}


def main():
    """Has a function run for as long as this process does: it is going to be killed."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import driver

    request = json.load(sys.stdin)
    program = Trial(driver, request).program()
    with program.app.run(environment_name=request["environment"]):
        program.sleep.remote()


if __name__ == "__main__":
    main()
