//! JSON Schemas of the three kinds of files, for editors that complete and check while one types.
//!
//! A schema describes one file, and can't know what other files say: what `[defaults]` may give is
//! never required in a spec, and names of images, models and GPUs of the project's own are plain
//! strings. In all else it takes what the reader takes: the tests ask the reader itself, field by
//! field, what it knows and expects.

mod parts;

use serde_json::{Value, json};

use parts::{
    boolean, choice, closed, duration, integer, map, matching, number, pattern, requiring, string,
    strings, with_default,
};

/// A kind of file that a user writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// `goatbuild.toml`.
    Project,
    /// `specs/MODEL.toml`.
    Spec,
    /// `images/IMAGE.toml`.
    Image,
}

impl Document {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Project, Self::Spec, Self::Image];

    /// What its schema's file is called.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Project => "project.schema.json",
            Self::Spec => "spec.schema.json",
            Self::Image => "image.schema.json",
        }
    }

    /// Its schema: JSON, the same bytes every time, with a line break at its end.
    pub fn schema(self) -> String {
        let (title, mut schema) = match self {
            Self::Project => ("goatbuild.toml: a project", project()),
            Self::Spec => ("specs/MODEL.toml: one model", spec()),
            Self::Image => ("images/IMAGE.toml: one image", image()),
        };
        // The draft that TOML language servers know best.
        schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        schema["title"] = json!(title);
        let text = serde_json::to_string_pretty(&schema);
        text.unwrap_or_else(|error| panic!("BUG: a schema is not JSON: {error}")) + "\n"
    }
}

const FILE_NAME: &str = "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$";
const DASHED: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const WORD: &str = "^[A-Za-z0-9_./:@+-]+$";

fn project() -> Value {
    let about = "A goatbuild project: what marks it, where its models are served, and what all of \
                 its specs share.";
    let marks = closed(
        "What the project is called where its resources live.",
        [
            (
                "id",
                pattern(
                    DASHED,
                    "Marks everything that this project owns elsewhere: deployments, volumes, gateway \
                     entries. Made once by `goatbuild init`; a project that changes it owns nothing.",
                ),
            ),
            (
                "app-prefix",
                pattern(
                    "^([a-z0-9][a-z0-9-]{0,39})?$",
                    "What stands before a model's name in its app's name. Default: the id and `-`.",
                ),
            ),
        ],
    );
    let environment = closed(
        "Overrides for `--env NAME`, merged over the rest of this file.",
        [
            ("target", targets()),
            ("volumes", volumes(false)),
            ("gateway", gateways(false)),
            (
                "model",
                map(
                    "Overrides of single models, by name; each has the fields of a spec.",
                    FILE_NAME,
                    &spec(),
                ),
            ),
        ],
    );
    let mut defaults = spec();
    defaults["description"] =
        json!("Merged leaf by leaf under every spec, whose own fields win. Fields as in a spec.");
    let mut project = closed(
        about,
        [
            ("project", requiring(marks, &["id"])),
            ("defaults", defaults),
            ("target", targets()),
            ("volumes", volumes(true)),
            ("gpu", gpus()),
            ("gateway", gateways(true)),
            (
                "registries",
                closed(
                    "How registries are reached.",
                    [("plain-http", strings("Registries without TLS, as `host` or `host:port`."))],
                ),
            ),
            ("environment", map("Named sets of overrides.", DASHED, &environment)),
        ],
    );
    project["required"] = json!(["project"]);
    project
}

fn targets() -> Value {
    let modal = closed(
        "Modal: GPUs that scale to zero.",
        [
            ("environment", with_default("main", string("The environment in Modal."))),
            (
                "workspace",
                string("An assertion: the workspace that the credentials have to belong to."),
            ),
            (
                "builder",
                with_default(
                    "modal",
                    choice(
                        &["modal", "oci"],
                        "Who builds images: `modal` from the lock (pinned, not bit-identical), `oci`: \
                         goatbuild, pushed to a registry. An image may say otherwise.",
                    ),
                ),
            ),
            ("hf-secret", string("The Modal secret that holds `HF_TOKEN`, by name.")),
            (
                "registry",
                string("Where images that goatbuild builds are pushed, with `builder = \"oci\"`."),
            ),
            (
                "registry-secret",
                string(
                    "The Modal secret that holds the registry's user name and password, by name.",
                ),
            ),
        ],
    );
    let local = closed(
        "This machine.",
        [(
            "runtime",
            with_default(
                "auto",
                choice(
                    &["auto", "docker", "podman", "embedded"],
                    "What runs images: `auto` takes Docker or Podman when there is one, else the \
                     embedded runtime, which needs neither root nor a daemon.",
                ),
            ),
        )],
    );
    closed("Settings of the places where models are served.", [("modal", modal), ("local", local)])
}

/// Volumes; `whole` when this is where they are declared, not overridden.
fn volumes(whole: bool) -> Value {
    let volume = || {
        closed(
            "A directory that outlives deployments.",
            [
                (
                    "name",
                    string("What the target calls it. Default: the project's id, `-`, its key."),
                ),
                (
                    "mount",
                    pattern(
                        "^(/[^/:,]+)+$",
                        "Where images see it: an absolute path. Built-in volumes have one.",
                    ),
                ),
            ],
        )
    };
    let own = if whole { requiring(volume(), &["mount"]) } else { volume() };
    let mut volumes = map(
        "Directories that outlive deployments; `model-cache`, `vllm-cache` and `flashinfer-cache` \
         are always there.",
        FILE_NAME,
        &own,
    );
    for (name, mount) in super::project_file::VOLUMES {
        let mut built_in = volume();
        built_in["properties"]["mount"]["default"] = json!(mount);
        volumes["properties"][name] = built_in;
    }
    volumes
}

fn gpus() -> Value {
    let gpu = || {
        closed(
            "A GPU and what it costs.",
            [
                ("vram-gib", number("Memory of one GPU, in GiB.")),
                ("usd-per-hour", number("Price of one GPU for one hour, in US dollars.")),
            ],
        )
    };
    let own = requiring(gpu(), &["vram-gib", "usd-per-hour"]);
    let about = "GPUs that a spec may ask for, beside and over the built-in ones. Prices change no \
                 key.";
    let mut gpus = map(about, "", &own);
    for (name, vram_gib, usd_per_hour) in super::project_file::GPUS {
        let mut built_in = gpu();
        built_in["properties"]["vram-gib"]["default"] = json!(vram_gib);
        built_in["properties"]["usd-per-hour"]["default"] = json!(usd_per_hour);
        gpus["properties"][name] = built_in;
    }
    gpus
}

/// The gateway; `whole` when this is where it is declared, not overridden.
fn gateways(whole: bool) -> Value {
    let litellm = closed(
        "A LiteLLM proxy, by its configuration.",
        [
            (
                "config",
                matching(
                    "The configuration that holds our entries, relative to the project; everything \
                     else in it stays byte for byte.",
                    &["litellm.yaml"],
                ),
            ),
            (
                "mirror",
                string(
                    "A second file that holds the same entries, commented out; relative to the project.",
                ),
            ),
            (
                "reload",
                parts::filled(strings(
                    "What to run after the file changed: a program and its arguments.",
                )),
            ),
        ],
    );
    let litellm = if whole { requiring(litellm, &["config"]) } else { litellm };
    closed("Where clients find the models.", [("litellm", litellm)])
}

fn env() -> Value {
    map(
        "Environment variables, by name. They are part of keys and files: no secrets.",
        VARIABLE,
        &string("The value."),
    )
}

fn spec() -> Value {
    let about = "One model: its image, weights, hardware, engine, and how it is served. The file's \
                 name is the model's name.";
    closed(
        about,
        [
            ("image", pattern(FILE_NAME, "The image that serves it: IMAGE of images/IMAGE.toml.")),
            (
                "target",
                with_default(
                    "local",
                    choice(
                        &["local", "modal"],
                        "Where it is served: on this machine, or on Modal.",
                    ),
                ),
            ),
            ("env", env()),
            ("model", weights("The weights of the model.", [])),
            (
                "draft",
                weights(
                    "Speculative decoding with a second, smaller model.",
                    [
                        ("method", matching("The engine's name for the method.", &["eagle3"])),
                        (
                            "num-speculative-tokens",
                            integer(1, 1000, "How many tokens are proposed per step."),
                        ),
                    ],
                ),
            ),
            ("hardware", hardware()),
            ("engine", engine()),
            ("serve", serve()),
            (
                "gateway",
                closed(
                    "Its entry in the gateway.",
                    [(
                        "alias",
                        pattern(
                            WORD,
                            "What clients call it; unique in the project. Default: the model's name \
                             and `-local`.",
                        ),
                    )],
                ),
            ),
            ("unset", strings("Defaults to take back, as whole paths: \"engine.seed\".")),
        ],
    )
}

fn weights<const N: usize>(about: &str, more: [(&str, Value); N]) -> Value {
    let mut weights = closed(
        about,
        [
            (
                "source",
                pattern(
                    "^(hf:[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*|path:[^/\\\\].*)$",
                    "Where the weights come from: `hf:organisation/name` on the Hugging Face hub, or \
                     `path:directory` relative to the project.",
                ),
            ),
            (
                "revision",
                with_default(
                    "main",
                    pattern(
                        "^[^ ]+$",
                        "A commit of 40 hex digits, a branch or a tag; only with `hf:`. What is no \
                         commit is locked to one.",
                    ),
                ),
            ),
            (
                "allow",
                parts::filled(strings(
                    "Only files that match one of these patterns; only with `hf:`. `*` stands for any \
                     text, slashes too.",
                )),
            ),
            (
                "ignore",
                parts::filled(strings(
                    "No files that match one of these patterns, such as \"original/*\"; only with \
                     `hf:`.",
                )),
            ),
        ],
    );
    for (name, field) in more {
        weights["properties"][name] = field;
    }
    weights
}

fn hardware() -> Value {
    let names: Vec<&str> = super::project_file::GPUS.iter().map(|(name, ..)| *name).collect();
    closed(
        "The GPUs to serve on.",
        [
            ("gpu", matching("A built-in GPU, or one of `[gpu]` in goatbuild.toml.", &names)),
            (
                "count",
                with_default(1, integer(1, 8, "How many of them; at most 4 of A10 and A10G.")),
            ),
        ],
    )
}

fn engine() -> Value {
    let command = closed(
        "Any server that speaks the OpenAI API.",
        [
            ("name", json!({ "const": "command" })),
            (
                "command",
                parts::filled(strings(
                    "The program and its arguments; `{host}`, `{port}` and `{model}` stand for what \
                     they say.",
                )),
            ),
            (
                "health",
                with_default(
                    "/health",
                    pattern("^/", "The path that answers 200 once the server is up."),
                ),
            ),
            (
                "compiles",
                with_default(
                    false,
                    boolean("Whether it compiles at its start, so that warming its caches pays."),
                ),
            ),
        ],
    );
    let name = with_default(
        "vllm",
        choice(
            &["vllm", "mlx-lm", "command"],
            "What serves the model: vLLM, mlx-lm (small, on a CPU), or a command line of your own.",
        ),
    );
    json!({
        "description": "What serves the model, and the engine's own flags by their own names: \
                        `max-model-len = 8192` is `--max-model-len 8192`. Tables become JSON. \
                        `goatbuild check` checks flags against the engine.",
        "type": "object",
        "properties": { "name": name },
        "additionalProperties": parts::flag(),
        "if": { "properties": { "name": { "const": "command" } }, "required": ["name"] },
        "then": command,
    })
}

fn serve() -> Value {
    let when = |about| with_default("auto", choice(&["auto", "never"], about));
    closed(
        "How the model is served.",
        [
            (
                "port",
                integer(1, 65535, "The port on this machine. Default: a free one, which is kept."),
            ),
            (
                "served-name",
                pattern(WORD, "What requests call the model. Default: the model's name."),
            ),
            (
                "max-inputs",
                with_default(
                    32,
                    integer(1, 100_000, "How many requests one replica takes at once."),
                ),
            ),
            ("scaledown-window", duration("5m", "How long an idle replica stays.")),
            ("timeout", duration("1h", "How long one request may take.")),
            ("startup-timeout", duration("10m", "How long a start may take.")),
            (
                "fast-boot",
                with_default(false, boolean("No compilation: a faster start, slower tokens.")),
            ),
            (
                "warmup",
                when("Whether compile caches are warmed before a deploy that could change them."),
            ),
            ("smoke", when("Whether a deployment is tried out before the gateway leads to it.")),
        ],
    )
}

fn image() -> Value {
    let debian = closed(
        "Locked Debian packages in one layer, whose scripts are not run.",
        [
            ("debian", pattern("^[a-z]+$", "The release's name, such as `bookworm`.")),
            (
                "packages",
                strings(
                    "Packages by name; what they depend on comes by itself. `python3` is needed.",
                ),
            ),
        ],
    );
    let reference = pattern(
        "^\\S+$",
        "An image in a registry, by tag or digest: `docker.io/library/debian:bookworm`; or in an OCI \
         layout on disk: `oci:path/to/layout:tag`.",
    );
    let base = json!({
        "description": "What lies under the wheels: Debian packages, an image in a registry, or one \
                        in an OCI layout on disk.",
        "anyOf": [reference, requiring(debian, &["debian"])],
    });
    let mut image = closed(
        "One image: a base, a Python, requirements, environment variables, a platform.",
        [
            (
                "platform",
                with_default(
                    "linux/amd64",
                    choice(
                        &["linux/amd64", "linux/arm64"],
                        "What the image runs on; never taken from the machine that builds.",
                    ),
                ),
            ),
            ("base", base),
            (
                "python",
                pattern(
                    "^[0-9]+\\.[0-9]+$",
                    "The Python to serve with, added where the base has none. Default: the base's own.",
                ),
            ),
            (
                "glibc",
                pattern(
                    "^[0-9]+\\.[0-9]+$",
                    "The C library of a base that is an image, such as \"2.35\": wheels have to run on \
                     it. Debian packages say themselves what theirs is.",
                ),
            ),
            (
                "requirements",
                strings("Python packages, as pip's requirements (PEP 508). Wheels only."),
            ),
            (
                "overrides",
                strings("Requirements that replace whatever any package asks of the same name."),
            ),
            ("env", env()),
            (
                "builder",
                choice(
                    &["modal", "oci"],
                    "Who builds it for Modal. Default: what `[target.modal]` says.",
                ),
            ),
        ],
    );
    image["required"] = json!(["base"]);
    image
}

#[cfg(test)]
mod tests;
