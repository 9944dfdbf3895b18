# --- what follows is the same for every model that starts from a snapshot ---

app = modal.App(MODEL["app"], tags=MODEL["tags"])

# <image>


# <volumes>


# <engine>


# <replica>


@app.cls(
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
    min_containers=MODEL["min_containers"],
    max_containers=MODEL["max_containers"],
    buffer_containers=MODEL["buffer_containers"],
    scaledown_window=MODEL["scaledown_window"],
    startup_timeout=MODEL["startup_timeout"],
    timeout=MODEL["timeout"],
    enable_memory_snapshot=True,
    experimental_options={"enable_gpu_snapshot": True},
)
@modal.concurrent(max_inputs=MODEL["max_inputs"])
class Server:
    """The engine: started and put to sleep once, and woken each time that a replica starts."""

    @modal.enter(snap=True)
    def fall_asleep(self) -> None:
        """What the snapshot is taken of: an engine that has answered, and has let go of the GPU."""
        for cache in MODEL["caches"]:
            # A copy of the warmed cache: the engine may write, and the volume stays as it was warmed.
            if Path(cache["warmed"]).exists():
                shutil.copytree(cache["warmed"], cache["at"], dirs_exist_ok=True)
        # <guarded>
        end_with(start(), "the engine", MODEL["engine_port"])
        self.wait()
        # <question>
        self.ask("/sleep?level=1")

    @modal.enter(snap=False)
    def wake_up(self) -> None:
        """What each replica does, be it the first one, or restored from the snapshot."""
        compare_device()
        self.ask("/wake_up")
        self.wait()

    @modal.web_server(
        MODEL["port"],
        startup_timeout=MODEL["startup_timeout"],
        requires_proxy_auth=MODEL["proxy_auth"],
        label=MODEL["label"],
    )
    def serve(self) -> None:
        """Modal waits for the guard's port, which is open by now."""

    def wait(self) -> None:
        """Waits until the engine is healthy."""
        end = time.monotonic() + MODEL["startup_timeout"]
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                self.ask(MODEL["health"], method="GET", seconds=5)
                return
        raise RuntimeError(f"the engine is not healthy after {MODEL['startup_timeout']} s")

    def ask(
        self,
        path: str,
        question: dict[str, Any] | None = None,
        method: str = "POST",
        seconds: int = 600,
    ) -> None:
        """Asks the engine, behind the guard."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{MODEL['engine_port']}{path}",
            None if question is None else json.dumps(question).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                answer.read()
        except OSError:
            # If the engine has ended, the container ends meanwhile, and that is all there is to say.
            time.sleep(0.5)
            raise


# <guard>
