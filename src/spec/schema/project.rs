//! `goatbuild.toml`.

use serde_json::{Value, json};

use super::super::fields::Fields;
use super::super::gateway::GatewayTypes;
use super::super::kinds::Kinds;
use super::super::project_file::built_in_volumes;
use super::super::target::TargetTypes;
use super::parts::{
    closed, filled, integer, map, matching, number, pattern, requiring, strings, with_default,
};
use super::spec::spec;
use super::{DASHED, FILE_NAME, VARIABLE};
use crate::engine::{Cache, Engines};

pub(super) fn project(kinds: &Kinds) -> Value {
    let Kinds { engines, targets: types, .. } = kinds;
    let engines = *engines;
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
            ("app-prefix", app_prefix()),
        ],
    );
    let apart = closed(
        "What tells apart what is deployed; the id is the project's in all environments.",
        [("app-prefix", app_prefix())],
    );
    let environment = closed(
        "Overrides for `--env NAME`, merged over the rest of this file.",
        [
            ("project", apart),
            ("target", targets(types)),
            ("volumes", volumes(engines, false)),
            ("gateway", gateways(&kinds.gateways, false)),
            ("secrets", secrets()),
            (
                "model",
                map(
                    "Overrides of single models, by name; each has the fields of a spec.",
                    FILE_NAME,
                    &spec(engines, types),
                ),
            ),
        ],
    );
    let mut defaults = spec(engines, types);
    defaults["description"] =
        json!("Merged leaf by leaf under every spec, whose own fields win. Fields as in a spec.");
    let mut project = closed(
        about,
        [
            ("project", requiring(marks, &["id"])),
            ("defaults", defaults),
            ("target", targets(types)),
            ("volumes", volumes(engines, true)),
            ("gpu", gpus(types)),
            ("gateway", gateways(&kinds.gateways, true)),
            ("secrets", secrets()),
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

fn app_prefix() -> Value {
    pattern(
        "^([a-z0-9][a-z0-9-]{0,39})?$",
        "What stands before a model's name in its app's name. Default: the id and `-`.",
    )
}

fn secrets() -> Value {
    let generation = integer(
        1,
        1_000_000,
        "Counted up when the secret was replaced: what is served with it is deployed again.",
    );
    let from = closed(
        "Where this machine finds the value: one of the three. Targets that keep secrets have one of \
         this name, and nothing is sent there.",
        [
            ("env", pattern(VARIABLE, "The environment variable that holds it.")),
            (
                "file",
                matching(
                    "The file that holds it: absolute, below `~/`, or relative to the project.",
                    &["~/.config/goat/token"],
                ),
            ),
            ("command", filled(strings("The program that prints it, with its arguments."))),
        ],
    );
    map(
        "Secrets, by name; never their values.",
        "^[A-Za-z0-9_.-]{1,63}$",
        &closed("A secret.", [("from", from), ("generation", with_default(1, generation))]),
    )
}

fn targets(types: &TargetTypes) -> Value {
    let settings = types.iter().map(|target| {
        let (told, _) = Fields::told(|fields| target.settings(fields));
        (target.name(), closed(target.about(), told))
    });
    closed("Settings of the places where models are served.", settings)
}

/// Volumes; `whole` when this is where they are declared, not overridden.
fn volumes(engines: Engines, whole: bool) -> Value {
    let volume = || {
        closed(
            "A directory that outlives deployments.",
            [
                (
                    "name",
                    pattern(
                        "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}$",
                        "What the target calls it. Default: the project's id, `-`, its key.",
                    ),
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
    let built_in = built_in_volumes(engines);
    let names: Vec<String> = built_in.iter().map(|it| format!("`{}`", it.volume)).collect();
    let names = match &names[..] {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        names => names.concat(),
    };
    let mut volumes = map(
        &format!("Directories that outlive deployments; {names} are always there."),
        FILE_NAME,
        &own,
    );
    for Cache { volume: name, mount } in built_in {
        let mut known = volume();
        known["properties"]["mount"]["default"] = json!(mount);
        volumes["properties"][name] = known;
    }
    volumes
}

fn gpus(types: &TargetTypes) -> Value {
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
    for (name, vram_gib, usd_per_hour) in types.gpus() {
        let mut built_in = gpu();
        built_in["properties"]["vram-gib"]["default"] = json!(vram_gib);
        built_in["properties"]["usd-per-hour"]["default"] = json!(usd_per_hour);
        gpus["properties"][name] = built_in;
    }
    gpus
}

/// The gateways; `whole` when this is where it is declared, not overridden.
fn gateways(types: &GatewayTypes, whole: bool) -> Value {
    let suffix = with_default(
        "-local",
        pattern(
            "^[A-Za-z0-9_./:@+-]*$",
            "What aliases end in: clients send `tool_choice: \"auto\"` and a temperature of their own \
             for such names, so that any other alias is warned about, and a model behind such an \
             alias that can't call tools. Empty: clients treat all names alike.",
        ),
    );
    let told = types.iter().map(|kind| {
        let (fields, required) = Fields::told(|fields| kind.settings(fields));
        let table = closed(kind.about(), fields);
        (kind.name(), if whole { requiring(table, &required) } else { table })
    });
    closed("Where clients find the models.", [("alias-suffix", suffix)].into_iter().chain(told))
}
