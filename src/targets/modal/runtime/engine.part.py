def start() -> subprocess.Popen[bytes]:
    """Starts the engine: the same way for warming up and for serving."""
    environment = os.environ | MODEL["environment"]
    # The hub's token is for fetching weights alone.
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        environment.pop(name, None)
    # Engines that load what a request names find it under the name that requests use.
    named = Path("/root/goatbuild") / MODEL["served_name"]
    named.parent.mkdir(parents=True, exist_ok=True)
    if not named.is_symlink():
        named.symlink_to(MODEL["weights"])
    return subprocess.Popen(MODEL["command"], env=environment, cwd="/root/goatbuild")


def device() -> str | None:
    """What the GPUs are called, as far as the driver's own tool says it."""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    names = {line.strip() for line in asked.stdout.splitlines() if line.strip()}
    return " and ".join(sorted(names)) or None
