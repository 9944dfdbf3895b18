//! vLLM asleep: what a snapshot of its memory is taken of.

use std::collections::BTreeMap;

use crate::engine::{FlagProblem, Locked, Subject};
use crate::spec::Model;

/// What has it able to sleep: 0.8.5.post1 and 0.13.0 both take it.
pub(super) const FLAG: &str = "enable-sleep-mode";

/// What has it offer `/sleep` and `/wake_up`, and much else that is for developers alone.
pub(super) fn environment() -> BTreeMap<String, String> {
    [("VLLM_SERVER_DEV_MODE".to_owned(), "1".to_owned())].into()
}

/// What can be told without the lock.
pub(super) fn ours(model: &Model) -> Vec<FlagProblem> {
    if !model.serve.snapshot {
        return Vec::new();
    }
    let flag = model.engine.flags.contains_key(FLAG).then(|| FlagProblem {
        subject: Subject::Flag(FLAG.to_owned()),
        message: format!("goatbuild sets `{FLAG}` itself"),
        help: "remove it: `[serve] snapshot = true` says it".to_owned(),
    });
    flag.into_iter().collect()
}

/// What the locked version says.
pub(super) fn locked(model: &Model, locked: &Locked) -> Option<FlagProblem> {
    if !model.serve.snapshot {
        return None;
    }
    let engine = super::taken(locked)?;
    let is_able = engine.flags.contains_key(FLAG);
    (!is_able).then(|| FlagProblem {
        subject: Subject::Serve("snapshot"),
        message: format!(
            "{} {} has no flag `{FLAG}`, which a snapshot needs",
            engine.distribution, engine.version
        ),
        help: "use an image with a newer vllm, or remove `snapshot`".to_owned(),
    })
}
