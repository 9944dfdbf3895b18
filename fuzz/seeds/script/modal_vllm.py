"""Qwen and Llama on Modal, an app for each: VLLM_MODEL=qwen3-4b modal deploy modal_vllm.py --env goat"""

import os
import subprocess
import sys

import modal

MODAL_ENVIRONMENT = "goat"
MINUTES = 60
PORT = 8000

MODELS = {
    "llama-3.1-8b": {
        "hub": "meta-llama/Llama-3.1-8B-Instruct",
        "gpu": "A10G",
        "n_gpu": 1,
        "length": 8192,
        "tools": "llama3_json",
    },
    "qwen3-4b": {"hub": "Qwen/Qwen3-4B-Instruct-2507", "gpu": "A10G", "n_gpu": 1, "length": 8192},
    "qwen3-30b-a3b": {"hub": "Qwen/Qwen3-30B-A3B-Instruct-2507", "gpu": "A10G", "n_gpu": 1, "length": 8192},
    "qwen3-235b": {
        "hub": "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
        "gpu": "A100-80GB",
        "n_gpu": 2,
        "length": 8192,
        "extra": ["--gpu-memory-utilization", "0.95"],
    },
}

KEY = os.environ.get("VLLM_MODEL", "llama-3.1-8b")
if KEY not in MODELS:
    print(f"there is no {KEY}; there are {', '.join(MODELS.keys())}")
    sys.exit(1)
row = MODELS[KEY]

app = modal.App(f"goat-vllm-{KEY}")

weights = modal.Volume.from_name("goat-model-cache", create_if_missing=True, environment_name=MODAL_ENVIRONMENT)
compiled = modal.Volume.from_name("goat-vllm-cache", create_if_missing=True, environment_name=MODAL_ENVIRONMENT)

vllm_image = (
    modal.Image.debian_slim(python_version="3.11")
    .pip_install("vllm==0.8.5.post1", "huggingface_hub[hf_transfer]", "transformers>=4.45,<5.0")
    .env({"HF_HUB_ENABLE_HF_TRANSFER": "1", "VLLM_MODEL": KEY})
)

hf_secret = modal.Secret.from_name("goat-hf-token", environment_name=MODAL_ENVIRONMENT)


@app.function(
    image=vllm_image,
    gpu=f"{row['gpu']}:{row['n_gpu']}",
    secrets=[hf_secret],
    volumes={"/root/.cache/huggingface": weights, "/root/.cache/vllm": compiled},
    timeout=60 * MINUTES,
    scaledown_window=5 * MINUTES,
)
@modal.concurrent(max_inputs=32)
@modal.web_server(port=PORT, startup_timeout=15 * MINUTES)
def serve():
    cmd = ["python", "-m", "vllm.entrypoints.openai.api_server", "--model", row["hub"]]
    cmd += ["--served-model-name", row["hub"], "--host", "0.0.0.0", "--port", str(PORT)]
    cmd += ["--tensor-parallel-size", str(row["n_gpu"]), "--max-model-len", str(row["length"])]
    cmd.append("--enforce-eager")
    cmd.extend(["--enable-auto-tool-choice", "--tool-call-parser", row.get("tools", "hermes")])
    cmd += row.get("extra", [])
    subprocess.Popen(cmd)


@app.local_entrypoint()
def test():
    print(serve.web_url)
