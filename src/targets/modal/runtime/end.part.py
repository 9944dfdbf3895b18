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
    seconds = round(time.monotonic() - began)
    print(f"goatbuild: {name} ended {when}, with {how}, after {seconds} s", file=sys.stderr, flush=True)
    # To Modal it is a container that crashed: what it was asked goes to another one, and the next ones
    # start ever later. An exception could not be raised where the client waits.
    os._exit(1)


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
