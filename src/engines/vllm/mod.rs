//! vLLM: 0.8.5.post1 and 0.13.0 as tried, command lines also against the parsers of versions up to
//! 0.33.0; others by what their own wheel says.

mod check;
mod command;
mod first_import;
mod harmony;
mod history;
mod hub;
mod import;
pub mod read;
mod snapshot;
mod taken;
mod task;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;

use serde::Deserialize as _;
use toml::de::ValueDeserializer;

use super::{CACHES, HABITS, offline};
use crate::engine::{
    Adapter, Cache, Checked, Engine, FlagProblem, Locked, LockedEngine, Named, PinnedFile, Reading,
    Serving, Subject, Written, WrittenWord,
};
use crate::spec::{Api, FlagValue, Model, Value};

pub use taken::{Flag, Many, Taken, ValueKind};

/// vLLM.
pub struct Vllm;

/// Flags that change nothing of what is compiled: 0.13.0 leaves them out of its compile key.
///
/// Read from `VllmConfig.compute_hash`, `ModelConfig.compute_hash`, `SchedulerConfig.compute_hash`,
/// `CacheConfig.compute_hash` and `LoadConfig.compute_hash` of that version, and the flags of the
/// server itself (`FrontendArgs`), which no configuration has; 0.8.5.post1 hashes fewer fields.
/// More is left out there, `enforce-eager` too: what isn't worth a closer look is kept.
const NEVER_COMPILED: [&str; 40] = [
    "allow-credentials",
    "allowed-headers",
    "allowed-methods",
    "allowed-origins",
    "api-server-count",
    "chat-template",
    "chat-template-content-format",
    "disable-fastapi-docs",
    "disable-frontend-multiprocessing",
    "disable-log-requests",
    "disable-log-stats",
    "disable-uvicorn-access-log",
    "enable-auto-tool-choice",
    "enable-force-include-usage",
    "enable-log-outputs",
    "enable-log-requests",
    "enable-prompt-tokens-details",
    "enable-request-id-headers",
    "enable-server-load-tracking",
    "enable-ssl-refresh",
    "enable-tokenizer-info-endpoint",
    "exclude-tools-when-tool-choice-none",
    "gpu-memory-utilization",
    "h11-max-header-count",
    "h11-max-incomplete-event-size",
    "log-config-file",
    "log-error-stack",
    "max-log-len",
    "middleware",
    "response-role",
    "return-tokens-as-token-ids",
    "root-path",
    "seed",
    "served-model-name",
    "tool-call-parser",
    "tool-parser-plugin",
    "tool-server",
    "trust-request-chat-template",
    "use-tqdm-on-load",
    "uvicorn-log-level",
];

/// vLLM's flag for how tool calls are read.
pub(super) const TOOL_PARSER: &str = "tool-call-parser";

/// What the locked version takes, if its wheel could be read.
fn taken(locked: &Locked) -> Option<Taken> {
    let read = |it: &LockedEngine| {
        it.read().unwrap_or_else(|error| panic!("BUG: the lock was not looked at: {error}"))
    };
    locked.taken.as_ref().map(read)
}

/// What is wrong with a flag.
fn problem(flag: &str, message: String, help: impl Into<String>) -> FlagProblem {
    FlagProblem { subject: Subject::Flag(flag.to_owned()), message, help: help.into() }
}

/// Whether a flag is set to true.
fn is_on(model: &Model, flag: &str) -> bool {
    model.engine.flags.get(flag).is_some_and(|flag| flag.value == Value::Boolean(true))
}

impl Engine for Vllm {
    fn name(&self) -> &'static str {
        "vllm"
    }

    fn title(&self) -> &'static str {
        "vLLM"
    }

    fn takes_several_names(&self) -> bool {
        true
    }

    fn needs_gpu(&self) -> bool {
        true
    }

    fn can_sleep(&self) -> bool {
        true
    }

    fn caches(&self) -> &'static [Cache] {
        &CACHES
    }

    fn package(&self) -> Option<&'static str> {
        Some("vllm")
    }

    fn example_flag(&self) -> Option<&'static str> {
        Some("max-model-len = 8192")
    }

    /// Builds for CPUs have names of their own.
    fn is_in_wheel(&self, distribution: &str) -> bool {
        distribution == "vllm" || first_import::is_for_cpus(distribution)
    }

    fn api(&self, model: &Model, locked: &Locked) -> Api {
        task::api(model, locked)
    }

    /// `gpu_memory_utilization` of `vllm/config/cache.py`, whose default is 0.9 up to 0.13, and 0.92 in 0.25 and
    /// 0.30; an exact size for the cache is another way to say it.
    fn memory_share(&self, model: &Model) -> Option<(f64, bool)> {
        let flags = &model.engine.flags;
        if flags.contains_key("kv-cache-memory-bytes") {
            return None;
        }
        match flags.get("gpu-memory-utilization").map(|flag| &flag.value) {
            None => Some((0.9, false)),
            Some(Value::Float(share)) => Some((*share, true)),
            #[expect(clippy::cast_precision_loss, reason = "it is 0 or 1")]
            Some(Value::Integer(share)) => Some((*share as f64, true)),
            Some(_) => None,
        }
    }

    fn read(&self, files: &BTreeMap<String, String>, distribution: &str, version: &str) -> Reading {
        let read::Reading { engine, wanted } = read::read(files, distribution, version);
        let engine = (!engine.flags.is_empty()).then(|| LockedEngine::of(&engine));
        Reading { engine, wanted }
    }

    fn has_read(&self, locked: &LockedEngine) -> bool {
        locked.read().is_ok_and(|taken: Taken| taken.reading == read::READING)
    }

    fn check_kept(&self, kept: ValueDeserializer<'_>) -> Result<(), toml::de::Error> {
        Taken::deserialize(kept).map(drop)
    }

    fn first_import(&self, distribution: &str, version: &str) -> Vec<(&'static str, String)> {
        first_import::files(distribution, version)
    }

    fn named(&self, flags: &BTreeMap<String, FlagValue>) -> Vec<Named> {
        hub::named(flags)
    }

    fn adapters(&self, flags: &BTreeMap<String, FlagValue>) -> Vec<Adapter> {
        hub::adapters(flags)
    }

    fn files(&self, model: &Model, locked: &Locked) -> &'static [PinnedFile] {
        harmony::files(model, locked)
    }

    fn all_files(&self) -> &'static [PinnedFile] {
        &harmony::VOCABULARY
    }

    fn check(&self, model: &Model) -> Vec<FlagProblem> {
        [check::ours(model), hub::problems(model), snapshot::ours(model)].concat()
    }

    fn check_locked(&self, model: &Model, locked: &Locked) -> Checked {
        let mut checked = check::locked(model, locked);
        checked.problems.extend(snapshot::locked(model, locked));
        checked
    }

    fn compiles(&self, model: &Model) -> bool {
        !model.serve.fast_boot && !is_on(model, "enforce-eager")
    }

    fn reaches_compile_key(&self, flag: &str) -> bool {
        !NEVER_COMPILED.contains(&flag)
    }

    fn key_variable(&self) -> Option<&'static str> {
        Some("VLLM_API_KEY")
    }

    /// `build_app` in `vllm/entrypoints/openai/api_server.py`: each `--middleware` is imported, and the last
    /// one sees requests first (0.4.1 to 0.13.0).
    fn middleware(&self) -> Option<&'static str> {
        Some("--middleware")
    }

    /// Of its own variables, most are factors of its compile cache's key, whose values it writes beside
    /// the cache (`vllm/envs.py`, `compile_factors`; 0.13.0).
    fn writes_down(&self, variable: &str) -> bool {
        variable.starts_with("VLLM_")
    }

    fn import(&self, words: &[WrittenWord]) -> Option<Written> {
        import::line(words)
    }

    fn import_call(&self, name: &str, arguments: &[(String, WrittenWord)]) -> Option<Written> {
        import::call(name, arguments)
    }

    fn command(&self, model: &Model, serving: &Serving<'_>) -> Vec<String> {
        command::line(model, serving)
    }

    /// The same for warming up and for serving: 0.13.0's compile key takes in every variable that
    /// vLLM knows but a few, of which `VLLM_CACHE_ROOT` is one.
    fn environment(&self, mounts: &[&str]) -> BTreeMap<String, String> {
        let [root, flashinfer] = mounts[..] else { panic!("BUG: vLLM has two caches") };
        let (root, flashinfer) = (root.trim_end_matches('/'), flashinfer.trim_end_matches('/'));
        // FlashInfer adds `.cache/flashinfer` to its workspace.
        let workspace = flashinfer.strip_suffix("/.cache/flashinfer").unwrap_or(flashinfer);
        let workspace = if workspace.is_empty() { "/" } else { workspace };
        let ours = [
            ("VLLM_CACHE_ROOT", root.to_owned()),
            ("VLLM_NO_USAGE_STATS", "1".to_owned()),
            ("FLASHINFER_WORKSPACE_BASE", workspace.to_owned()),
            // vLLM sets both again for what it compiles itself; kernels besides that are kept too.
            ("TRITON_CACHE_DIR", format!("{root}/triton")),
            ("TORCHINDUCTOR_CACHE_DIR", format!("{root}/torchinductor")),
        ];
        let ours = ours.into_iter().map(|(name, value)| (name.to_owned(), value));
        offline().into_iter().chain(ours).collect()
    }

    fn left_to_specs(&self) -> &'static [&'static str] {
        &[HABITS[0], HABITS[1], "VLLM_NO_USAGE_STATS"]
    }

    fn health(&self, _: &Model) -> String {
        "/health".to_owned()
    }

    fn snapshot_environment(&self) -> BTreeMap<String, String> {
        snapshot::environment()
    }

    fn lists_served_name(&self) -> bool {
        true
    }

    fn calls_tools(&self, model: &Model) -> bool {
        let flag = model.engine.flags.get(TOOL_PARSER);
        flag.is_some_and(|flag| matches!(&flag.value, Value::String(_)))
    }

    /// 0.13.0 writes `torch_compile_cache/<hash>/rank_<r>_<d>/<part>/cache_key_factors.json` when it
    /// compiles, never over one that is there; 0.8.5.post1 tells nothing.
    fn cache_factors(&self) -> Option<&'static str> {
        Some("cache_key_factors.json")
    }

    /// `vllm_compile_cache.py` lists what was compiled, and is written when that is more than before
    /// (`compilation/backends.py`, `save_to_file`). With a torch of 2.10 or newer (`envs.py`,
    /// `use_aot_compile`) the function is kept as a whole, `torch_aot_compile/<hash>/rank_<r>_<d>/model`,
    /// and written again only when it could not be loaded (`compilation/decorators.py`).
    fn graphs(&self) -> &'static [&'static str] {
        &["vllm_compile_cache.py", "torch_aot_compile"]
    }
}
