//! mlx-lm's server: small, and runs on a CPU.
//!
//! Read from `mlx_lm/server.py` 0.32: a request's `model` is loaded as a path when there is such a
//! path, so the model is served from the working directory under the name that requests use.

use std::collections::BTreeMap;

use super::extra_args::OnHub;
use super::{CACHES, HABITS, argument, extra_args, offline};
use crate::engine::{Cache, Checked, Engine, FlagProblem, Locked, Named, Serving, Subject};
use crate::spec::{FlagValue, Model, Value, hub_reference, nearest};

pub(super) struct MlxLm;

/// The server's flags besides the ones that goatbuild sets itself.
const FLAGS: [&str; 22] = [
    "adapter-path",
    "allowed-origins",
    "chat-template",
    "chat-template-args",
    "decode-concurrency",
    "draft-model",
    "kv-bits",
    "kv-group-size",
    "log-level",
    "max-tokens",
    "min-p",
    "num-draft-tokens",
    "pipeline",
    "prefill-step-size",
    "prompt-cache-bytes",
    "prompt-cache-size",
    "prompt-concurrency",
    "quantized-kv-start",
    "temp",
    "top-k",
    "top-p",
    "trust-remote-code",
];

/// The flag whose value is fetched like a model, unless it is a directory: `_download` in
/// `mlx_lm/utils.py`. What `adapter-path` names has to be one.
const DRAFT: &str = "draft-model";

/// Flags that goatbuild sets itself, and from where.
const OURS: [(&str, &str); 3] = [
    ("host", "for a model on this machine, write `[serve] host`"),
    ("model", "write `[model] source`"),
    ("port", "write `[serve] port`"),
];

/// Whether a value of [`DRAFT`] names a repository.
fn names(_: &str, value: &str) -> bool {
    !value.is_empty() && !value.starts_with('/')
}

impl Engine for MlxLm {
    fn name(&self) -> &'static str {
        "mlx-lm"
    }

    fn title(&self) -> &'static str {
        "mlx-lm"
    }

    fn about(&self) -> &'static str {
        "mlx-lm (small, on a CPU)"
    }

    fn caches(&self) -> &'static [Cache] {
        &CACHES
    }

    fn package(&self) -> Option<&'static str> {
        Some("mlx-lm")
    }

    fn example_flag(&self) -> Option<&'static str> {
        Some("max-tokens = 512")
    }

    fn named(&self, flags: &BTreeMap<String, FlagValue>) -> Vec<Named> {
        let named = |flag: &FlagValue| match &flag.value {
            Value::String(text) if names(DRAFT, text) => Some(Named {
                flag: DRAFT.to_owned(),
                text: text.clone(),
                revision: None,
                is_small: false,
            }),
            _ => None,
        };
        flags.get(DRAFT).and_then(named).into_iter().collect()
    }

    fn check(&self, model: &Model) -> Vec<FlagProblem> {
        let mut problems =
            extra_args::problems(model, &OURS, &OnHub { flags: &[DRAFT], is_there: names });
        for named in self.named(&model.engine.flags) {
            if hub_reference(&named.text).is_none() {
                problems.push(FlagProblem {
                    subject: Subject::Flag(named.flag),
                    message: format!(
                        "`{}` is neither a repository on the hub nor a path in the image",
                        named.text
                    ),
                    help: "the hub wants `owner/name` (such as `openai-community/gpt2`), perhaps \
                           with `@revision`; or write an absolute path"
                        .to_owned(),
                });
            }
        }
        for (flag, value) in &model.engine.flags {
            if let Some((_, instead)) = OURS.iter().find(|(ours, _)| ours == flag) {
                problems.push(FlagProblem {
                    subject: Subject::Flag(flag.clone()),
                    message: format!("goatbuild sets `{flag}` itself"),
                    help: (*instead).to_owned(),
                });
            } else if !FLAGS.contains(&flag.as_str()) && flag != "use-default-chat-template" {
                problems.push(FlagProblem {
                    subject: Subject::Flag(flag.clone()),
                    message: format!("mlx-lm's server has no flag `{flag}`"),
                    help: match nearest(flag, FLAGS) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("it has: {}", FLAGS.join(", ")),
                    },
                });
            } else if matches!(value.value, Value::Array(_)) && flag != "allowed-origins" {
                problems.push(FlagProblem {
                    subject: Subject::Flag(flag.clone()),
                    message: format!("`{flag}` takes one value, not a list"),
                    help: "write a single value".to_owned(),
                });
            }
        }
        if model.draft.is_some() {
            problems.push(FlagProblem {
                subject: Subject::Model,
                message: "`[draft]` is not supported with mlx-lm".to_owned(),
                help: "remove the section".to_owned(),
            });
        }
        problems
    }

    fn check_locked(&self, model: &Model, locked: &Locked) -> Checked {
        let image = &model.image.value;
        let missing = locked.is_missing.then(|| FlagProblem {
            subject: Subject::Model,
            message: format!("the image `{image}` has no mlx-lm"),
            help: format!(
                "write `mlx-lm==VERSION` in the requirements of images/{image}.toml, or `name` in \
                 [engine] for another engine"
            ),
        });
        Checked { problems: missing.into_iter().collect(), warnings: Vec::new() }
    }

    fn compiles(&self, _: &Model) -> bool {
        false
    }

    fn command(&self, model: &Model, serving: &Serving<'_>) -> Vec<String> {
        let mut command: Vec<String> = ["python", "-m", "mlx_lm", "server", "--model"]
            .into_iter()
            .chain([serving.model, "--host", serving.host, "--port"])
            .map(str::to_owned)
            .collect();
        command.push(serving.port.to_string());
        for (flag, value) in &model.engine.flags {
            if let Some(fetched) = serving.fetched.get(flag) {
                command.extend([format!("--{flag}"), fetched.path.clone()]);
                continue;
            }
            match &value.value {
                Value::Boolean(false) => {}
                Value::Boolean(true) => command.push(format!("--{flag}")),
                Value::Array(items) => {
                    command.push(format!("--{flag}"));
                    let items: Vec<String> = items.iter().map(argument).collect();
                    command.push(items.join(","));
                }
                value => {
                    command.push(format!("--{flag}"));
                    command.push(argument(value));
                }
            }
        }
        command.extend(extra_args::of(model));
        command
    }

    fn environment(&self, _: &[&str]) -> BTreeMap<String, String> {
        offline()
    }

    fn left_to_specs(&self) -> &'static [&'static str] {
        &HABITS
    }

    fn health(&self, _: &Model) -> String {
        "/health".to_owned()
    }

    fn lists_served_name(&self) -> bool {
        // It lists the path that the name resolves to.
        false
    }
}
