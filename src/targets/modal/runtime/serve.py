# --- what follows is the same for every model ---

app = modal.App(MODEL["app"], tags=MODEL["tags"])

# <image>


# <volumes>


# <engine>


# <replica>


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
    min_containers=MODEL["min_containers"],
    max_containers=MODEL["max_containers"],
    buffer_containers=MODEL["buffer_containers"],
    scaledown_window=MODEL["scaledown_window"],
    startup_timeout=MODEL["startup_timeout"],
    timeout=MODEL["timeout"],
)
@modal.concurrent(max_inputs=MODEL["max_inputs"])
@modal.web_server(
    MODEL["port"],
    startup_timeout=MODEL["startup_timeout"],
    requires_proxy_auth=MODEL["proxy_auth"],
)
def serve() -> None:
    """Starts the engine; Modal waits for its port, and the container ends with it."""
    for cache in MODEL["caches"]:
        # A copy of the warmed cache: the engine may write, and the volume stays as it was warmed.
        if Path(cache["warmed"]).exists():
            shutil.copytree(cache["warmed"], cache["at"], dirs_exist_ok=True)
    # <guarded>
    compare_device()
    end_with(start(), "the engine", MODEL.get("engine_port", MODEL["port"]))


# <guard>
