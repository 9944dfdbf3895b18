"""Has Hugging Face's own client and store keep a file, and writes down what the store says and holds.

    cargo install xet-client@1.8.0 --features simulation --bin local_cas_server
    pip install hf_xet==1.8.0
    local_cas_server --data-directory /tmp/store --port 8377 &
    python make.py http://127.0.0.1:8377

Written are `file.json` and one `.xorb` for each xorb, beside this script.
"""

import hashlib
import json
import os
import pathlib
import sys
import tempfile
import urllib.request
import warnings

# What it has uploaded it remembers, and would not upload again.
memory = tempfile.TemporaryDirectory()
os.environ["HF_HOME"] = memory.name
# How to pack is chosen for each chunk, not for 32 at once.
os.environ["HF_XET_XORB_COMPRESSION_SCHEME_RETEST_INTERVAL"] = "1"
import hf_xet


def noise(seed, count):
    state, out = seed, bytearray()
    for _ in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(state >> 24)
    return bytes(out)


def get(url, first=None, last=None):
    headers = {} if first is None else {"Range": f"bytes={first}-{last}"}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers)).read()


def reconstruction(store, digest, first=None, last=None):
    told = json.loads(get(f"{store}/v1/reconstructions/{digest}", first, last))
    urls = {}
    for xorb, sources in told["fetch_info"].items():
        for source in sources:
            urls[xorb] = source.pop("url")
    return told, urls


# As 32-bit floats are: the high bytes nearly the same, the lowest like noise.
floats = b"".join(bytes([low, 0, 0x80 | low & 3, 0x3F]) for low in noise(1, 48 << 10))
# As text is: the four groups of its bytes alike.
names = ["attention", "layer", "of", "the", "norm", "weight", "bias"]
words = " ".join(names[low % 7] for low in noise(3, 901)) + "."
content = floats + noise(2, 90 << 10) + words.encode() * 200 + floats + b"end"

store = sys.argv[1]
here = pathlib.Path(__file__).parent
warnings.simplefilter("ignore")
with tempfile.NamedTemporaryFile() as file:
    file.write(content)
    file.flush()
    token = ("any", 1 << 40)
    [kept] = hf_xet.upload_files([file.name], store, token, None, None, "model")

whole, urls = reconstruction(store, kept.hash)
stretches = [
    reconstruction(store, kept.hash, first, min(first + (1 << 20), len(content)) - 1)[0]
    for first in range(0, len(content), 1 << 20)
]
for xorb, [source] in whole["fetch_info"].items():
    part = source["url_range"]
    (here / f"{xorb}.xorb").write_bytes(get(urls[xorb], part["start"], part["end"]))
text = json.dumps(
    {
        "hash": kept.hash,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "reconstruction": whole,
        "of each MiB": stretches,
    },
    indent=1,
)
(here / "file.json").write_text(text + "\n")
