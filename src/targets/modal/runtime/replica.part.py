def tell(words: str) -> None:
    """Says something of this replica in its log, where `goatbuild status` looks for it."""
    print(f"goatbuild-replica: {words}", file=sys.stderr, flush=True)


def end_with(process: subprocess.Popen[bytes], name: str, port: int) -> None:
    """Has the container end as soon as the process does. Modal watches nothing but the port: it would
    pay out the whole time of a start, and keep a guard that answers for an engine that is gone."""
    threading.Thread(target=watch, args=(process, name, port), daemon=True).start()


def watch(process: subprocess.Popen[bytes], name: str, port: int) -> None:
    """Waits for the end of the process, tells of it in one line, and takes the container along."""
    began = time.monotonic()
    while process.poll() is None and not is_open(port):
        time.sleep(0.1)
    when = "while starting" if process.poll() is not None else "after it had started"
    code = process.wait()
    how = f"exit code {code}" if code >= 0 else f"signal {-code}"
    tell(f"{name} ended {when}, with {how}, after {round(time.monotonic() - began)} s")
    # To Modal it is a container that crashed: what it was asked goes to another one, and the next ones
    # start ever later. An exception could not be raised where the client waits.
    os._exit(1)


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def compare_device() -> None:
    """Tells what this replica runs on, beside its start."""
    threading.Thread(target=tell_device, daemon=True).start()


def tell_device() -> None:
    """Tells the device, and that of the warm-up where it is another: its caches are of no use then."""
    here, there = device(), None
    if here is None:
        return
    for cache in MODEL["caches"][:1]:
        warmed = Path(cache["warmed"])
        receipt = warmed.parent / ".goatbuild" / f"warmup-{warmed.name}.json"
        with contextlib.suppress(OSError, ValueError):
            there = json.loads(receipt.read_text()).get("device")
    differs = f", and its caches were compiled on {there}" if there not in (None, here) else ""
    tell(f"it runs on {here}{differs}")
