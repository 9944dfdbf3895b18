//! What in a spec vLLM would not take, and what it would take and not mean.

use super::super::extra_args::{self, OnHub};
use super::command::since;
use super::history::{instead, versions_with};
use super::{hub, is_on, problem, snapshot, taken};
use crate::engine::{Checked, FlagProblem, Locked, Subject, Warning};
use crate::engines::vllm::taken::{Taken, ValueKind};
use crate::spec::{GatewayEntry, Model, Value, nearest};

/// The reading that follows a parser through all that fill it; those before knew one module.
const FOLLOWED: u32 = 2;
/// The first version that earlier readings saw too little of.
const MOVED: [u64; 2] = [0, 16];

/// Flags that goatbuild sets itself, and what to write instead.
const OURS: [(&str, &str); 12] = [
    (
        "api-key",
        "write `[serve] auth = \"api-key\"`; everybody on the machine can read a key on a command line, \
         and it gets into the log",
    ),
    ("config", "write the flags here, where a plan sees them"),
    ("host", "for a model on this machine, write `[serve] host`"),
    ("hf-token", "weights are fetched beforehand; the server needs no token"),
    ("model", "write `[model] source`"),
    ("model-tag", "write `[model] source`"),
    ("port", "write `[serve] port`"),
    ("revision", "write `[model] revision`"),
    ("served-model-name", "write `[serve] served-name`"),
    ("uds", "the target decides where it listens"),
    ("headless", "a server without an API can't be tried out or wired up"),
    ("download-dir", "weights are read from the volume `model-cache`"),
];

/// Whether goatbuild sets a flag itself, whatever the spec says.
pub(super) fn is_ours(flag: &str) -> bool {
    OURS.iter().any(|(ours, _)| *ours == flag)
}

/// What can be told without the lock.
pub(super) fn ours(model: &Model) -> Vec<FlagProblem> {
    let set = |flag: &str| model.engine.flags.contains_key(flag);
    let mut problems: Vec<FlagProblem> = OURS
        .iter()
        .filter(|(flag, _)| set(flag))
        .map(|(flag, instead)| problem(flag, format!("goatbuild sets `{flag}` itself"), *instead))
        .collect();
    let also = [
        ("tensor-parallel-size", model.hardware.is_some(), "write `[hardware] count`"),
        ("speculative-config", model.draft.is_some(), "write all of it in `[draft]`, or here"),
    ];
    for (flag, given, instead) in also {
        if given && set(flag) {
            problems.push(problem(flag, format!("goatbuild sets `{flag}` itself"), instead));
        }
    }
    problems.extend(extra(model));
    let eager = model.engine.flags.get("enforce-eager").map(|flag| &flag.value);
    if model.serve.fast_boot && eager == Some(&Value::Boolean(false)) {
        problems.push(problem(
            "enforce-eager",
            "`fast-boot = true` means `enforce-eager = true`".to_owned(),
            "remove one of them",
        ));
    }
    problems
}

/// What of `extra-args` goatbuild sets itself.
fn extra(model: &Model) -> Vec<FlagProblem> {
    let mut ours = OURS.to_vec();
    let also = [
        ("tensor-parallel-size", model.hardware.is_some(), "write `[hardware] count`"),
        ("-tp", model.hardware.is_some(), "write `[hardware] count`"),
        ("speculative-config", model.draft.is_some(), "write all of it in `[draft]`"),
        ("-sc", model.draft.is_some(), "write all of it in `[draft]`"),
        ("enforce-eager", model.serve.fast_boot, "`fast-boot = true` sets it"),
        (snapshot::FLAG, model.serve.snapshot, "`[serve] snapshot = true` sets it"),
    ];
    ours.extend(also.into_iter().filter(|(_, set, _)| *set).map(|(flag, _, why)| (flag, why)));
    extra_args::problems(model, &ours, &OnHub { flags: &hub::LOCKED, is_there: hub::names })
}

/// What the locked version says.
pub(super) fn locked(model: &Model, locked: &Locked) -> Checked {
    let mut checked = Checked::default();
    let taken = taken(locked);
    if let Some(engine) = taken.as_ref().filter(|it| !reads_too_little(it)) {
        let check = Check { engine, model };
        check.flags(&mut checked);
        checked.problems.extend(check.unsupported(locked));
        checked.warnings.extend(check.environment(locked));
        checked.warnings.extend(check.fallback(locked));
    } else if !locked.distribution.is_empty() {
        checked.warnings.push(Warning {
            message: format!(
                "the flags of {} {} can't be checked: its wheel {}",
                locked.distribution,
                locked.version,
                match taken {
                    Some(_) => "was read by a goatbuild that saw too little of it",
                    None => "could not be read",
                }
            ),
            help: "`goatbuild lock` reads it, where the index gives parts of files".to_owned(),
        });
    } else if locked.is_missing {
        let image = &model.image.value;
        checked.problems.push(FlagProblem {
            subject: Subject::Model,
            message: format!("the image `{image}` has no vllm"),
            help: format!(
                "write `vllm==VERSION` in the requirements of images/{image}.toml, or `name` in \
                 [engine] for another engine"
            ),
        });
    }
    if locked.is_up_to_base {
        let image = &model.image.value;
        checked.warnings.push(Warning {
            message: format!(
                "the flags of {} can't be checked: the image `{image}` has no vllm but what its \
                 base brings",
                model.name
            ),
            help: format!(
                "hold them against `vllm serve --help=all` in the base, or write `vllm==VERSION` in \
                 the requirements of images/{image}.toml"
            ),
        });
    }
    checked.warnings.extend(tools(model));
    checked.warnings.extend(hub::warning(model));
    checked
}

/// A request with `tool_choice: "auto"` is refused without both flags.
fn tools(model: &Model) -> Option<Warning> {
    let GatewayEntry { alias, suffix, .. } =
        model.gateway.as_ref().filter(|entry| entry.is_sent_tools())?;
    let set = model.engine.flags.contains_key("tool-call-parser");
    if set && is_on(model, "enable-auto-tool-choice") {
        return None;
    }
    Some(Warning {
        message: format!(
            "{} can't call tools: clients of `…{suffix}` send `tool_choice: \"auto\"`",
            alias.value
        ),
        help: "set `enable-auto-tool-choice = true` and the model's `tool-call-parser` in [engine]"
            .to_owned(),
    })
}

/// Whether it was read by a goatbuild that looked where newer versions have nothing.
fn reads_too_little(engine: &Taken) -> bool {
    engine.reading < FOLLOWED && since(&engine.version, MOVED)
}

/// A model's flags beside what the locked version takes.
pub(super) struct Check<'a> {
    pub(super) engine: &'a Taken,
    model: &'a Model,
}

impl Check<'_> {
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.engine.distribution, self.engine.version)
    }

    fn flags(&self, found: &mut Checked) {
        for (flag, value) in &self.model.engine.flags {
            // What goatbuild sets itself is told before the lock is asked.
            if OURS.iter().any(|(ours, _)| ours == flag) {
                continue;
            }
            match self.engine.flags.get(flag) {
                None if self.is_partial() => found.warnings.push(self.unseen(flag)),
                None => found.problems.push(self.unknown(flag)),
                // Looked at before the lock was, and more closely.
                Some(_) if flag == hub::ADAPTERS => {}
                Some(takes) => self.value(flag, &value.value, takes, found),
            }
        }
        let problems = &mut found.problems;
        self.parser("tool-call-parser", "tool-parser-plugin", &self.engine.tool_parsers, problems);
        self.parser(
            "reasoning-parser",
            "reasoning-parser-plugin",
            &self.engine.reasoning_parsers,
            problems,
        );
        if is_on(self.model, "enable-auto-tool-choice")
            && !self.model.engine.flags.contains_key("tool-call-parser")
        {
            problems.push(problem(
                "enable-auto-tool-choice",
                "`enable-auto-tool-choice` needs a `tool-call-parser`".to_owned(),
                "write the one that the model was trained for, such as \"hermes\"",
            ));
        }
    }

    /// Whether the engine may take flags that nobody saw.
    fn is_partial(&self) -> bool {
        !self.engine.unread.is_empty()
    }

    fn unseen(&self, flag: &str) -> Warning {
        let near = nearest(flag, self.engine.flags.keys());
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        Warning {
            message: format!("`{flag}` is none of the flags of {} that could be read", self.name()),
            help: format!("{near}it is passed on as written, and checked by the engine alone"),
        }
    }

    fn unknown(&self, flag: &str) -> FlagProblem {
        let dashed = flag.replace('_', "-");
        let positive = dashed.strip_prefix("no-").unwrap_or_default();
        let known = |name: &str| self.engine.flags.contains_key(name);
        let help = if dashed != flag && known(&dashed) {
            format!("write `{dashed}`")
        } else if known(positive) {
            format!("write `{positive} = false`")
        } else if let Some(instead) = instead(flag) {
            instead.to_owned()
        } else {
            match (versions_with(flag).as_slice(), nearest(flag, self.engine.flags.keys())) {
                ([], Some(near)) => format!("did you mean `{near}`?"),
                ([], None) => "`vllm serve --help=all` lists what there is".to_owned(),
                (versions, _) => {
                    format!("vllm {} has it; this image does not", versions.join(" and "))
                }
            }
        };
        problem(flag, format!("{} has no flag `{flag}`", self.name()), help)
    }

    fn parser(
        &self,
        flag: &str,
        plugin: &str,
        known: &std::collections::BTreeSet<String>,
        problems: &mut Vec<FlagProblem>,
    ) {
        let flags = &self.model.engine.flags;
        let Some(Value::String(word)) = flags.get(flag).map(|flag| &flag.value) else { return };
        let checked =
            matches!(self.engine.flags.get(flag).map(|it| &it.kind), Some(ValueKind::OneOf(_)));
        if known.is_empty() || checked || flags.contains_key(plugin) || known.contains(word) {
            return;
        }
        let words: Vec<String> = known.iter().cloned().collect();
        problems.push(self.choice(flag, word, &words));
    }

    /// Models that this version is known not to serve.
    fn unsupported(&self, locked: &Locked) -> Vec<FlagProblem> {
        let mut problems = Vec::new();
        let whole = |message, help: &str| FlagProblem {
            subject: Subject::Model,
            message,
            help: help.to_owned(),
        };
        let Some(kind) = &locked.model_type else { return problems };
        let known = &self.engine.architectures;
        let listed = locked.architectures.iter().any(|it| known.contains(it));
        // Its MXFP4 weights are read by vLLM's own implementation alone.
        if kind == "gpt_oss" && !known.is_empty() && !listed {
            let message = format!("{} does not serve gpt-oss models", self.name());
            problems.push(whole(message, "use an image with a newer vllm; 0.13.0 serves them"));
        }
        if let Some(draft) = &self.model.draft
            && draft.method == "eagle3"
        {
            let listed: Vec<&str> = self.engine.eagle3_targets.iter().map(String::as_str).collect();
            // Before there was a list, the condition named one: read in 0.8.5.post1.
            let targets = match listed.as_slice() {
                [] if !since(&self.engine.version, [0, 9]) => vec!["llama"],
                _ => listed,
            };
            if !targets.is_empty() && !targets.iter().any(|target| kind.contains(target)) {
                problems.push(whole(
                    format!(
                        "{} drafts with eagle3 for {} only, and this model is a {kind}",
                        self.name(),
                        targets.join(", ")
                    ),
                    "use an image with another vllm, another `draft.method`, or remove [draft]",
                ));
            }
        }
        problems
    }

    fn fallback(&self, locked: &Locked) -> Option<Warning> {
        let known = &self.engine.architectures;
        let architecture = locked.architectures.first()?;
        let unlisted =
            !known.is_empty() && !locked.architectures.iter().any(|it| known.contains(it));
        (unlisted && locked.model_type.as_deref() != Some("gpt_oss")).then(|| Warning {
            message: format!("{} has no {architecture} of its own", self.name()),
            help: "it may serve the model through Transformers, more slowly, or refuse it"
                .to_owned(),
        })
    }

    /// Variables that vLLM does not know have no effect.
    fn environment(&self, locked: &Locked) -> Vec<Warning> {
        let known = &self.engine.environment;
        let ours = |name: &&String| name.starts_with("VLLM_") && !known.contains(*name);
        let names = locked.image_environment.iter().chain(self.model.env.keys());
        let warning = |name: &String| Warning {
            message: format!("{} does not know the variable {name}", self.name()),
            help: match nearest(name, known) {
                Some(near) => format!("did you mean {near}?"),
                None => "it has no effect; remove it".to_owned(),
            },
        };
        if known.is_empty() { Vec::new() } else { names.filter(ours).map(warning).collect() }
    }
}
