//! Reading definitions as vLLM writes them. That whole versions are read right is compared with
//! their real parsers in `tests/vllm_flags.rs`.

use super::*;

fn engine(files: &[(&str, &str)]) -> LockedEngine {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    read(&files.collect(), "vllm", "1.0").engine
}

fn flags(text: &str) -> BTreeMap<String, String> {
    let engine = engine(&[("vllm/engine/arg_utils.py", text)]);
    engine.flags.into_iter().map(|(name, flag)| (name, flag.to_string())).collect()
}

#[track_caller]
fn assert_flags(text: &str, wanted: &[(&str, &str)]) {
    let wanted = wanted.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned()));
    assert_eq!(flags(text), wanted.collect());
}

#[test]
fn plain_calls_say_what_is_taken() {
    assert_flags(
        r#"
class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        parser.add_argument("--max-model-len", type=human_readable_int, default=None,
                            help="Length, (e.g. '1k')" " or more")
        parser.add_argument('--dtype', '-d', type=str, choices=['auto', 'half'])
        parser.add_argument("--trust", action="store_true")
        parser.add_argument("--hf-token", type=str, nargs='?', const=True)
        parser.add_argument("--names", nargs="+", type=optional_type(str))
        parser.add_argument("--ignore", action="append", type=str, default=[])
        if not ("serve" in sys.argv[1:]):
            parser.add_argument("--overrides", type=json.loads)
        parser.add_argument("positional")
        return parser
"#,
        &[
            ("dtype", "one-of auto|half"),
            ("hf-token", "text ?"),
            ("ignore", "text *"),
            ("max-model-len", "size"),
            ("names", "text ..."),
            ("overrides", "json"),
            ("trust", "switch"),
        ],
    );
}

#[test]
fn flags_of_classes_follow_the_fields_types() {
    assert_flags(
        r#"
from typing import TYPE_CHECKING, Literal
if TYPE_CHECKING:
    Loose = Literal["seen", "by", "checkers"]
else:
    Loose = Any
Size = Literal[1, 8]
def union_dict_and_str(val): ...
def _compute_kwargs(cls):
    for field in fields(cls):
        human_readable_ints = {"tokens", "other"}

@config
@dataclass
class Inner:
    deep: bool = False
    """Said about it."""

@config
@dataclass(config=ConfigDict(extra="forbid"))
class Config:
    on: bool | None = None
    size: SkipValidation[Size] = None  # type: ignore
    tokens: int = Field(default=1, ge=0)
    share: float = 0.9
    loose: Loose = "x"
    words: list[Literal["a", "b"]] | None = None
    either: dict[str, Any] | str = ""
    table: dict[str, int] = field(default_factory=dict)
    inner: Inner = field(default_factory=lambda: Inner(deep=True))
    hidden: ClassVar[int] = 3

def add_cli_args(parser):
    kwargs = get_kwargs(Config)
    kwargs["table"]["type"] = optional_type(json.loads)
    group = parser.add_argument_group(title="Config", description=Config.__doc__)
    for key, value in kwargs.items():
        group.add_argument(f"--{key.replace('_', '-')}", **value)
    group.add_argument("--renamed", **kwargs["size"])
    group.add_argument("--merged", **{**kwargs["share"], "default": None})
"#,
        &[
            ("either", "json-or-text"),
            ("inner", "object Inner"),
            ("loose", "text"),
            ("merged", "number"),
            ("on", "toggle"),
            ("renamed", "one-of 1|8"),
            ("share", "number"),
            ("size", "one-of 1|8"),
            ("table", "json"),
            ("tokens", "size"),
            ("words", "one-of a|b|None ..."),
        ],
    );
}

#[test]
fn names_are_followed_through_modules_and_missing_ones_are_asked_for() {
    let arguments = "from vllm.config import Config, Gone\n\
        def add_cli_args(parser):\n    kwargs = get_kwargs(Config)\n    \
        parser.add_argument('--kind', **kwargs['kind'])\n";
    let files: BTreeMap<String, String> = [
        ("vllm/engine/arg_utils.py", arguments),
        ("vllm/config/__init__.py", "from .cache import Config\n"),
        ("vllm/config/cache.py", "from ..types import Kind\nclass Config:\n    kind: Kind = 'a'\n"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .into();
    let reading = read(&files, "vllm", "1.0");
    assert!(reading.wanted.contains("vllm.types"), "{:?}", reading.wanted);
    let mut files = files;
    files.insert("vllm/types.py".to_owned(), "Kind = Literal['a', 'b']\n".to_owned());
    let reading = read(&files, "vllm", "1.0");
    assert_eq!(reading.engine.flags["kind"].to_string(), "one-of a|b");
}

#[test]
fn parsers_variables_and_architectures_are_listed_old_and_new() {
    let old = engine(&[
        ("vllm/entrypoints/openai/tool_parsers/__init__.py", "from .hermes import Hermes\n"),
        (
            "vllm/entrypoints/openai/tool_parsers/hermes.py",
            "@ToolParserManager.register_module(['hermes', 'h2'])\nclass Hermes(ToolParser):\n    pass\n",
        ),
    ]);
    assert_eq!(old.tool_parsers, ["h2", "hermes"].map(str::to_owned).into());
    let new = engine(&[
        (
            "vllm/tool_parsers/__init__.py",
            "_TOOL_PARSERS_TO_REGISTER = {\"openai\": (\"f\", \"C\")}\n",
        ),
        (
            "vllm/envs.py",
            "environment_variables: dict[str, Callable[[], Any]] = {\n    # One.\n    \"VLLM_A\": lambda: os.getenv(\"VLLM_A\", \"x\").lower()\n    or \"y\",\n    \"VLLM_B\": env_with_choices(\"VLLM_B\", None),\n}\n",
        ),
        (
            "vllm/model_executor/models/registry.py",
            "_TEXT_MODELS = {\"A\": (\"a\", \"A\")}\n_PREVIOUSLY_SUPPORTED_MODELS = {\"Old\": \"0.1\"}\n",
        ),
        (
            "vllm/config/speculative.py",
            "class S:\n    def check(self):\n        eagle3_target_supported = [\"llama\", \"qwen\"]\n",
        ),
    ]);
    assert_eq!(new.tool_parsers, ["openai".to_owned()].into());
    assert_eq!(new.environment, ["VLLM_A", "VLLM_B"].map(str::to_owned).into());
    assert_eq!(new.architectures, ["A".to_owned()].into());
    assert_eq!(new.eagle3_targets, ["llama", "qwen"].map(str::to_owned).into());
}

#[test]
fn what_is_no_python_is_passed_over() {
    for text in
        ["", "def add_cli_args(", "class :\n  )))", "x = [", "'''", "\\", "a = b = c: d\n}{"]
    {
        assert!(flags(text).is_empty(), "{text}");
    }
}
