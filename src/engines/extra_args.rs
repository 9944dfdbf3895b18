//! `[engine] extra-args`: arguments that goatbuild hands to an engine without reading them.

use crate::engine::{FlagProblem, Subject, Warning};
use crate::spec::Model;

/// Flags that may name what is on a hub.
pub(super) struct OnHub<'a> {
    /// Which they are.
    pub(super) flags: &'a [&'a str],
    /// Whether a value of one does.
    pub(super) is_there: fn(&str, &str) -> bool,
}

/// Those that say what goatbuild says itself, with what to write instead; and those whose value is on a
/// hub.
///
/// Engines read them with Python's `argparse`: `--port 1`, `--port=1` and, where nothing else begins
/// so, `--po 1` are the same, and vLLM reads `_` for `-`. What is short for several flags they refuse.
pub(super) fn problems(model: &Model, ours: &[(&str, &str)], hub: &OnHub<'_>) -> Vec<FlagProblem> {
    let flags = &model.engine.flags;
    let texts: Vec<&str> =
        model.engine.extra_args.iter().map(|argument| argument.text.as_str()).collect();
    let find = |at: usize| {
        let name = name(texts[at])?;
        let on_a_hub =
            |flag: &str| values(&texts[at..]).iter().any(|value| (hub.is_there)(flag, value));
        let positive = name.strip_prefix("no-").unwrap_or(&name);
        let set = ours.iter().find(|(flag, _)| *flag == positive);
        let short = ours.iter().find(|(flag, _)| flag.starts_with(&name));
        let (message, help) = if let Some((flag, instead)) = set.or(short) {
            (format!("goatbuild sets `{flag}` itself"), (*instead).to_owned())
        } else if let Some(flag) =
            hub.flags.iter().find(|flag| flag.starts_with(&name) && on_a_hub(flag))
        {
            let message = format!("what `{flag}` names on a hub can't be locked here");
            (message, "write it as a flag of [engine]".to_owned())
        } else if flags.contains_key(positive) {
            let help = "write it in one place".to_owned();
            (format!("`{positive}` is among the flags of [engine] as well"), help)
        } else {
            return None;
        };
        Some(FlagProblem { subject: Subject::ExtraArg(at), message, help })
    };
    (0..texts.len()).filter_map(find).collect()
}

/// The values of the flag that is the first of these arguments: what is behind `=`, or what stands up to
/// the next flag. `--flag.key value` is a field of an object.
fn values(arguments: &[&str]) -> Vec<String> {
    let [first, behind @ ..] = arguments else { return Vec::new() };
    let (flag, values) = match first.split_once('=') {
        Some((flag, value)) => (flag, vec![value]),
        None => (*first, behind.iter().copied().take_while(|it| !it.starts_with('-')).collect()),
    };
    let of = |value: &str| match flag.split_once('.') {
        Some((_, key)) => serde_json::json!({ key: value }).to_string(),
        None => value.to_owned(),
    };
    values.into_iter().map(of).collect()
}

/// The flag that an argument names, without its value; a short one keeps its dash.
fn name(argument: &str) -> Option<String> {
    let name = argument.strip_prefix("--").or(argument.starts_with('-').then_some(argument))?;
    let name = name.split(['=', '.']).next().unwrap_or(name).replace('_', "-");
    (!["", "-"].contains(&name.as_str())).then_some(name)
}

/// That nobody looks at them before the engine does.
pub fn warning(model: &Model) -> Option<Warning> {
    let arguments: Vec<&str> =
        model.engine.extra_args.iter().map(|argument| argument.text.as_str()).collect();
    (!arguments.is_empty()).then(|| Warning {
        message: format!("`engine.extra-args` isn't checked: {}", arguments.join(" ")),
        help: "what the engine doesn't take ends its start; flags in [engine] are checked"
            .to_owned(),
    })
}

/// The arguments, for the end of a command line.
pub(super) fn of(model: &Model) -> impl Iterator<Item = String> {
    model.engine.extra_args.iter().map(|argument| argument.text.clone())
}
