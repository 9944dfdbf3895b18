def volumes() -> dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount]:
    """What replicas see of the volumes: they read, and never write."""
    mounted: dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount] = {}
    for mount in MODEL["volumes"]:
        volume = modal.Volume.from_name(mount["volume"])
        mounted[mount["at"]] = volume.with_mount_options(read_only=True)
    return mounted
