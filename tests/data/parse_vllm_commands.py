"""Hands command lines to the parser of the vLLM beside it, and serves what that made of them.

`commands.json` lies beside this file: by name, the words behind `vllm serve`.
"""

import argparse
import contextlib
import http.server
import io
import json
import pathlib

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.openai.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.tool_parsers import ToolParserManager
from vllm.utils.argparse_utils import FlexibleArgumentParser


def made_of(words):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(words)
            validate_parsed_serve_args(parsed)
            # `vllm serve` takes the model from there; it looks whether the path exists.
            parsed.model = str(pathlib.Path(__file__).parent)
            engine = AsyncEngineArgs.from_cli_args(parsed)
            parser = ToolParserManager.get_tool_parser(parsed.tool_call_parser)
    except (Exception, SystemExit) as error:
        return {"refused": f"{type(error).__name__}: {error} {said.getvalue()}"}
    passes = engine.compilation_config.pass_config
    return {
        "model": parsed.model_tag,
        "served-model-name": engine.served_model_name,
        "tool-parser": parser.__name__,
        "auto-tool-choice": parsed.enable_auto_tool_choice,
        "async-scheduling": engine.async_scheduling,
        "kv-cache-dtype": engine.kv_cache_dtype,
        "max-cudagraph-capture-size": engine.max_cudagraph_capture_size,
        "max-model-len": engine.max_model_len,
        "max-num-batched-tokens": engine.max_num_batched_tokens,
        "stream-interval": engine.stream_interval,
        "draft": engine.speculative_config,
        "passes": [passes.fuse_allreduce_rms, passes.eliminate_noops],
    }


options = argparse.ArgumentParser()
options.add_argument("--host", required=True)
options.add_argument("--port", type=int, required=True)
options = options.parse_args()
commands = json.loads(pathlib.Path(__file__).with_name("commands.json").read_text())
answer = json.dumps({name: made_of(words) for name, words in commands.items()}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


http.server.HTTPServer((options.host, options.port), Handler).serve_forever()
