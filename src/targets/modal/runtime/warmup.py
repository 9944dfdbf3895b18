# --- what follows is the same for every model ---

app = modal.App(MODEL["app"], tags=MODEL["tags"])

# <image>


def volumes() -> dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount]:
    """The weights to read, and the caches to fill."""
    mounted: dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount] = {}
    for mount in MODEL["volumes"]:
        volume = modal.Volume.from_name(mount["volume"])
        mounted[mount["at"]] = volume.with_mount_options(read_only=True)
    for cache in MODEL["caches"]:
        mounted[cache["filled"]] = modal.Volume.from_name(
            cache["volume"], create_if_missing=True
        )
    return mounted


# <engine>


class Refused(Exception):
    """Something that has to be told in a person's words; its first argument is its code."""


@app.function(
    image=image_of(MODEL["image"]),
    gpu=MODEL["gpu"],
    cpu=MODEL["cpu"],
    memory=MODEL["memory_mib"],
    region=MODEL["region"],
    cloud=MODEL["cloud"],
    volumes=volumes(),
    secrets=[
        modal.Secret.from_name(secret["name"], required_keys=[secret["variable"]])
        for secret in MODEL["secrets"]
    ],
    startup_timeout=MODEL["startup_timeout"],
    timeout=2 * MODEL["startup_timeout"] + 600,
    max_containers=1,
)
def warm() -> dict[str, Any]:
    """Starts the engine twice as it will serve, and keeps what the first start compiled."""
    try:
        return {"ok": fill()}
    except Refused as refused:
        return {"refused": {"code": refused.args[0], "message": refused.args[1]}}


def fill() -> dict[str, Any]:
    """Compiles, checks that a second start does not, and keeps it; the receipt comes last."""
    for cache in MODEL["caches"]:
        shutil.rmtree(cache["at"], ignore_errors=True)
        Path(cache["at"]).mkdir(parents=True)
    first = try_out()
    before, told = contents(), factors()
    second = try_out()
    after = contents()
    differing = sorted(differences(told, factors()))
    written = sorted(name for name in after if before.get(name) != after[name])
    if differing:
        raise Refused("cold", f"its cache key differs in {', '.join(differing[:5])}")
    graphs = [name for name in written if set(Path(name).parts) & set(MODEL["graphs"])]
    if graphs or (written and saved_nothing(first, second)):
        raise Refused("cold", f"it wrote {', '.join((graphs or written)[:5])}")
    for cache in MODEL["caches"]:
        filled = Path(cache["filled"]) / MODEL["key"]
        # What a warm-up that was cut short has left.
        shutil.rmtree(filled, ignore_errors=True)
        shutil.copytree(cache["at"], filled)
        modal.Volume.from_name(cache["volume"]).commit()
    receipt = Path(MODEL["caches"][0]["filled"]) / ".goatbuild" / f"warmup-{MODEL['key']}.json"
    receipt.parent.mkdir(exist_ok=True)
    evidence = {
        "first_seconds": round(first, 1),
        "second_seconds": round(second, 1),
        "device": device(),
    }
    fields = {"key": MODEL["key"], "model": MODEL["model"], "factors": kept(told)}
    receipt.write_text(json.dumps(fields | evidence | {"files": after}, indent=1))
    modal.Volume.from_name(MODEL["caches"][0]["volume"]).commit()
    return evidence | {"files": len(after), "written": written}


def saved_nothing(first: float, second: float) -> bool:
    """Whether the second start took as long as one that compiles; as goatbuild's own warm-up has it."""
    return second > 0.8 * first or first - second < 2


def try_out() -> float:
    """Starts the engine, asks it something, and stops it; seconds until it was healthy."""
    began = time.monotonic()
    engine = start()
    try:
        root = f"http://127.0.0.1:{MODEL['port']}"
        while time.monotonic() - began < MODEL["startup_timeout"]:
            if engine.poll() is not None:
                raise Refused("start", f"the engine ended with {engine.returncode}")
            try:
                urllib.request.urlopen(root + MODEL["health"], timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            raise Refused("start", f"not healthy after {MODEL['startup_timeout']} s")
        took = time.monotonic() - began
        # <question>
        return took
    except OSError as error:
        raise Refused("start", f"the engine did not answer: {error}") from error
    finally:
        engine.terminate()
        try:
            engine.wait(60)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()


def contents() -> dict[str, str]:
    """The digest of every file in the caches, but for notes beside what is compiled."""
    found = {}
    for cache in MODEL["caches"]:
        for path in sorted(Path(cache["at"]).rglob("*")):
            if path.is_file() and not is_note(path):
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def is_note(path: Path) -> bool:
    """Locks, logs that are appended to, and what ninja writes down of each run."""
    return path.suffix in (".lock", ".log") or path.name.startswith(".ninja_")


def factors() -> dict[str, dict[str, str]]:
    """What the engine says went into its key, as digests."""
    found = {}
    for cache in MODEL["caches"]:
        for path in Path(cache["at"]).rglob(MODEL["factors"] or "/"):
            told = flat(json.loads(path.read_text()))
            found[str(path)] = {
                name: hashlib.sha256(value.encode()).hexdigest()[:16]
                for name, value in told.items()
            }
    return found


def kept(told: dict[str, dict[str, str]]) -> dict[str, dict[str, str | None]]:
    """What may be written down: nothing of what may be a secret, since a short one could be guessed."""
    words = ("KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "AUTH")

    def secret(name: str) -> bool:
        return any(word in name.upper() for word in words)

    return {
        path: {name: None if secret(name) else digest for name, digest in each.items()}
        for path, each in told.items()
    }


def flat(value: Any, name: str = "") -> dict[str, str]:
    """The leaves of nested objects, by dotted name."""
    if not isinstance(value, dict):
        return {name: json.dumps(value, sort_keys=True)}
    leaves: dict[str, str] = {}
    for key, below in value.items():
        leaves |= flat(below, f"{name}.{key}" if name else key)
    return leaves


def differences(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> set[str]:
    """The names in which a new key differs from the one that is most like it."""
    differing: set[str] = set()
    for path, told in after.items():
        if before.get(path) == told:
            continue
        apart = [
            {name for name in told.keys() | old.keys() if told.get(name) != old.get(name)}
            for old in before.values()
        ]
        differing |= min(apart, key=len, default=set())
    return differing
