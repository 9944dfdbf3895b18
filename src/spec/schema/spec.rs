//! `specs/MODEL.toml`.

use serde_json::{Value, json};

use super::super::api::APIS;
use super::super::auth::{AUTHS, Auth};
use super::super::fields::Fields;
use super::super::hardware::{CORES, GIB};
use super::super::rollout::ROLLOUTS;
use super::super::serve::SMOKES;
use super::super::target::{TargetType, TargetTypes};
use super::parts::{
    boolean, choice, closed, duration, filled, flag, integer, map, matching, number, one_or_more,
    pattern, string, strings, with_default,
};
use super::{FILE_NAME, SERVED_NAME, VARIABLE, WORD, env};
use crate::engine::{Engine, Engines};

pub(super) fn spec(engines: Engines, types: &TargetTypes) -> Value {
    let about = "One model: its image, weights, hardware, engine, and how it is served. The file's \
                 name is the model's name.";
    let names: Vec<_> = types.iter().map(TargetType::name).collect();
    let places: Vec<_> = types.iter().map(|it| format!("on {}", it.title())).collect();
    closed(
        about,
        [
            ("image", pattern(FILE_NAME, "The image that serves it: IMAGE of images/IMAGE.toml.")),
            (
                "state",
                with_default(
                    "present",
                    choice(
                        &["present", "absent"],
                        "Whether it is to be served. What is served of an absent one is taken away by \
                         the next apply.",
                    ),
                ),
            ),
            (
                "target",
                with_default(
                    names[0],
                    choice(&names, &format!("Where it is served: {}.", places.join(", or "))),
                ),
            ),
            ("env", env("The value.")),
            (
                "secret-env",
                map(
                    "Environment variables whose values are secrets: of each, the name in the project's \
                     `[secrets]`.",
                    VARIABLE,
                    &string("The secret."),
                ),
            ),
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
            ("hardware", hardware(types)),
            ("engine", engine(engines)),
            ("serve", serve(engines, types)),
            (
                "gateway",
                closed(
                    "Its entry in the gateway.",
                    [(
                        "alias",
                        pattern(
                            WORD,
                            "What clients call it; unique in the project. Default: the model's name \
                             and the project's `gateway.alias-suffix`.",
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
                filled(strings(
                    "Only files that match one of these patterns; only with `hf:`. `*` stands for any \
                     text, slashes too.",
                )),
            ),
            (
                "ignore",
                filled(strings(
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

fn hardware(types: &TargetTypes) -> Value {
    let names: Vec<&str> = types.gpus().map(|(name, ..)| name).collect();
    let places = types.titles(TargetType::allots_gpus);
    let part = |(least, most): (f64, f64), what| {
        let about =
            format!("{what} that a replica is sure to have, and that is paid for. {places} only.");
        let mut part = number(&about);
        (part["minimum"], part["maximum"]) = (json!(least), json!(most));
        part
    };
    closed(
        "The GPUs to serve on, and what a replica has beside them.",
        [
            ("gpu", matching("A built-in GPU, or one of `[gpu]` in goatbuild.toml.", &names)),
            (
                "count",
                with_default(1, integer(1, 8, "How many of them; at most 4 of A10 and A10G.")),
            ),
            (
                "exact",
                with_default(
                    false,
                    boolean(&format!(
                        "No other GPU, be it better: an H100 and no H200. {places} only."
                    )),
                ),
            ),
            (
                "devices",
                filled(json!({
                    "type": "array",
                    "items": { "anyOf": [
                        { "type": "integer", "minimum": 0, "maximum": 1023 },
                        { "type": "string", "pattern": "^(GPU|MIG)-[A-Za-z0-9/-]+$" },
                    ] },
                    "uniqueItems": true,
                    "maxItems": 8,
                    "description": "Which of this machine's GPUs it gets, by index or by UUID as \
                        `nvidia-smi -L` tells them. Default: all of them. This machine only.",
                })),
            ),
            ("cpu", part(CORES, "So many physical cores")),
            ("memory", part(GIB, "So much memory, in GiB,")),
        ],
    )
}

pub(super) fn engine(engines: Engines) -> Value {
    let written_out = engines.iter().filter(|engine| engine.is_written_out());
    let written_out: Vec<&str> = written_out.map(Engine::name).collect();
    let is_written_out = match written_out[..] {
        [one] => json!({ "const": one }),
        _ => json!({ "enum": written_out }),
    };
    let command = closed(
        "Any server that speaks the OpenAI API.",
        [
            ("name", is_written_out.clone()),
            (
                "command",
                filled(strings(
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
    let names: Vec<&str> = engines.iter().map(Engine::name).collect();
    let about: Vec<&str> = engines.iter().map(Engine::about).collect();
    let about = match &about[..] {
        [others @ .., last] if !others.is_empty() => format!("{}, or {last}", others.join(", ")),
        about => about.concat(),
    };
    let name = with_default(names[0], choice(&names, &format!("What serves the model: {about}.")));
    json!({
        "description": "What serves the model, and the engine's own flags by their own names: \
                        `max-model-len = 8192` is `--max-model-len 8192`. Tables become JSON. \
                        `goatbuild check` checks flags against the engine.",
        "type": "object",
        "properties": {
            "name": name,
            "extra-args": strings(&format!(
                "Arguments for the end of the engine's command line, which nothing checks but the \
                 engine. Not with the engine `{}`.",
                written_out.join("`, `"),
            )),
        },
        "additionalProperties": flag(),
        "if": { "properties": { "name": is_written_out }, "required": ["name"] },
        "then": command,
    })
}

fn api() -> Value {
    choice(
        &APIS.map(|(word, _)| word),
        "What the model is asked for, by a smoke test, by `goatbuild test` and in the line that shows how to \
         ask it. Default: what its architecture is for, as far as its engine knows; `chat` where nobody does.",
    )
}

fn auth(types: &TargetTypes) -> Value {
    let guarded = types.titles(|it| it.auths()[0] != Auth::Open);
    let keyed =
        types.titles(|it| it.auths()[0] == Auth::Open && it.auths().contains(&Auth::ApiKey));
    choice(
        &AUTHS.map(|(word, _)| word),
        &format!(
            "Who may ask it. Default on {guarded}: `proxy`, {guarded} lets nobody through \
                         who has no proxy token. `api-key`: servers answer nobody who has no key. \
                         `none`: anyone who reaches the URL; the default on {keyed}, which has \
                         `api-key` besides."
        ),
    )
}

fn serve(engines: Engines, types: &TargetTypes) -> Value {
    let (several, asleep) =
        (engines.titles(|it| it.takes_several_names()), engines.titles(|it| it.can_sleep()));
    let (snapshots, candidates) =
        (types.titles(TargetType::has_snapshots), types.titles(TargetType::has_candidates));
    let own = types.iter().flat_map(|target| Fields::told(|fields| target.serve(fields)).0);
    closed(
        "How the model is served.",
        own.chain([
            (
                "port",
                integer(1, 65535, "The port on this machine. Default: a free one, which is kept."),
            ),
            (
                "served-name",
                one_or_more(
                    SERVED_NAME,
                    &format!(
                        "What requests call the model: one name or, for {several}, a list; gateways use \
                         the first. Default: the model's name; for {several} with weights from a hub, the \
                         hub's id and then the model's name."
                    ),
                ),
            ),
            ("api", api()),
            ("auth", auth(types)),
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
                "snapshot",
                with_default(
                    false,
                    boolean(&format!(
                        "Start replicas from a snapshot of the GPU's memory, with the engine asleep in \
                         it: alpha at {snapshots}. For {asleep} on {snapshots} only."
                    )),
                ),
            ),
            (
                "warmup",
                with_default(
                    "auto",
                    choice(
                        &["auto", "never"],
                        "Whether compile caches are warmed before a deploy that could change them.",
                    ),
                ),
            ),
            (
                "smoke",
                with_default(
                    SMOKES[0].0,
                    choice(
                        &SMOKES.map(|(word, _)| word),
                        "Whether a deployment is tried out before the gateway leads to it. Where an \
                         older version goes on answering, `auto` leaves it open whether it passed, and \
                         `always` has it failed.",
                    ),
                ),
            ),
            (
                "rollout",
                with_default(
                    ROLLOUTS[0].0,
                    choice(
                        &ROLLOUTS.map(|(word, _)| word),
                        &format!(
                            "`in-place`: a deployment replaces what stands, and on {candidates} is \
                             taken back when it fails its smoke test. `candidate`: it is tried out as \
                             an app of its own first, for one more cold start; {candidates} only."
                        ),
                    ),
                ),
            ),
        ].map(|(name, field): (&str, Value)| (name.to_owned(), field))),
    )
}
