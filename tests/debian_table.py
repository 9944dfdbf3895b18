"""Compares Debian bases with what debootstrap and apt install, package by package: docs/debian.md has the table.

Needs root, debootstrap, overlayfs, a mirror and half an hour; run by name, in a directory with room for 20 GB:

    python3 tests/debian_table.py DIRECTORY prepare   # a root of debootstrap's, and apt's for each package
    GOATBUILD_TEST_SETS=DIRECTORY/sets GOATBUILD_TEST_DEBS=DIRECTORY/debs \\
        cargo test --lib sets_of_packages -- --ignored
    python3 tests/debian_table.py DIRECTORY table

Each base is locked to the very packages that apt chose, beside what the package alone comes to, so that what
differs is how a base is made. Every path is compared by type, mode, owner, link and content.
"""
import collections
import hashlib
import lzma
import os
import pathlib
import random
import re
import stat
import subprocess
import sys
import tarfile
import urllib.request

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
NAMED = """ffmpeg libsm6 fontconfig tesseract-ocr poppler-utils git-lfs rdma-core openmpi-bin libopenblas0 locales
iproute2 iputils-ping netcat-openbsd psmisc pciutils rsync tmux vim nano sudo nodejs nginx supervisor redis-server
openssh-server gdb clang ccache default-jre-headless libopenmpi-dev""".split()
# Of the sorted names of main for amd64.
SEED, DRAWN = 20261130, 20

# Why a path differs, by what it is; the first that fits.
CAUSES = [
    ("dpkg's and apt's own state", r"var/lib/(dpkg|apt|ucf|pam|shells\.state|shadow)|var/cache/(apt|debconf)|var/log/"
                                   r"(alternatives|bootstrap|dpkg|fontconfig|apt/.*)(\.log)?|etc/(apt|passwd-|group-|"
                                   r"shadow-|gshadow-|subuid-|subgid-|\.pwd\.lock)|var/lib/ucf"),
    ("services", r"etc/(rc.\.d|systemd|init\.d/\.depend)|var/lib/systemd|run/"),
    ("identities of a machine", r"etc/(hostname|resolv\.conf|fstab|machine-id|ssh/ssh_host)|etc/ssl/(certs|private)/"
                                r".*snakeoil|var/lib/dbus/machine-id"),
    ("users", r"etc/(passwd|group|shadow|gshadow|subuid|subgid)$"),
    ("caches", r".*__pycache__|.*\.pyc$|etc/ld\.so\.cache|var/cache/(ldconfig|fontconfig|man|fonts)|usr/share/mime/|"
               r".*(mimeinfo\.cache|gschemas\.compiled|giomodule\.cache|icon-theme\.cache|loaders\.cache|\.uuid)|"
               r"var/lib/(mime|xml)|etc/java-.*classlist|.*\.jsa$|usr/share/info/dir"),
]


def run(*command, **more):
    return subprocess.run(command, check=True, text=True, **more)


def packages():
    with urllib.request.urlopen(f"{MIRROR}/dists/{SUITE}/main/binary-amd64/Packages.xz") as answer:
        text = lzma.decompress(answer.read()).decode()
    names = sorted({line[9:] for line in text.splitlines() if line.startswith("Package: ")})
    return NAMED + random.Random(SEED).sample(names, DRAWN)


def prepare(work):
    debs, mini = work / "apt", work / "mini"
    debs.mkdir(parents=True, exist_ok=True)
    if not mini.exists():
        run("debootstrap", "--variant=minbase", SUITE, mini, MIRROR)
        run("chroot", mini, "apt-get", "update")
    sets = open(work / "sets", "w")
    for name in packages():
        over = work / "over" / name
        root, change, scratch = over / "root", over / "change", over / "scratch"
        if not (over / "set").exists():
            for directory in (root, change, scratch):
                directory.mkdir(parents=True, exist_ok=True)
            layers = f"lowerdir={mini},upperdir={change},workdir={scratch}"
            run("mount", "-t", "overlay", "overlay", "-o", layers, root)
            try:
                (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
                (root / "usr/sbin/policy-rc.d").chmod(0o755)
                run("mount", "-t", "proc", "proc", root / "proc")
                run("mount", "--bind", debs, root / "var/cache/apt/archives")
                try:
                    install = "apt-get -qq -y --no-install-recommends -o APT::Keep-Downloaded-Packages=1 install"
                    with open(over / "log", "w") as log:
                        done = subprocess.run(["chroot", root, *install.split(), name], stdout=log, stderr=log,
                                              stdin=subprocess.DEVNULL,
                                              env={"DEBIAN_FRONTEND": "noninteractive", "PATH": os.environ["PATH"]})
                finally:
                    run("umount", root / "var/cache/apt/archives")
                    run("umount", root / "proc")
                (root / "usr/sbin/policy-rc.d").unlink()
                there = run("chroot", root, "dpkg-query", "-W", "-f", "${Package} ", capture_output=True).stdout
                (over / "set").write_text(there if done.returncode == 0 else "")
            finally:
                run("umount", root)
        print(f"{name}-alone {name}", file=sets)
        there = (over / "set").read_text()
        if there:
            print(f"{name} {there}", file=sets)
        print(name, len(there.split()), flush=True)


def of_apt(root):
    found = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            kind, mode, holds = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), ""
            if stat.S_ISLNK(kind):
                mode, holds = 0o777, os.readlink(path)
            elif stat.S_ISREG(kind):
                holds = hashlib.file_digest(open(path, "rb"), "sha256").hexdigest()
            found[os.path.relpath(path, root)] = kind, mode, (status.st_uid, status.st_gid), holds
    return found


def of_goatbuild(path):
    found = {}
    with tarfile.open(path) as tar:
        for member in tar:
            mode, holds = member.mode, ""
            if member.issym():
                kind, holds = stat.S_IFLNK, member.linkname
            elif member.isdir():
                kind = stat.S_IFDIR
            elif member.islnk():
                found[member.name] = found[member.linkname]
                continue
            else:
                kind, holds = stat.S_IFREG, hashlib.file_digest(tar.extractfile(member), "sha256").hexdigest()
            found[member.name] = kind, mode, (member.uid, member.gid), holds
    return found


def compared(ours, apts):
    """What differs beside what is left out by design, and how many paths of those there are by cause."""
    causes, rest = collections.Counter(), []
    for path in sorted(ours.keys() | apts.keys()):
        if path.startswith(("proc/", "sys/", "dev/")):
            continue
        our, apt = ours.get(path), apts.get(path)
        if our == apt:
            continue
        cause = next((cause for cause, pattern in CAUSES if re.match(pattern, path)), None)
        if not cause and our and apt:
            same_but_owner = our[0] == apt[0] and our[3] == apt[3] and our[1] == apt[1] & ~0o6000
            if same_but_owner:
                cause = "owners and what they lend"
        causes[cause or "else"] += 1
        if not cause:
            how = "missing" if not our else "more" if not apt else " and ".join(
                word for word, one, other in zip(("type", "mode", "owner", "content"), our, apt) if one != other)
            rest.append(f"{path} ({how})")
    return causes, rest


def table(work):
    built = dict(line.rstrip("\n").split(" ", 1) for line in open(work / "sets.told"))
    totals = collections.Counter()
    print("| package | locked | built | paths | equal | else |\n|---|---|---|---|---|---|")
    for name in packages():
        alone, whole = built.get(f"{name}-alone", "?"), built.get(name, "apt does not install it")
        locked = re.fullmatch(r"locked (\d+)", alone)
        over, tar = work / "over" / name, work / f"{name}.tar"
        refused = "" if whole.endswith("; built") else whole.split("; ", 1)[-1]
        row = [name, locked[1] if locked else alone, f"no: {refused}" if refused else "yes", "–", "–", "–"]
        if tar.exists():
            layers = f"lowerdir={over / 'change'}:{work / 'mini'}"
            run("mount", "-t", "overlay", "overlay", "-o", layers, over / "root")
            try:
                ours, apts = of_goatbuild(tar), of_apt(over / "root")
            finally:
                run("umount", over / "root")
            causes, rest = compared(ours, apts)
            totals += causes
            paths = len(ours.keys() | apts.keys())
            row[3:] = str(paths), str(paths - causes.total()), "; ".join(rest)
        print("| " + " | ".join(row) + " |", flush=True)
    print(totals)


if __name__ == "__main__":
    work, what = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    {"prepare": prepare, "table": table}[what](work)
