# --- what follows is the same for every repository ---

app = modal.App(WEIGHTS["app"], tags=WEIGHTS["tags"])

# <image>

volume = modal.Volume.from_name(WEIGHTS["volume"], create_if_missing=True)
root = Path(WEIGHTS["at"])

#: How many files are fetched at once.
PARALLEL = 8
#: After how many seconds what has come so far is kept, whatever happens then.
KEEP_EVERY = 60.0
#: How often an address is asked that isn't the hub's: its client has patience of its own.
ATTEMPTS = 3
#: What lines begin with that are for the program that waits for this one.
PROGRESS = "goatbuild-progress "


class Refused(Exception):
    """Something that has to be told in a person's words; its first argument is its code."""


@app.function(
    image=image_of(WEIGHTS["image"]),
    volumes={WEIGHTS["at"]: volume},
    secrets=[modal.Secret.from_name(name) for name in WEIGHTS["secrets"]],
    # No more than that is used, or billed.
    cpu=(4.0, 4.0),
    memory=4096,
    timeout=WEIGHTS["timeout"],
    max_containers=1,
)
def fetch() -> dict[str, Any]:
    """Puts the locked files into the volume: each verified, the receipt last. No GPU."""
    try:
        return {"ok": place()}
    except Refused as refused:
        return {"refused": {"code": refused.args[0], "message": refused.args[1]}}


def place() -> dict[str, int]:
    """Fetches what isn't there; says how many bytes came and how many were there."""
    volume.reload()
    came, there = 0, 0
    kept = time.monotonic()
    over = threading.Event()
    teller = threading.Thread(target=tell, args=(over,))
    teller.start()
    try:
        with ThreadPoolExecutor(PARALLEL) as pool:
            for size, fetched in pool.map(bring, WEIGHTS["files"]):
                came, there = came + size * fetched, there + size * (not fetched)
                if time.monotonic() - kept > KEEP_EVERY:
                    volume.commit()
                    kept = time.monotonic()
    finally:
        over.set()
        teller.join()
    for name in WEIGHTS["references"]:
        reference = repository / "refs" / name
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(WEIGHTS["commit"])
    volume.commit()
    receipt = root / ".goatbuild" / f"weights-{WEIGHTS['key']}.json"
    receipt.parent.mkdir(exist_ok=True)
    fields = ("key", "repository", "commit", "files")
    receipt.write_text(json.dumps({name: WEIGHTS[name] for name in fields}, indent=1))
    volume.commit()
    return {"fetched": came, "reused": there}


#: Where the hub's client puts the repository.
repository = root / "hub" / f"models--{WEIGHTS['repository'].replace('/', '--')}"
#: The size of each file that is there, by path.
settled: dict[str, int] = {}


def tell(over: threading.Event) -> None:
    """Tells each second, and once more at the end, how many bytes are there."""
    ended = False
    while not ended:
        ended = over.wait(1.0)
        coming = 0
        for path in repository.glob("blobs/*.incomplete"):
            with contextlib.suppress(OSError):
                coming += path.stat().st_size
        done = sum(list(settled.values())) + coming
        print(f"{PROGRESS}{json.dumps({'done': done})}", flush=True)


def bring(file: dict[str, Any]) -> tuple[int, bool]:
    """One file, verified: its size, and whether it was fetched."""
    if WEIGHTS["url"] is not None:
        return bring_from(WEIGHTS["url"], file)
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    where = {
        "repo_id": WEIGHTS["repository"],
        "filename": file["path"],
        "revision": WEIGHTS["commit"],
        "cache_dir": root / "hub",
    }
    known = try_to_load_from_cache(**where)
    if isinstance(known, str) and verified(Path(known), file):
        settled[file["path"]] = file["size"]
        return file["size"], False
    if isinstance(known, str):
        discard(Path(known))
    try:
        path = Path(hf_hub_download(**where, endpoint=WEIGHTS["endpoint"]))
    except Exception as error:
        raise explained(error, file["path"]) from error
    if not verified(path, file):
        discard(path)
        raise Refused("bytes", f"{file['path']} is not the file that is locked")
    settled[file["path"]] = file["size"]
    return file["size"], True


def bring_from(url: str, file: dict[str, Any]) -> tuple[int, bool]:
    """The same of a file with an address of its own, in the layout of the hub's client."""
    path = repository / "snapshots" / WEIGHTS["commit"] / file["path"]
    if path.exists() and verified(path, file):
        settled[file["path"]] = file["size"]
        return file["size"], False
    discard(path)
    blob = repository / "blobs" / file["sha256"]
    coming = blob.with_suffix(".incomplete")
    for directory in (path.parent, blob.parent):
        directory.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, coming.open("wb") as stream:
                shutil.copyfileobj(answer, stream)
            break
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise Refused("full", f"{file['path']}: {error}") from error
            if attempt == ATTEMPTS:
                raise Refused("address", f"{url}: {error}") from error
            time.sleep(attempt)
    if not verified(coming, file):
        coming.unlink()
        raise Refused("bytes", f"{url} is not the file that is locked")
    coming.rename(blob)
    path.symlink_to(os.path.relpath(blob, path.parent))
    settled[file["path"]] = file["size"]
    return file["size"], True


def verified(path: Path, file: dict[str, Any]) -> bool:
    """Whether the bytes are those of the lock: SHA-256, or git's blob id for small files."""
    if path.stat().st_size != file["size"]:
        return False
    if file["sha256"] is not None:
        digest, wanted = hashlib.sha256(), file["sha256"]
    else:
        digest, wanted = hashlib.sha1(f"blob {file['size']}\0".encode()), file["git"]
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == wanted


def discard(path: Path) -> None:
    """Removes a name and the bytes behind it, so that they are fetched anew."""
    bytes_behind = path.resolve()
    path.unlink(missing_ok=True)
    bytes_behind.unlink(missing_ok=True)


def explained(error: Exception, path: str) -> Refused:
    """What went wrong, as a code that the laptop has words for."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    code = (
        "full"
        if full
        else "gated"
        if isinstance(error, GatedRepoError)
        else "token"
        if status == 401
        else "repository"
        if isinstance(error, RepositoryNotFoundError)
        else "revision"
        if isinstance(error, (RevisionNotFoundError, EntryNotFoundError))
        else "limit"
        if status == 429
        else "fetch"
    )
    return Refused(code, f"{path}: {str(error).strip().splitlines()[0]}")
