//! What a function starts, and what that serves.

use crate::engine::{Engine, Engines, Written};
use crate::import::{Call, Definition, Found, Reading, Value, Word, words};

/// Calls that start a program, with the words of its command line as the first argument.
const STARTS: [&str; 10] = [
    "subprocess.Popen",
    "subprocess.run",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "os.system",
    "Popen",
    "asyncio.create_subprocess_shell",
    "os.popen",
    "pexpect.spawn",
];

/// The same, with each word as an argument of its own.
const SPREADS: [&str; 2] = ["asyncio.create_subprocess_exec", "os.execlp"];

/// The same, with the words as the second argument.
const SECOND: [&str; 3] = ["os.execvp", "os.execv", "os.execvpe"];

/// Reads what a definition starts; nothing where that is no engine.
pub(super) fn command(
    reading: &Reading,
    definition: &Definition,
    engines: Engines,
    found: &mut Found,
) -> Option<()> {
    let calls: Vec<&Call> = calls(definition).collect();
    for call in &calls {
        let words = started(reading, call);
        if words.is_empty() {
            continue;
        }
        let read = engines.iter().find_map(|engine| Some((engine, engine.import(&words)?)));
        if let Some((engine, written)) = read {
            take(engine, written, found);
            return Some(());
        }
    }
    for call in &calls {
        let Some(name) = call.name() else { continue };
        let arguments: Vec<(String, Word)> =
            call.named.iter().map(|(name, value)| (name.clone(), reading.word(value))).collect();
        let read =
            engines.iter().find_map(|engine| Some((engine, engine.import_call(name, &arguments)?)));
        if let Some((engine, written)) = read {
            let why = "the engine runs inside the script's own program: goatbuild starts the engine's \
                       own server, with these arguments";
            found.remarks.lose(call.line, why);
            take(engine, written, found);
            return Some(());
        }
    }
    None
}

/// Whether a definition fetches weights, which goatbuild does itself.
pub(super) fn fetches(definition: &Definition) -> bool {
    let names = ["snapshot_download", "hf_hub_download", "from_pretrained"];
    calls(definition).any(|call| call.name().is_some_and(|name| names.contains(&name)))
}

/// All that a definition would call, its methods among it.
pub(super) fn calls(definition: &Definition) -> impl Iterator<Item = &Call> {
    definition.calls.iter().chain(definition.methods.iter().flat_map(|method| &method.calls))
}

/// The words of what a call starts; none of a call that starts nothing.
fn started(reading: &Reading, call: &Call) -> Vec<Word> {
    let Some(path) = call.path() else { return Vec::new() };
    if STARTS.contains(&path) {
        let first = call.argument("args", 0);
        return first.map(|first| words(first, &reading.secrets)).unwrap_or_default();
    }
    if SECOND.contains(&path) {
        return call.positional.get(1).map(|it| words(it, &reading.secrets)).unwrap_or_default();
    }
    if SPREADS.contains(&path) {
        return call.positional.iter().map(|it| reading.word(it)).collect();
    }
    Vec::new()
}

/// The variables that a function sets before it starts a program, or hands to one.
pub(super) fn variables(
    reading: &Reading,
    settings: &Call,
    definition: &Definition,
    key: Option<&str>,
) -> Vec<(Value, Value)> {
    let mut set: Vec<(Value, Value)> = settings.named("env").map_or(&[][..], Value::pairs).to_vec();
    for call in calls(definition) {
        match (call.path(), &call.positional[..]) {
            (Some("os.environ" | "os.environ.setdefault" | "os.putenv"), [name, value]) => {
                set.push((name.clone(), value.clone()));
            }
            (Some("os.environ.update"), [more]) => set.extend_from_slice(more.pairs()),
            _ if !started(reading, call).is_empty() => {
                set.extend_from_slice(call.named("env").map_or(&[][..], Value::pairs));
            }
            _ => {}
        }
    }
    // Where the engine finds its key is told by whoever finds that.
    set.retain(|(name, _)| name.text().is_some_and(|name| Some(name) != key));
    set
}

fn take(engine: &'static dyn Engine, written: Written, found: &mut Found) {
    found.engine = engine.name();
    found.key_variable = engine.key_variable();
    found.remarks.lost.extend(written.lost.iter().cloned());
    found.written = written;
}

/// What is served, where the command line names a directory, or what only a run would tell.
pub(super) fn weights(reading: &Reading, definition: &Definition, found: &mut Found) {
    let is_repository = |text: &str| {
        text.split('/').count() == 2 && !text.starts_with(['/', '.', '~']) && !text.contains(' ')
    };
    if let Some((model, line)) = &found.written.model {
        if is_repository(model) {
            found.weights = Some(model.clone());
            return;
        }
        let line = *line;
        let why =
            format!("`{model}` is a directory in a volume, and goatbuild fetches weights itself");
        found.remarks.lose(line, why);
    }
    // Whatever fetches is told what.
    let fetches = |call: &Call| -> Option<(String, Option<String>)> {
        let name = call.name()?;
        if !["snapshot_download", "from_pretrained"].contains(&name) {
            return None;
        }
        let value =
            call.argument("repo_id", 0).or_else(|| call.named("pretrained_model_name_or_path"))?;
        let revision = call.named("revision").and_then(Value::text).map(str::to_owned);
        Some((value.text().filter(|text| is_repository(text))?.to_owned(), revision))
    };
    let all = std::iter::once(definition).chain(&reading.definitions);
    if let Some((repository, revision)) = all.flat_map(calls).find_map(fetches) {
        found.written.revision = found.written.revision.take().or(revision);
        found.weights = Some(repository);
        return;
    }
    // Or it has a name that says so.
    let named = reading.names.iter().filter_map(|(name, value)| {
        let is_model = name.to_ascii_uppercase().contains("MODEL");
        value.text().filter(|text| is_model && is_repository(text)).map(str::to_owned)
    });
    let mut named: Vec<String> = named.collect();
    named.sort();
    named.dedup();
    if let [only] = &named[..] {
        found.weights = Some(only.clone());
    }
}
