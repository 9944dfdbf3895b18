//! The files of a project that says what scripts deploy.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::found::{Found, FoundImage};
use super::importing::{Files, Importing, Origins, say};
use super::naming::{Names, names, slug};
use super::toml_text::{comment, field, inline, table};
use super::{fit, led};

/// Where weights are, in images of scripts and of projects alike.
const WEIGHTS: (&str, &str) = ("model-cache", "/root/.cache/huggingface");

/// Makes the files.
pub fn project(importing: &Importing<'_>) -> Files {
    let mut files = Files::default();
    let Names { prefix, models, apart } = names(&importing.found);
    for (at, why) in apart {
        say(&mut files.lost, &importing.found[at].script, 0, why);
    }
    let images = images(&importing.found);
    for (name, image) in &images {
        let path = format!("images/{name}.toml");
        if let Some(first) = importing.found.iter().find(|it| same(image, &it.image)) {
            files.origins.insert(path.clone(), origins(first, "image."));
        }
        files.files.push((path, image_text(image)));
    }
    let aliases = led::aliases(importing, &models, &mut files);
    for ((found, model), alias) in importing.found.iter().zip(&models).zip(aliases) {
        for (line, why) in &found.remarks.lost {
            say(&mut files.lost, &found.script, *line, why.clone());
        }
        for (line, what) in found.remarks.better.iter().cloned().chain(better(found, importing)) {
            say(&mut files.better, &found.script, line, what);
        }
        let image = images.iter().find(|(_, image)| same(image, &found.image));
        let image = image.map_or("", |(name, _)| name.as_str());
        let text = spec_text(found, image, alias.as_deref(), importing.default_engine);
        let path = format!("specs/{model}.toml");
        files.origins.insert(path.clone(), spec_origins(found));
        files.files.push((path, text));
    }
    let text = project_text(importing, &prefix, &mut files);
    files.files.push(("goatbuild.toml".to_owned(), text));
    for remarks in [&mut files.lost, &mut files.better] {
        remarks.sort();
        remarks.dedup();
    }
    files
}

/// The lines of what is under a path.
fn origins(found: &Found, under: &str) -> Origins {
    let script = &found.script;
    let own = |(path, line): (&String, &usize)| {
        Some((path.strip_prefix(under)?.to_owned(), (script.clone(), *line)))
    };
    let whole = (String::new(), (script.clone(), 0));
    found.lines.iter().filter_map(own).chain([whole]).collect()
}

/// The lines of what a spec says.
fn spec_origins(found: &Found) -> Origins {
    let mut origins = origins(found, "");
    for (flag, line) in &found.written.lines {
        let path = match flag.as_str() {
            "served-model-name" => "serve.served-name".to_owned(),
            "speculative-config" if !found.written.draft.is_empty() => "draft".to_owned(),
            "revision" => "model.revision".to_owned(),
            flag => format!("engine.{flag}"),
        };
        origins.insert(path, (found.script.clone(), *line));
    }
    origins
}

fn same(one: &FoundImage, other: &FoundImage) -> bool {
    FoundImage { name: None, ..one.clone() } == FoundImage { name: None, ..other.clone() }
}

/// The images, each once, with their names.
fn images(found: &[Found]) -> Vec<(String, FoundImage)> {
    let mut images: Vec<(String, FoundImage)> = Vec::new();
    for it in found {
        if images.iter().any(|(_, image)| same(image, &it.image)) {
            continue;
        }
        let said = it.image.name.as_deref().map(|name| {
            let name = name.to_ascii_lowercase().replace('_', "-");
            name.replace("-image", "").replace("image-", "").replace("image", "")
        });
        let name = said.filter(|name| !name.is_empty()).unwrap_or_else(|| it.engine.to_owned());
        let name = slug(&name);
        let mut free = name.clone();
        let mut number = 2;
        while images.iter().any(|(other, _)| *other == free) {
            free = format!("{name}-{number}");
            number += 1;
        }
        images.push((free, it.image.clone()));
    }
    images
}

fn image_text(image: &FoundImage) -> String {
    let mut text = String::new();
    field(&mut text, "platform", &"linux/amd64".into());
    if let Some(base) = &image.base {
        field(&mut text, "base", base);
    }
    if let Some(python) = &image.python {
        field(&mut text, "python", &python.as_str().into());
    }
    let requirements: Vec<toml::Value> =
        image.requirements.iter().map(|it| it.as_str().into()).collect();
    field(&mut text, "requirements", &requirements.into());
    table(&mut text, "env", &image.environment);
    text
}

fn spec_text(found: &Found, image: &str, alias: Option<&str>, default_engine: &str) -> String {
    let mut about = format!("From {}", found.script);
    if let Some(row) = &found.row {
        let _ = write!(about, ", its row `{row}`");
    }
    let mut text = format!("{}\n", comment(&format!("{about}.")));
    field(&mut text, "image", &image.into());
    field(&mut text, "target", &found.target.into());
    let written = &found.written;
    let source = found.weights.as_deref().unwrap_or_default();
    text.push_str("\n[model]\n");
    field(&mut text, "source", &format!("hf:{source}").into());
    if let Some(revision) = &written.revision {
        field(&mut text, "revision", &revision.as_str().into());
    }
    table(&mut text, "draft", &written.draft);
    table(&mut text, "hardware", &found.hardware);
    let mut engine = toml::Table::new();
    if found.engine != default_engine {
        engine.insert("name".to_owned(), found.engine.into());
    }
    engine.extend(written.flags.clone());
    for (name, words) in [("extra-args", &written.extra), ("command", &written.command)] {
        if !words.is_empty() {
            let words: Vec<toml::Value> = words.iter().map(|word| word.as_str().into()).collect();
            engine.insert(name.to_owned(), words.into());
        }
    }
    table(&mut text, "engine", &engine);
    let mut serve = found.serve.clone();
    match &written.served_names[..] {
        [] => {}
        [only] => _ = serve.insert("served-name".to_owned(), only.as_str().into()),
        names => {
            let names: Vec<toml::Value> = names.iter().map(|name| name.as_str().into()).collect();
            serve.insert("served-name".to_owned(), names.into());
        }
    }
    table(&mut text, "serve", &serve);
    if let Some(alias) = alias {
        let mut gateway = toml::Table::new();
        gateway.insert("alias".to_owned(), alias.into());
        table(&mut text, "gateway", &gateway);
    }
    text
}

fn project_text(importing: &Importing<'_>, prefix: &str, files: &mut Files) -> String {
    let mut scripts: Vec<&str> = importing.found.iter().map(|it| it.script.as_str()).collect();
    scripts.dedup();
    let mut text = comment(&format!(
        "What {} deploys, as `goatbuild import` read it: with the settings that stand.",
        scripts.join(", ")
    ));
    text.push_str("\n[project]\n");
    field(&mut text, "id", &importing.id.into());
    field(&mut text, "app-prefix", &prefix.into());
    let origins = files.origins.entry("goatbuild.toml".to_owned()).or_default();
    let mut settings: BTreeMap<&str, toml::Table> = BTreeMap::new();
    for found in &importing.found {
        let own = settings.entry(found.target).or_default();
        for (name, value) in &found.settings {
            let before = own.entry(name.clone()).or_insert_with(|| value.clone());
            if let Some(line) = found.lines.get(&format!("target.{name}")) {
                let path = format!("target.{}.{name}", found.target);
                origins.entry(path).or_insert((found.script.clone(), *line));
            }
            if before != value {
                let why = format!("a project has one `{name}`: {before} is written, not {value}");
                say(&mut files.lost, &found.script, 0, why);
            }
        }
    }
    for (target, settings) in settings {
        table(&mut text, &format!("target.{target}"), &settings);
    }
    text.push_str(&volumes(importing, files));
    if let Some(setting) = importing.gateway.as_ref().and_then(|it| it.setting.as_ref()) {
        let _ = write!(text, "\n{setting}");
    }
    text
}

/// Volumes that goatbuild has a use for, with the names that they have.
fn volumes(importing: &Importing<'_>, files: &mut Files) -> String {
    let caches = importing.caches.iter().map(|cache| (cache.volume, cache.mount));
    let known: Vec<(&str, &str)> = std::iter::once(WEIGHTS).chain(caches).collect();
    let mut volumes: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for found in &importing.found {
        for (mount, name) in &found.volumes {
            let Some((volume, _)) = known.iter().find(|(_, at)| at == mount) else {
                let why = format!(
                    "nothing that goatbuild starts reads the volume `{name}` at {mount}; its weights \
                     and caches have volumes of their own"
                );
                say(&mut files.lost, &found.script, 0, why);
                continue;
            };
            if let Some(line) = found.lines.get(&format!("volume {mount}")) {
                let origins = files.origins.entry("goatbuild.toml".to_owned()).or_default();
                let path = format!("volumes.{volume}");
                origins.entry(path).or_insert((found.script.clone(), *line));
            }
            let (before, _) = volumes.entry(volume).or_insert((name, mount));
            if before != name {
                let why = format!("a project has one `{volume}`: `{name}` isn't used");
                say(&mut files.lost, &found.script, 0, why);
            }
        }
    }
    let mut text = String::new();
    if !volumes.is_empty() {
        text.push_str("\n[volumes]\n");
    }
    for (volume, (name, mount)) in volumes {
        let [name, mount] = [name, mount].map(|text| inline(&text.into()));
        let _ = writeln!(text, "{volume} = {{ name = {name}, mount = {mount} }}");
    }
    text
}

/// What would be better than what stands.
fn better(found: &Found, importing: &Importing<'_>) -> Vec<(usize, String)> {
    let mut better = Vec::new();
    let line = found.written.model.as_ref().map_or(0, |(_, line)| *line);
    let name = found.weights.as_deref().unwrap_or_default();
    let is_commit =
        |text: &String| text.len() == 40 && text.bytes().all(|it| it.is_ascii_hexdigit());
    if let Some(revision) = found.written.revision.as_ref().filter(|it| !is_commit(it)) {
        let what = format!(
            "`{revision}` of hf:{name} may move: each start has what it is then; a commit in `revision` \
             stays"
        );
        better.push((line, what));
    } else if found.written.revision.is_none() {
        let what = format!(
            "`revision` pins hf:{name}: today each start has what the branch `main` is then; without \
             one the lock keeps a commit, until `goatbuild lock --upgrade`"
        );
        better.push((line, what));
    }
    if found.serve.get("max-inputs").and_then(toml::Value::as_integer) == Some(1) {
        let what =
            "a replica takes one request at a time, and each more is a GPU more; the engine can \
                    answer many at once: `max-inputs = 32`"
                .to_owned();
        better.push((0, what));
    }
    better.extend(fit::misfit(found, &importing.gpus).map(|what| (line, what)));
    better
}
