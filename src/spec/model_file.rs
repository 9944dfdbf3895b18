//! Reads a model's spec.

use super::context::{Spot, Text};
use super::engine::engine;
use super::hardware::{asks_for_none, hardware};
use super::model::{Draft, GatewayEntry, HubSource, Model, ModelSource, State, is_commit};
use super::name::{ImageName, ModelName};
use super::named::{adapters, named};
use super::path::inside;
use super::patterns::FilePatterns;
use super::problem::{Problem, nearest};
use super::read::Shared;
use super::secret_table::secret_env;
use super::serve::serve;
use super::source::Located;
use super::table::Table;
use super::value::{VARIABLE, is_variable, quoted};
use crate::engine::Engine;

/// Reads the whole spec; nothing when a required part is missing or wrong.
pub(super) fn model(
    mut root: Table<'_, '_>,
    name: Option<ModelName>,
    shared: &Shared<'_>,
) -> Option<Model> {
    unset(&mut root, shared);
    let image = image(&mut root, shared);
    let state = root.choice("state", &[("present", State::Present), ("absent", State::Absent)]);
    let target = root.choice("target", &shared.kinds.targets.words());
    if let Some(example) = target.needed().filter(|_| !shared.has_target(target)) {
        let problem = Problem::MissingField {
            field: format!("target.{target}"),
            example: format!("[target.{target}] with {example} in goatbuild.toml"),
        };
        root.context.report(problem, &root.spot_of("target"));
    }
    let mut table = root.table("env");
    let env = table.string_map(is_variable, VARIABLE);
    table.finish();
    let secrets = &shared.settings.secrets;
    let secret_env = secret_env(root.table("secret-env"), &env, secrets, target.keeps_secrets());
    let source = source(root.table("model"));
    let draft = draft(root.table("draft"));
    let table = root.table("hardware");
    let asks_for_none = asks_for_none(&table) && (table.is_present() || !root.has("hardware"));
    let (hardware, reserved) = hardware(table, target, shared);
    let engine = engine(root.table("engine"), shared.kinds.engines);
    let kind = engine.as_ref().map(|engine| engine.kind);
    if target.allots_gpus() && asks_for_none && kind.is_some_and(Engine::needs_gpu) {
        let example = "[hardware] with gpu = \"H100\"".to_owned();
        let problem = Problem::MissingField { field: "hardware.gpu".to_owned(), example };
        root.context.report(problem, &root.spot);
    }
    let fallback = name.as_ref().map_or("", ModelName::as_str);
    let place = (target, kind);
    let repository = source.as_ref().and_then(ModelSource::hub);
    let repository = repository.map(|hub| hub.repository.as_str());
    let serve = serve(root.table("serve"), fallback, repository, place, shared);
    let gateway = gateway(root.table("gateway"), fallback, shared);
    let file = Located { value: (), place: root.spot.place() };
    root.finish();
    let (name, image, source) = (name?, image?, source?);
    let (engine, serve) = (engine?, serve?);
    let (named, adapters) = (named(&engine, &source, draft.as_ref()), adapters(&engine));
    Some(Model {
        name,
        file,
        image,
        state,
        target,
        env,
        secret_env,
        source,
        draft,
        hardware,
        reserved,
        engine,
        named,
        adapters,
        serve,
        gateway,
    })
}

/// Takes back the defaults that the spec names.
fn unset(root: &mut Table<'_, '_>, shared: &Shared<'_>) {
    let Some((paths, _)) = root.strings("unset") else { return };
    for path in paths {
        let known = shared.default_paths();
        if known.contains(path.value) {
            root.context.unset(path.value);
            continue;
        }
        let problem = Problem::DanglingName {
            kind: "default",
            name: path.value.to_owned(),
            nearest: nearest(path.value, known).map(str::to_owned),
            make: "remove it from `unset`: `[defaults]` in goatbuild.toml has no such field"
                .to_owned(),
        };
        root.context.report(problem, &path.spot);
    }
}

fn image(root: &mut Table<'_, '_>, shared: &Shared<'_>) -> Option<Located<ImageName>> {
    let text = root.required("image", &shared.image_example())?;
    match ImageName::new(text.value) {
        Ok(value) if shared.has_image(text.value) => {
            Some(Located { value, place: text.spot.place() })
        }
        Ok(name) => {
            let problem = Problem::DanglingName {
                kind: "image",
                name: name.to_string(),
                nearest: nearest(text.value, shared.image_names()).map(str::to_owned),
                make: format!("write images/{name}.toml"),
            };
            root.context.report(problem, &text.spot);
            None
        }
        Err(error) => {
            let (kind, name) = ("an image", text.value.to_owned());
            let problem = Problem::BadName { kind, name, expected: error.expected };
            root.context.report(problem, &text.spot);
            None
        }
    }
}

/// Whether a text can be the `source` of weights.
pub fn is_source(text: &str) -> bool {
    match text.split_once(':') {
        Some(("hf", repository)) => is_repository(repository),
        Some(("path", path)) => inside(path).is_some(),
        _ => false,
    }
}

/// Reads `source`, `revision`, `allow` and `ignore`, then what is left unknown.
fn source(mut table: Table<'_, '_>) -> Option<ModelSource> {
    let source = source_fields(&mut table);
    table.finish();
    source
}

fn source_fields(table: &mut Table<'_, '_>) -> Option<ModelSource> {
    let text = table.required("source", "source = \"hf:openai/gpt-oss-20b\"");
    let revision = table.string("revision");
    let patterns = ["allow", "ignore"].map(|key| (key, patterns(table, key)));
    let text = text?;
    if let Some(revision) = &revision
        && !is_revision(revision.value)
    {
        let expected = "a commit of 40 hex digits, a branch or a tag";
        table.bad("revision", &quoted(revision.value), expected, &revision.spot);
    }
    match text.value.split_once(':') {
        Some(("hf", repository)) if is_repository(repository) => {
            if revision.is_none() {
                table.built_in("revision", || quoted(DEFAULT_REVISION));
            }
            let revision = revision.map_or(DEFAULT_REVISION, |text| text.value);
            let lower = revision.to_ascii_lowercase();
            let [allow, ignore] = patterns
                .map(|(_, patterns)| patterns.map(|(patterns, _)| patterns).unwrap_or_default());
            Some(ModelSource::Hub(HubSource {
                repository: repository.to_owned(),
                revision: if is_commit(&lower) { lower } else { revision.to_owned() },
                files: FilePatterns::new(allow, ignore),
            }))
        }
        Some(("path", path)) => {
            if let Some(revision) = revision {
                let expected = "no revision: only sources that start with `hf:` have one";
                table.bad("revision", &quoted(revision.value), expected, &revision.spot);
            }
            for (key, patterns) in patterns {
                let Some((patterns, spot)) = patterns else { continue };
                let expected = "no patterns: only sources that start with `hf:` have them";
                table.bad(key, &FilePatterns::text(&patterns), expected, &spot);
            }
            let path = inside(path);
            if path.is_none() {
                let expected = "a path relative to the project that doesn't leave it";
                table.bad("source", &quoted(text.value), expected, &text.spot);
            }
            path.map(ModelSource::Path)
        }
        _ => {
            let expected = "\"hf:organisation/name\" or \"path:directory\"";
            table.bad("source", &quoted(text.value), expected, &text.spot);
            None
        }
    }
}

/// The branch of a repository that is meant when none is named, on every hub.
pub(super) const DEFAULT_REVISION: &str = "main";

/// Patterns of file names; not empty when they are there.
fn patterns<'a>(table: &mut Table<'a, '_>, key: &'a str) -> Option<(Vec<String>, Spot<'a>)> {
    let (texts, spot) = table.strings(key)?;
    let example = format!("patterns of file names, such as {key} = [\"original/*\"]");
    if texts.is_empty() {
        table.bad(key, "empty", &example, &spot);
    }
    for text in texts.iter().filter(|text| text.value.is_empty() || text.value.starts_with('/')) {
        table.bad(key, &quoted(text.value), &example, &text.spot);
    }
    Some((texts.into_iter().map(|text| text.value.to_owned()).collect(), spot))
}

/// Says whether `text` is `organisation/name` in the characters that the hub takes.
pub(super) fn is_repository(text: &str) -> bool {
    let is_part = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !part.is_empty()
            && part.len() <= 96
            && part.bytes().all(inner)
            && !part.starts_with(['.', '-'])
            && !part.ends_with(['.', '-'])
            && !part.contains("..")
    };
    text.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

/// Says whether `text` can be a git reference (or a commit): by the rules of git-check-ref-format(1), in
/// letters of any alphabet, without spaces of any kind, and without what turns the direction of a line.
pub(super) fn is_revision(text: &str) -> bool {
    let inner = |letter: char| {
        !letter.is_control()
            && !letter.is_whitespace()
            && !"~^:?*[\\".contains(letter)
            && !matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let is_part = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none()
    };
    text.chars().all(inner)
        && text.split('/').all(is_part)
        && !text.contains("..")
        && !text.contains("@{")
        && text != "@"
        && !text.starts_with('-')
        && !text.ends_with('.')
}

fn draft(mut table: Table<'_, '_>) -> Option<Draft> {
    if !table.is_present() {
        return None;
    }
    let source = source_fields(&mut table);
    let method = table.required("method", "method = \"eagle3\"");
    let tokens = table.integer("num-speculative-tokens", 1..1001);
    if !table.has("num-speculative-tokens") {
        table.missing("num-speculative-tokens", "num-speculative-tokens = 7");
    }
    table.finish();
    Some(Draft {
        source: source?,
        method: method?.value.to_owned(),
        num_speculative_tokens: u32::try_from(tokens?.0).ok()?,
    })
}

/// A printable text without spaces or quotes: what requests call a model.
fn word<'a>(table: &mut Table<'a, '_>, key: &'a str, default: &str) -> Option<Located<String>> {
    let text = table.string(key);
    if !table.has(key) {
        table.built_in(key, || quoted(default));
        return Some(Located { value: default.to_owned(), place: table.spot.place() });
    }
    let Text { value, spot } = text?;
    if value.is_empty() || !value.bytes().all(in_word) {
        table.bad(key, &quoted(value), WORD, &spot);
        return None;
    }
    Some(Located { value: value.to_owned(), place: spot.place() })
}

/// What the characters are that requests call a model by.
pub(super) const WORD: &str = "letters, digits and -_./:@+";

/// Says whether a character is one of [`WORD`].
pub(super) fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./:@+".contains(&byte)
}

/// There is an entry when the project has a gateway.
fn gateway(mut table: Table<'_, '_>, name: &str, shared: &Shared<'_>) -> Option<GatewayEntry> {
    let suffix = shared.alias_suffix();
    let alias = if suffix.is_some() || table.is_present() {
        word(&mut table, "alias", &format!("{name}{}", suffix.unwrap_or_default()))
    } else {
        None
    };
    table.finish();
    let (alias, suffix) = (alias?, suffix?.to_owned());
    let adapter_suffix = shared.environment.as_ref().map(|_| suffix.clone()).unwrap_or_default();
    Some(GatewayEntry { alias, suffix, adapter_suffix })
}
