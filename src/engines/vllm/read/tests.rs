//! Reading definitions as vLLM writes them. That whole versions are read right is compared with
//! their real parsers in `tests/vllm_flags.rs`.

use super::*;
use crate::engine::ENTRY_POINTS;

/// A program whose parser `add_cli_args` in `vllm.engine.arg_utils` fills.
const PROGRAM: [(&str, &str); 3] = [
    (ENTRY_POINTS, "[other]\nvllm = x:y\n[console_scripts]\nvllm = vllm.main:main\n"),
    ("vllm/main.py", "def main():\n    import vllm.serve\n    import vllm.bench\n"),
    (
        "vllm/serve.py",
        "from vllm.engine.arg_utils import add_cli_args\n\
         class Serve:\n    name = 'serve'\n    def subparser_init(self, subparsers):\n        \
         parser = subparsers.add_parser(self.name)\n        return add_cli_args(parser)\n",
    ),
];

fn engine(files: &[(&str, &str)]) -> Taken {
    let files = PROGRAM.iter().chain(files);
    let files = files.map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
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
def add_cli_args(parser):
    return EngineArgs.add_cli_args(parser)
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
from typing import TYPE_CHECKING, Any, Literal
if TYPE_CHECKING:
    Loose = Literal["seen", "by", "checkers"]
else:
    Loose = Any
Size = Literal[1, 8]
def union_dict_and_str(val): ...
def get_kwargs(cls): ...
@dataclass_transform(field_specifiers=(Field,))
def config(cls): ...
def _compute_kwargs(cls):
    for field in fields(cls):
        human_readable_ints = {"tokens", "other"}
        if name in human_readable_ints:
            kwargs[name]["type"] = human_readable_int

@config
class Inner:
    deep: bool = False
    """Said about it."""

@config(config=ConfigDict(extra="forbid"))
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
    .into_iter()
    .chain(PROGRAM)
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .collect();
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

#[test]
fn base_classes_and_their_methods_are_followed() {
    assert_flags(
        r#"
from vllm.frontend import FrontendArgs
def human_readable_int_or_auto(value): ...
def get_kwargs(cls):
    for field in fields(cls):
        if name == "length":
            kwargs[name]["type"] = human_readable_int_or_auto
        elif type_hints == {bool, str, type(None)}:
            pass
class Base:
    shared: str = ""
    many: list[str] = field(default_factory=list)
    @classmethod
    def customize(cls, kwargs):
        kwargs["shared"]["type"] = json.loads
        return kwargs
    @classmethod
    def add_cli_args(cls, parser):
        kwargs = get_kwargs(cls)
        kwargs = cls.customize(kwargs)
        group = parser.add_argument_group(title=cls.__name__)
        for key, value in kwargs.items():
            extra = value.pop("flags", [])
            group.add_argument(*extra, f"--{key.replace('_', '-')}", **value)
        return parser
class Args(Base):
    own: bool = False
    length: int | None = None
    token: bool | str | None = None
    words: Literal["a", "b", "c"] = "a"
    loose: Literal["a", "b"] = "a"
    @classmethod
    def customize(cls, kwargs):
        kwargs = super().customize(kwargs)
        del kwargs["many"]["nargs"]
        kwargs["words"]["choices"].remove(GONE)
        alias = kwargs["loose"]
        alias["type"] = lambda word: word.lower()
        return kwargs
GONE = "c"
def add_cli_args(parser):
    parser.add_argument("--name", "--other-name", "-n")
    return Args.add_cli_args(parser)
"#,
        &[
            ("length", "size-or-auto"),
            ("loose", "text"),
            ("many", "text"),
            ("name", "text"),
            ("other-name", "text"),
            ("own", "toggle"),
            ("shared", "json"),
            ("token", "text ?"),
            ("words", "one-of a|b"),
        ],
    );
}

#[test]
fn what_can_not_be_followed_is_noted() {
    let unread = |text: &str| engine(&[("vllm/engine/arg_utils.py", text)]).unread;
    for text in [
        "from vllm.gone import more\ndef add_cli_args(parser):\n    more(parser)\n",
        "def add_cli_args(parser):\n    for name in names():\n        parser.add_argument(name)\n",
        "class A(Gone):\n    a: int = 1\ndef add_cli_args(parser):\n    all = get_kwargs(A)\n    \
         parser.add_argument('--a', **all['a'])\n",
        "def add_cli_args(parser):\n    add_cli_args(parser)\n",
    ] {
        assert_eq!(unread(text).len(), 1, "{text}");
    }
    // Where calls go too deep, as where nothing leads on, the function is named.
    for (call, name) in [("more(parser)", "more"), ("more.of(parser=parser)", "of")] {
        let text = format!("from vllm.gone import more\ndef add_cli_args(parser):\n    {call}\n");
        assert_eq!(unread(&text), [format!("vllm.engine.arg_utils: {name}")].into());
    }
    for call in ["add_cli_args(parser)", "add_cli_args(parser=parser)", "add_cli_args(1, parser)"] {
        let text = format!(
            "def add_cli_args(parser, other):\n    parser = ArgumentParser()\n    {call}\n"
        );
        assert_eq!(unread(&text), ["vllm.engine.arg_utils: add_cli_args".to_owned()].into());
    }
    let hook = "def add_cli_args(parser):\n    platform.pre_register_and_update(parser)\n";
    assert!(unread(hook).is_empty());
    let unknown = "class A:\n    a: Gone = 1\n    b: Gone | str = 1\n\
        def add_cli_args(parser):\n    all = get_kwargs(A)\n    \
        parser.add_argument('--a', **all['a'])\n    parser.add_argument('--b', **all['b'])\n    \
        parser.add_argument('--c', **gone())\n";
    assert_flags(unknown, &[("a", "unread"), ("b", "text"), ("c", "unread")]);
}

#[test]
fn names_are_followed_through_imports_of_all_names_and_of_modules() {
    let files = [
        (
            "vllm/engine/arg_utils.py",
            "from vllm.kinds import Kind\nimport vllm.other as other\nclass A:\n    a: Kind = 1\n    \
             b: other.Kind = 1\ndef add_cli_args(parser):\n    all = get_kwargs(A)\n    \
             parser.add_argument('--a', **all['a'])\n    parser.add_argument('--b', **all['b'])\n",
        ),
        ("vllm/kinds/__init__.py", "from .inner import *\n"),
        ("vllm/kinds/inner.py", "from . import *\nKind = Literal['x', 'y']\n"),
        ("vllm/other.py", "Kind = Literal['z']\n"),
    ];
    let flags = engine(&files).flags;
    assert_eq!(flags["a"].to_string(), "one-of x|y");
    assert_eq!(flags["b"].to_string(), "one-of z");
}

#[test]
fn a_parser_may_add_flags_that_say_no() {
    let parser = "class OneArgumentParser:\n    _inverse_prefixes = {'--enable-': '--disable-'}\n";
    let text = "class A:\n    enable_x: bool = True\n    enable_y: str = ''\n\
        def add_cli_args(parser):\n    all = get_kwargs(A)\n    \
        parser.add_argument('--enable-x', **all['enable_x'])\n    \
        parser.add_argument('--enable-y', **all['enable_y'])\n";
    let serve = format!("from vllm.parse import OneArgumentParser\n{}", PROGRAM[2].1);
    let flags = engine(&[
        ("vllm/engine/arg_utils.py", text),
        ("vllm/parse.py", parser),
        ("vllm/serve.py", &serve),
    ])
    .flags;
    let flags: Vec<String> = flags.iter().map(|(name, flag)| format!("{name} {flag}")).collect();
    assert_eq!(flags, ["disable-x switch", "enable-x toggle", "enable-y text"]);
}

#[test]
fn old_versions_are_followed_from_the_module_that_is_run() {
    let files: BTreeMap<String, String> = [(
        "vllm/entrypoints/openai/api_server.py",
        "def fill(parser):\n    parser.add_argument('--a')\n\
         if __name__ == \"__main__\":\n    parser = FlexibleArgumentParser()\n    fill(parser)\n",
    )]
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .into();
    assert!(read(&files, "vllm", "0.8.5").engine.flags.contains_key("a"));
    assert!(read(&files, "vllm", "0.9.0").engine.flags.is_empty());
}
