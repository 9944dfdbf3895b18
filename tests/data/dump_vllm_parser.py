"""Prints what vLLM's own parser takes, as JSON: one object per flag.

Run with the vLLM to ask on the path: `python dump_vllm_parser.py > vllm-VERSION.json`. The parser is
that of `vllm serve`, and before 0.9 that of `python -m vllm.entrypoints.openai.api_server`.
"""

import argparse
import json

from vllm import envs
from vllm.model_executor.models.registry import ModelRegistry
from vllm.reasoning import ReasoningParserManager
from vllm.version import __version_tuple__

try:
    from vllm.tool_parsers import ToolParserManager
    from vllm.utils.argparse_utils import FlexibleArgumentParser
except ImportError:
    from vllm.entrypoints.openai.tool_parsers import ToolParserManager
    from vllm.utils import FlexibleArgumentParser


def server():
    parser = FlexibleArgumentParser()
    if __version_tuple__[:2] < (0, 9):
        from vllm.entrypoints.openai.cli_args import make_arg_parser

        return make_arg_parser(parser)
    from vllm.entrypoints.cli.serve import cmd_init

    [command] = [command for command in cmd_init() if command.name == "serve"]
    return command.subparser_init(parser.add_subparsers(dest="subparser"))


def registered(manager, attribute):
    lazy = getattr(manager, "list_registered", None)
    return sorted(lazy() if lazy else getattr(manager, attribute))


def reads(action, text):
    """What the flag makes of a text: its type's name, or nothing when it refuses."""
    try:
        return type(action.type(text)).__name__ if action.type else "str"
    except Exception:
        return None


TEXTS = ["7", "7k", "0.5", "auto", "word", '{"x": 1}']


def described(action, name):
    """What isn't said is false or none, `reads` that every text is taken as it is."""
    read = {text: reads(action, text) for text in TEXTS}
    plain = action.nargs == 0 or set(read.values()) == {"str"}
    described = {
        "append": isinstance(action, argparse._AppendAction),
        "choices": sorted(map(str, action.choices or [])),
        "nargs": None if action.nargs in (None, 0) else str(action.nargs),
        "negative": f"no-{name}" in known,
        "reads": None if plain else {text: kind for text, kind in read.items() if kind},
        "switch": action.nargs == 0,
    }
    return {key: value for key, value in described.items() if value not in (None, False, [])}


# What the parser knows, not what it shows: 0.33.0 hides some.
known = {name[2:]: action for name, action in server()._option_string_actions.items() if name.startswith("--")}
# `--no-…` of a flag is no flag of its own.
negatives = {f"no-{name}" for name in known}
flags = {name: described(action, name) for name, action in known.items() if name not in negatives | {"help"}}

parts = {
    "architectures": sorted(ModelRegistry.get_supported_archs()),
    "environment": sorted(envs.environment_variables),
    "reasoning-parsers": registered(ReasoningParserManager, "reasoning_parsers"),
    "tool-parsers": registered(ToolParserManager, "tool_parsers"),
}
# One line per flag.
lines = [f"  {json.dumps(name)}: {json.dumps(flags[name])}" for name in sorted(flags)]
print('{\n "flags": {\n' + ",\n".join(lines) + "\n }", end="")
for name, words in parts.items():
    print(f",\n {json.dumps(name)}: {json.dumps(words)}", end="")
print("\n}")
