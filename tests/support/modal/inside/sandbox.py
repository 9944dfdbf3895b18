"""Cuts a container off and runs its command: `sandbox.py SPECIFICATION.json`.

Own mounts: a copy-on-write view of this machine's `/`, with the uploaded files and the volumes at their paths,
gone with the container. Own processes: all end with the first one, which ends with the double. Own network, if
asked for: with a loopback and an `eth0`, and a relay from a Unix socket to the server that listens there.

As root through plain namespaces, else through a user namespace. Where even that is refused nothing is cut off,
which is said on stderr; a container with volumes does not start then.
"""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_NEWNS, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
_RDONLY, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG = 1
_ETH0 = "10.213.0.2"
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    done = _libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None)
    _checked(done, f"mount {source} at {target}")


def _die_with_parent(parent: int) -> None:
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(1)


def _say(text: str) -> None:
    print(f"modal double: {text}", file=sys.stderr, flush=True)


def _unshare(own_network: bool) -> bool:
    flags = _NEWNS | _NEWPID | (_NEWNET if own_network else 0)
    if _libc.unshare(flags) == 0:
        return True
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(flags | _NEWUSER) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    return True


def _mount_points() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted({line.split()[4].encode().decode("unicode_escape") for line in lines})


def _bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    _mount(source, target, flags=_BIND | _REC)


def _farm(source: str, target: str, opened: set[str]) -> None:
    """A directory like `source`, of binds; only what is in `opened` is a directory of its own."""
    os.makedirs(target, exist_ok=True)
    for name in os.listdir(source):
        inside, here = os.path.join(source, name), os.path.join(target, name)
        try:
            if os.path.islink(inside):
                os.symlink(os.readlink(inside), here)
            elif inside in opened and os.path.isdir(inside):
                _farm(inside, here, opened)
            elif inside != "/proc" and (os.path.isdir(inside) or os.path.isfile(inside)):
                _bind(inside, here)
        except OSError:
            # Not ours to read: then not the container's either.
            continue


def _new_root(spec: dict) -> str:
    """The container's `/`, not entered yet."""
    scratch = os.path.join(spec["directory"], "fs")
    os.makedirs(scratch)
    _mount("none", "/", flags=_REC | _PRIVATE)
    _mount("tmpfs", scratch, "tmpfs", options="mode=755")
    root = f"{scratch}/root"
    for name in ("upper", "work", "root"):
        os.mkdir(f"{scratch}/{name}")
    try:
        _mount("overlay", root, "overlay", options=f"lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work")
        for point in _mount_points():
            if point == "/" or point.startswith(("/proc", scratch)) or not os.path.exists(point):
                continue
            _bind(point, root + point)
    except OSError:
        # No overlays for users other than root on some kernels: then only the places on the way are its own.
        paths = [os.path.dirname(file[0]) for file in spec["files"]] + [volume[1] for volume in spec["volumes"]]
        opened = {str(parent) for path in paths for parent in [Path(path), *Path(path).parents]}
        _farm("/", root, opened)
    os.makedirs(f"{root}/proc", exist_ok=True)
    _mount("proc", f"{root}/proc", "proc")
    _bind(spec["directory"], root + spec["directory"])
    return root


def _furnish(spec: dict, root: str) -> None:
    for path, source, mode in spec["files"]:
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        if os.path.lexists(root + path):
            os.unlink(root + path)
        shutil.copyfile(source, root + path)
        os.chmod(root + path, mode)
    for source, path, read_only, room in spec["volumes"]:
        os.makedirs(source, exist_ok=True)
        os.makedirs(root + path, exist_ok=True)
        if room:
            _mount("tmpfs", root + path, "tmpfs", options=f"size={room}")
            continue
        _mount(source, root + path, flags=_BIND)
        if read_only:
            _mount("none", root + path, flags=_BIND | _REMOUNT | _RDONLY)


def _network() -> bool:
    """A loopback and an `eth0`; whether there is an `eth0`."""

    def ip(*words: str) -> bool:
        return subprocess.run(["ip", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    ip("link", "set", "lo", "up")
    made = (
        ip("link", "add", "eth0", "type", "dummy")
        or ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
        or ip("tuntap", "add", "dev", "eth0", "mode", "tap")
    )
    ip("link", "set", "peer0", "up")
    return made and ip("address", "add", f"{_ETH0}/24", "dev", "eth0") and ip("link", "set", "eth0", "up")


async def _relay(path: str, host: str, port: int) -> None:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(1 << 16):
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back_reader, back_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, back_writer), pump(back_reader, writer), return_exceptions=True)
        writer.close()
        back_writer.close()

    async with await asyncio.start_unix_server(serve, path) as server:
        await server.serve_forever()


def _run(spec: dict, environment: dict[str, str], workdir: str) -> None:
    os.makedirs(workdir, exist_ok=True)
    os.chdir(workdir)
    os.execve(spec["command"][0], spec["command"], environment)


def _first_process(spec: dict) -> int:
    """Process 1 of the container: sets it up, starts its command, reaps, and ends with it."""
    environment = dict(spec["environment"])
    has_eth0 = spec["own_network"] and _network()
    if spec["relay"] and not has_eth0:
        environment["MODAL_DOUBLE_LOOPBACK_ONLY"] = "1"
    root = _new_root(spec)
    _furnish(spec, root)
    os.chroot(root)
    os.chdir("/")
    if spec["own_network"] and spec["relay"] and os.fork() == 0:
        asyncio.run(_relay(spec["relay"][0], _ETH0 if has_eth0 else "127.0.0.1", spec["relay"][1]))
        os._exit(1)
    main = os.fork()
    if main == 0:
        try:
            _run(spec, environment, spec["workdir"])
        except OSError as error:
            _say(f"the container's Python cannot be run: {error}")
        os._exit(127)
    while True:
        ended, status = os.wait()
        if ended == main:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _without_isolation(spec: dict) -> None:
    Path(spec["directory"], "shared-network").touch()
    _say("namespaces are refused here: the container is not cut off (no volumes, this machine's ports)")
    if spec["volumes"]:
        _say("a container with volumes cannot be run like that")
        os._exit(78)
    root = os.path.join(spec["directory"], "root")
    spec["volumes"] = []
    _furnish(spec, root)
    environment = {**spec["environment"], "PYTHONPATH": f"{root}/root", "MODAL_DOUBLE_LOOPBACK_ONLY": "1"}
    _run(spec, environment, f"{root}/root")


def main() -> None:
    path = Path(sys.argv[1])
    spec = json.loads(path.read_text())
    # It holds secrets.
    path.unlink()
    _die_with_parent(spec["parent"])
    if spec["own_network"] and shutil.which("ip") is None:
        _say("no `ip` here: the container shares this machine's network")
        spec["own_network"] = False
        Path(spec["directory"], "shared-network").touch()
    if not _unshare(spec["own_network"]):
        _without_isolation(spec)
    child = os.fork()
    if child == 0:
        # The parent is outside of this namespace, so it has no id here.
        _die_with_parent(0)
        os._exit(_first_process(spec))
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


if __name__ == "__main__":
    main()
