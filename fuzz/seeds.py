"""Writes the seeds that are archives: right ones, of each form that is read. The other seeds are texts.

Run it in this directory; the bytes that it makes are committed."""

import gzip
import io
import lzma
import pathlib
import tarfile
import zipfile

HERE = pathlib.Path(__file__).parent / "seeds"
INFO = "Demo_Pkg-1.0.dist-info"
METADATA = {
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
    f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: Demo_Pkg\nVersion: 1.0\n\nText\n",
}


def put(path, content):
    path = HERE / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def wheel(files, method=zipfile.ZIP_DEFLATED, record="", **entry):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, text in {**METADATA, **files, f"{INFO}/RECORD": record}.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100755 if "scripts/" in name else 0o100644) << 16
            info.compress_type = method
            with archive.open(info, "w", **entry) as member:
                member.write(text.encode())
    return out.getvalue()


def tar(members, form=tarfile.GNU_FORMAT):
    """`members` are a name, a kind, and what it holds or leads to."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, kind, holds in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755
            content = b""
            if kind in (tarfile.LNKTYPE, tarfile.SYMTYPE):
                info.linkname = holds
            else:
                content = holds.encode()
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    # Readers need no more than the two blocks that end it.
    return out.getvalue().rstrip(b"\0") + b"\0" * 1024


def sparse():
    """A file of 1 MiB with a hole and four bytes, as `tar -S` writes it."""
    header = bytearray(512)
    header[:6] = b"sparse"
    header[100:108] = b"0000644\0"
    header[108:116] = header[116:124] = b"0000000\0"
    header[124:136] = b"%011o\0" % 4
    header[136:148] = b"%011o\0" % 0
    header[156:157] = b"S"
    header[257:265] = b"ustar  \0"
    header[386:398] = b"%011o\0" % ((1 << 20) - 4)
    header[398:410] = b"%011o\0" % 4
    header[483:495] = b"%011o\0" % (1 << 20)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"data".ljust(512, b"\0") + b"\0" * 1024


def deb(control, data, form):
    pack, name = {
        "xz": (lzma.compress, ".tar.xz"),
        "gz": (lambda content: gzip.compress(content, mtime=0), ".tar.gz"),
        "tar": (bytes, ".tar"),
    }[form]
    out = b"!<arch>\n"
    for member, content in [
        ("debian-binary", b"2.0\n"),
        ("control" + name, pack(control)),
        ("data" + name, pack(data)),
    ]:
        out += f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out


F, D, S, L = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
TEXT = "".join(str(n * 2654435761 % 100003) for n in range(1800))

put("wheel/deflated.whl", wheel({"demo/big.py": TEXT, "demo/__init__.py": "import sys\n"}))
put("wheel/stored.whl", wheel({"demo/__init__.py": "x = 1\n"}, zipfile.ZIP_STORED))
put("wheel/zip64.whl", wheel({"demo.py": "x = 1\n"}, force_zip64=True))
put(
    "wheel/installed.whl",
    wheel(
        {
            "Demo_Pkg-1.0.data/scripts/run": "#!python\nprint()\n",
            "Demo_Pkg-1.0.data/purelib/pure.py": "y = 2\n",
            "Demo_Pkg-1.0.data/headers/demo.h": "int x;\n",
            f"{INFO}/entry_points.txt": "[console_scripts]\nx = demo:main\n",
        },
        zipfile.ZIP_STORED,
        f"demo.py,sha256=AAAA,6\n{INFO}/RECORD,,\n",
    ),
)

control = "Package: {}\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: a <a@b>\nDescription: x\n"
base = tar([("./control", F, control.format("base-passwd"))])
users = [
    ("./usr/share/base-passwd/passwd.master", F, "root:*:0:0:root:/root:/bin/bash\n"),
    ("./usr/share/base-passwd/group.master", F, "root:*:0:\n"),
]
put("base-passwd.deb", deb(base, tar(users), "xz"))
demo = tar(
    [
        ("./control", F, control.format("demo") + "Depends: base-passwd\nReplaces: base-passwd (<< 2)\n"),
        ("./postinst", F, "#!/bin/sh\nset -e\nldconfig\n"),
        ("./conffiles", F, "/etc/demo.conf\n"),
    ]
)
files = tar(
    [
        ("./", D, ""),
        ("./bin/tool", F, "#!/bin/sh\n"),
        ("./usr/bin/alias", S, "../../bin/tool"),
        ("./usr/bin/again", L, "./bin/tool"),
        ("./etc/demo.conf", F, "a=1\n"),
    ]
)
for form in ("xz", "gz", "tar"):
    put(f"deb/{form}.deb", deb(demo, files, form))

layer = [
    ("usr/", D, ""),
    ("usr/file", F, "content"),
    ("usr/link", S, "file"),
    ("usr/up", S, "../.."),
    ("usr/hard", L, "usr/file"),
    ("usr/.wh.gone", F, ""),
    ("usr/.wh..wh..opq", F, ""),
]
put("layer/gnu.tar", tar(layer))
put("layer/pax.tar", tar([*layer, ("usr/" + "é" * 60, F, "")], tarfile.PAX_FORMAT))
put("layer/long.tar", tar([("d" * 120 + "/f", F, "x"), ("l", S, "t" * 120)]))
put("layer/sparse.tar", sparse())
put("layer/gzip.tar.gz", gzip.compress(tar(layer), mtime=0))
