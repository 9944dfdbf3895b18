"""Prints what vLLM's own parser takes, as JSON: one object per flag.

Run with the vLLM to ask on the path: `python dump_vllm_parser.py > vllm-VERSION.json`.
"""

import argparse
import json
import sys

from vllm import envs
from vllm.entrypoints.openai.cli_args import make_arg_parser
from vllm.model_executor.models.registry import ModelRegistry
from vllm.reasoning import ReasoningParserManager

try:
    from vllm.tool_parsers import ToolParserManager
    from vllm.utils.argparse_utils import FlexibleArgumentParser
except ImportError:
    from vllm.entrypoints.openai.tool_parsers import ToolParserManager
    from vllm.utils import FlexibleArgumentParser


def registered(manager, attribute):
    lazy = getattr(manager, "list_registered", None)
    return sorted(lazy() if lazy else getattr(manager, attribute))


def reads(action, text):
    """What the flag makes of a text: its type's name, or nothing when it refuses."""
    try:
        return type(action.type(text)).__name__ if action.type else "str"
    except Exception:
        return None


parser = make_arg_parser(FlexibleArgumentParser())
flags = {}
for action in parser._actions:
    names = [name[2:] for name in action.option_strings if name.startswith("--")]
    if not names or names[0] == "help":
        continue
    flags[names[0]] = {
        "negative": any(name.startswith("no-") for name in names),
        "switch": action.nargs == 0,
        "nargs": None if action.nargs in (None, 0) else str(action.nargs),
        "append": isinstance(action, argparse._AppendAction),
        "choices": None if not action.choices else sorted(map(str, action.choices)),
        "reads": {} if action.nargs == 0 else {
            text: reads(action, text) for text in ["7", "7k", "0.5", "word", '{"x": 1}']
        },
    }
json.dump(
    {
        "flags": flags,
        "environment": sorted(envs.environment_variables),
        "tool-parsers": registered(ToolParserManager, "tool_parsers"),
        "reasoning-parsers": registered(ReasoningParserManager, "reasoning_parsers"),
        "architectures": sorted(ModelRegistry.get_supported_archs()),
    },
    sys.stdout,
    indent=1,
    sort_keys=True,
)
