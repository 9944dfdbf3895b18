"""gpt-oss on Modal, with a draft model: GPT_OSS=gpt-oss-20b modal deploy modal_gpt_oss.py --env goat"""

import json
import os
import subprocess

import modal

MINUTES = 60
PORT = 8000
FAST_BOOT = False
MAX_INPUTS = 32

VARIANTS = {
    "gpt-oss-20b": dict(
        model="openai/gpt-oss-20b",
        revision="d666cf3b67006cf8227666739edf25164aaffdeb",
        draft="RedHatAI/gpt-oss-20b-speculator.eagle3",
    ),
    "gpt-oss-120b": dict(
        model="openai/gpt-oss-120b",
        revision="b5c939de8f754692c1647ca79fbf85e8c1e70f8a",
        draft="nvidia/gpt-oss-120b-Eagle3-v2",
    ),
}
VARIANT = os.environ.get("GPT_OSS", "gpt-oss-20b")
CONFIG = VARIANTS[VARIANT]

image = (
    modal.Image.from_registry("nvidia/cuda:12.8.1-devel-ubuntu22.04", add_python="3.12")
    .entrypoint([])
    .uv_pip_install("vllm==0.13.0", "huggingface_hub[hf_transfer]==0.36.0")
    .env({"VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8": "1", "GPT_OSS": VARIANT})
)
hub = modal.Volume.from_name("goat-model-cache", environment_name="goat")
vllm = modal.Volume.from_name("goat-vllm-cache", environment_name="goat")
flashinfer = modal.Volume.from_name("goat-flashinfer-cache", environment_name="goat")

app = modal.App("goat-vllm-" + VARIANT)


@app.function(
    image=image,
    gpu="H100",
    scaledown_window=5 * MINUTES,
    timeout=60 * MINUTES,
    volumes={
        "/root/.cache/huggingface": hub,
        "/root/.cache/vllm": vllm,
        "/root/.cache/flashinfer": flashinfer,
    },
    secrets=[modal.Secret.from_name("goat-hf-token", environment_name="goat")],
)
@modal.concurrent(max_inputs=MAX_INPUTS)
@modal.web_server(port=PORT, startup_timeout=30 * MINUTES)
def serve():
    cmd = [
        "vllm",
        "serve",
        "--uvicorn-log-level=info",
        CONFIG["model"],
        "--revision",
        CONFIG["revision"],
        "--served-model-name",
        CONFIG["model"],
        "llm",
        "--host",
        "0.0.0.0",
        "--port",
        str(PORT),
    ]
    cmd += ["--enforce-eager" if FAST_BOOT else "--no-enforce-eager"]
    if not FAST_BOOT:
        compilation = {"pass_config": {"fuse_allreduce_rms": True, "eliminate_noops": True}}
        # A shell reads the line.
        cmd += ["--compilation-config", f"'{json.dumps(compilation)}'"]
    drafted = {"model": CONFIG["draft"], "method": "eagle3", "num_speculative_tokens": 7}
    cmd += ["--speculative-config", "'" + json.dumps(drafted) + "'"]
    cmd += ["--kv-cache-dtype", "fp8", "--max-model-len", "32768", "--async-scheduling"]
    cmd += [f"--max-num-seqs={MAX_INPUTS}", "--stream-interval", "20", "--max-num-batched-tokens", f"{16 * 1024}"]
    subprocess.Popen(" ".join(cmd), shell=True)
