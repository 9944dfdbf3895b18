def image_of(description: dict[str, Any]) -> modal.Image:
    """An image: built before, out of a registry, or to be built from what is locked."""
    if not modal.is_local():
        return modal.Image.debian_slim()  # inside a container, nothing is built
    if "id" in description:
        return modal.Image.from_id(description["id"])
    if "registry" in description:
        secret = description["secret"]
        return modal.Image.from_registry(
            description["registry"],
            secret=modal.Secret.from_name(secret) if secret else None,
        ).entrypoint([])
    if description["base"] == "debian-slim":
        image = modal.Image.debian_slim(python_version=description["python"])
    else:
        image = modal.Image.from_registry(
            description["base"], add_python=description["python"]
        ).entrypoint([])
    if description["packages"]:
        image = image.apt_install(*description["packages"])
    # What is large changes seldom, and comes first.
    for requirements in description["requirements"]:
        file = Path(tempfile.mkdtemp()) / "requirements.txt"
        file.write_text("\n".join(requirements) + "\n")
        image = image.uv_pip_install(
            requirements=[str(file)],
            extra_options="--require-hashes --no-deps --only-binary :all:",
            uv_version=description["uv"],
        )
    return image.env(description["environment"])
