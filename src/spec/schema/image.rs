//! `images/IMAGE.toml`.

use serde_json::{Value, json};

use super::super::image_file::builders;
use super::super::target::{TargetType, TargetTypes};
use super::env;
use super::parts::{choice, closed, filled, map, pattern, requiring, strings, with_default};

pub(super) fn image(types: &TargetTypes) -> Value {
    let settings = types.iter().filter(|it| it.builds_images());
    let settings = settings.map(|it| format!("`[target.{it}]`")).collect::<Vec<_>>().join(" or ");
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
            ("index", indexes()),
            ("as-of", as_of()),
            ("overlap", overlap()),
            (
                "local",
                strings(
                    "Directories of the project's own Python packages, relative to the project: each is \
                     built from locked build requirements, without network, and becomes a layer of its \
                     own on top.",
                ),
            ),
            (
                "env",
                env("A variable's own name, as in \"/x:$PATH\", stands for what the base has."),
            ),
            (
                "labels",
                labels("Labels of the image's configuration, as `docker inspect` shows them."),
            ),
            (
                "annotations",
                labels("Annotations of the image's manifest, as registries show them."),
            ),
            (
                "builder",
                choice(
                    &builders(types).iter().map(|(word, _)| *word).collect::<Vec<_>>(),
                    &format!(
                        "Who builds it for {}. Default: what {settings} says.",
                        types.titles(TargetType::builds_images)
                    ),
                ),
            ),
        ],
    );
    image["required"] = json!(["base"]);
    image
}

/// Texts by a key, whose unquoted dots make tables of tables.
fn labels(about: &str) -> Value {
    let each = json!({
        "anyOf": [
            { "type": "string" },
            { "type": "object" },
        ],
    });
    map(about, "", &each)
}

fn indexes() -> Value {
    let index = closed(
        "An index, and the packages that come from it alone.",
        [
            (
                "url",
                pattern(
                    "^https?://[^@ ?#/]+(/[^ ?#]*)?$",
                    "Its URL, without credentials: `https://download.pytorch.org/whl/cu128`.",
                ),
            ),
            ("packages", filled(strings("The packages that come from it, and from nowhere else."))),
        ],
    );
    json!({
        "description": "Other indexes than the user's own, for some packages.",
        "type": "array",
        "items": requiring(index, &["url", "packages"]),
    })
}

fn as_of() -> Value {
    let written = pattern(
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].*)?$",
        "Resolves as the index was at the end of this day (UTC), or at this time: `2025-05-10`.",
    );
    // As text; TOML's own dates are taken as well, and JSON Schema has no type for them.
    json!({ "description": written["description"], "anyOf": [written] })
}

fn overlap() -> Value {
    map(
        "Which wheel a path is from where several own it with different contents: by path or shell \
         pattern, as seen from `site-packages` or absolute in the image.",
        "",
        &pattern("^[A-Za-z0-9._-]+$", "The package whose file it is."),
    )
}
