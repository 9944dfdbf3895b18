"""Starts the real client's container entrypoint in a Python that need not have the client.

`boot.py CLIENT_SITE_PACKAGES`: they come last, behind what the Python has itself, as Modal's own mount of the
client does.
"""

import os
import runpy
import sys

sys.path[0] = os.getcwd()
sys.path.append(sys.argv.pop(1))

if os.environ.pop("MODAL_DOUBLE_LOOPBACK_ONLY", ""):
    # No interface but the loopback could be made, so the check that a server listens on all of them is lost.
    import modal._runtime.asgi

    modal._runtime.asgi.get_ip_address = lambda _name: "127.0.0.1"

if checkpoint := os.environ.pop("MODAL_DOUBLE_CHECKPOINT", ""):
    import modal._runtime.gpu_memory_snapshot

    modal._runtime.gpu_memory_snapshot.RUNTIME_CHECKPOINT_WAIT_PATH = checkpoint

sys.argv[0] = "modal._container_entrypoint"
runpy.run_module("modal._container_entrypoint", run_name="__main__")
