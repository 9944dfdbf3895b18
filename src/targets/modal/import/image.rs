//! Images that a script describes call by call.

use crate::engine::Engines;
use crate::import::{Call, Found, Reading, Value, What};
use crate::platform::MajorMinor;
use crate::spec::{ImageReference, own_variables};

/// The Python of an image that names none: Modal takes that of whoever deploys.
const PYTHON: &str = "3.12";

/// What Modal's own image is made of, and the release's name.
const DEBIAN: (&str, &str) = ("docker.io/library/debian:bookworm-slim", "bookworm");

/// The Python of that release, which packages of it bring.
const DEBIANS_PYTHON: &str = "3.11";

/// Calls after which the image is as it was, for a server that goatbuild starts.
const KEEPS: [&str; 7] = [
    "entrypoint",
    "cmd",
    "workdir",
    "imports",
    "add_local_python_source",
    "copy_local_file",
    "shell",
];

/// Reads an image from its first call to its last.
pub(super) fn read(reading: &Reading, image: &Value, engines: Engines, found: &mut Found) {
    let mut calls = Vec::new();
    let mut at = image.call();
    while let Some(call) = at {
        calls.push(call);
        at = call.receiver().and_then(Value::call);
    }
    calls.reverse();
    let mut packages: Vec<String> = Vec::new();
    let mut is_debian = false;
    for (place, call) in calls.into_iter().enumerate() {
        let name = call.name().unwrap_or_default();
        if place == 0 {
            is_debian = base(call, name, found);
            continue;
        }
        match name {
            "pip_install" | "uv_pip_install" => pip(call, found),
            "apt_install" => {
                let texts = texts(&call.positional);
                if is_debian && found.image.python.as_deref() == Some(DEBIANS_PYTHON) {
                    packages.extend(texts);
                } else {
                    let why = format!(
                        "Debian's packages aren't installed on a base out of a registry: {}",
                        texts.join(" ")
                    );
                    found.remarks.lose(call.line, why);
                }
            }
            "env" => {
                let pairs = call.argument("vars", 0).map_or(&[][..], Value::pairs);
                variables(reading, pairs, engines, found);
            }
            "run_commands" => {
                for value in flat(&call.positional) {
                    command(value, found);
                }
            }
            "run_function" => {
                found.remarks.lose(
                    call.line,
                    "nothing runs while an image is built; weights are fetched \
                                               into a volume",
                );
            }
            "pip_install_from_requirements"
            | "pip_install_from_pyproject"
            | "uv_sync"
            | "poetry_install_from_file"
            | "pip_install_private_repos" => {
                let why = format!("`{name}`: write what is in that file into `requirements`");
                found.remarks.lose(call.line, why);
            }
            name if KEEPS.contains(&name) => {}
            name if name.starts_with("add_local_") || name.starts_with("copy_") => {
                let why = format!("`{name}`: an image has no files of this machine");
                found.remarks.lose(call.line, why);
            }
            "dockerfile_commands" => {
                found
                    .remarks
                    .lose(call.line, "an image is a base and requirements: no commands run in it");
            }
            name => found.remarks.lose(call.line, format!("`{name}`: images have nothing like it")),
        }
    }
    let (reference, release) = DEBIAN;
    if is_debian && found.image.python.as_deref() == Some(DEBIANS_PYTHON) {
        let mut base = toml::Table::new();
        base.insert("debian".to_owned(), release.into());
        let mut all = ["python3", "ca-certificates"].map(str::to_owned).to_vec();
        for package in packages {
            if !all.contains(&package) {
                all.push(package);
            }
        }
        base.insert("packages".to_owned(), all.into());
        found.image.base = Some(base.into());
    } else if is_debian {
        found.image.base = Some(reference.into());
    }
    pins(image.line, found);
}

/// Reads where an image begins; says whether that is Modal's own Debian.
fn base(call: &Call, name: &str, found: &mut Found) -> bool {
    match name {
        "debian_slim" => {
            let said = python(call.argument("python_version", 0), found);
            if said.is_none() {
                let what = format!("it has the Python of whoever deployed; {PYTHON} is written");
                found.remarks.lose(call.line, what);
            }
            found.image.python = Some(said.unwrap_or_else(|| PYTHON.to_owned()));
            return true;
        }
        "from_registry" => {
            found.image.python = python(call.named("add_python"), found);
            let tag = call.argument("tag", 0);
            found.comes_from(tag.map_or(call.line, |tag| tag.line), "image.base");
            let why = match tag.and_then(Value::text) {
                Some(tag) if tag.parse::<ImageReference>().is_ok() => {
                    found.image.base = Some(tag.into());
                    None
                }
                Some(tag) => Some(format!("`{tag}` names no image in a registry")),
                None => Some("only a run would tell which image that is".to_owned()),
            };
            if let Some(why) = why {
                let (debian, _) = DEBIAN;
                let line = tag.map_or(call.line, |tag| tag.line);
                found.remarks.lose(line, format!("{why}: {debian} is written"));
                found.image.base = Some(debian.into());
                found.image.python.get_or_insert_with(|| PYTHON.to_owned());
            }
            if let Some(secret) = call.named("secret").filter(|it| it.what != What::None) {
                let why = "name the registry's secret in [target.modal] `registry-secret`";
                found.remarks.lose(secret.line, why);
            }
            if call.named("setup_dockerfile_commands").is_some() {
                found.remarks.lose(call.line, "no commands run in an image");
            }
        }
        name => {
            let why =
                format!("`{name}`: an image is begun from a registry or from Debian packages");
            found.remarks.lose(call.line, why);
            found.image.python = Some(PYTHON.to_owned());
            return true;
        }
    }
    false
}

/// The Python that is named: a project says which one by two numbers.
fn python(value: Option<&Value>, found: &mut Found) -> Option<String> {
    let value = value?;
    let said = value.text_or_number()?;
    found.comes_from(value.line, "image.python");
    let mut numbers = said.split('.');
    let short = format!("{}.{}", numbers.next()?, numbers.next().unwrap_or_default());
    if numbers.next().is_some() && short.parse::<MajorMinor>().is_ok() {
        let why =
            format!("the last number of Python {said} is the lock's to choose: {short} is written");
        found.remarks.lose(value.line, why);
        return Some(short);
    }
    Some(said)
}

fn flat(values: &[Value]) -> impl Iterator<Item = &Value> {
    values.iter().flat_map(|value| match &value.what {
        What::List(items) => items.iter().collect::<Vec<_>>(),
        _ => vec![value],
    })
}

fn texts(values: &[Value]) -> Vec<String> {
    flat(values).filter_map(Value::text).map(str::to_owned).collect()
}

fn pip(call: &Call, found: &mut Found) {
    for value in flat(&call.positional) {
        match value.text() {
            Some(text) => requirement(text, value.line, found),
            None => found.remarks.lose(value.line, "only a run would tell which package that is"),
        }
    }
    for (name, value) in &call.named {
        let why = match name.as_str() {
            "index_url" | "extra_index_url" | "find_links" => {
                "indexes are told to `goatbuild lock` by variables, UV_INDEX and UV_DEFAULT_INDEX"
            }
            "extra_options" | "pre" => "what is installed is what the lock has: no options",
            "requirements" => "write what is in these files into `requirements`",
            _ => continue,
        };
        if !matches!(value.what, What::None | What::Boolean(false)) {
            found.remarks.lose(value.line, format!("`{name}`: {why}"));
        }
    }
}

/// Takes a requirement over, if a lock can have it.
fn requirement(text: &str, line: usize, found: &mut Found) {
    let text = text.trim();
    if text.starts_with('-') {
        return found.remarks.lose(line, "what is installed is what the lock has: no options");
    }
    if text.starts_with("git+") || text.contains("@ git+") {
        return found.remarks.lose(line, "a lock has wheels: write a version that the index has");
    }
    if text.starts_with("http") || text.contains("://") || text.starts_with(['.', '/']) {
        return found.remarks.lose(line, "a lock has wheels of an index: write name and version");
    }
    if !text.is_empty() && !found.image.requirements.iter().any(|it| it == text) {
        found.comes_from(line, format!("image.requirements.{text}"));
        found.image.requirements.push(text.to_owned());
    }
}

/// What a command installs is a requirement; nothing else that it does is done.
fn command(value: &Value, found: &mut Found) {
    let Some(text) = value.text() else {
        return found.remarks.lose(value.line, "no commands run in an image");
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let install = words.iter().position(|word| *word == "install");
    let is_pip = install.is_some_and(|at| words[..at].iter().any(|word| word.starts_with("pip")));
    let (Some(at), true) = (install, is_pip && !text.contains([';', '|', '&', '\n'])) else {
        return found.remarks.lose(value.line, "no commands run in an image");
    };
    let mut dropped = false;
    let mut rest = words[at + 1..].iter();
    while let Some(word) = rest.next() {
        let word = word.trim_matches(['"', '\'']);
        match word {
            "--system" | "--no-cache-dir" | "--upgrade" | "-U" | "--compile-bytecode" => {}
            "--index-url" | "--extra-index-url" | "-i" | "-f" | "--find-links" => {
                rest.next();
                dropped = true;
            }
            word if word.starts_with('-') => dropped = true,
            word => requirement(word, value.line, found),
        }
    }
    if dropped {
        let why = "what is installed is what the lock has: its options aren't taken over";
        found.remarks.lose(value.line, why);
    }
}

/// Takes variables over, for an image is what a project has them in.
pub(super) fn variables(
    reading: &Reading,
    pairs: &[(Value, Value)],
    engines: Engines,
    found: &mut Found,
) {
    let own = own_variables(engines);
    for (name, value) in pairs {
        let Some(name) = name.text() else { continue };
        match value.text_or_number() {
            // It is there so that the script reads itself again in the container.
            _ if reading.own_variables.contains(name) => {}
            Some(text) if reading.secrets.has(&text) => {
                let why = format!("{name} is a key or token: keep it in a secret of Modal's");
                found.remarks.lose(value.line, why);
            }
            _ if own.contains(name) => {
                found.remarks.lose(value.line, format!("goatbuild sets {name} itself"));
            }
            Some(text) => {
                found.comes_from(value.line, format!("image.env.{name}"));
                found.image.environment.insert(name.to_owned(), text.into());
            }
            None => found.remarks.lose(value.line, format!("only a run would tell what {name} is")),
        }
    }
}

/// What moves under its name.
fn pins(line: usize, found: &mut Found) {
    let is_loose = |text: &&String| !text.contains("==") && !text.contains('@');
    let loose: Vec<&str> =
        found.image.requirements.iter().filter(is_loose).map(String::as_str).collect();
    if !loose.is_empty() {
        let what = format!(
            "nothing pins {}: what stands may be another version than the lock will have; write `==` \
             and the version that stands",
            loose.join(", ")
        );
        found.remarks.suggest(line, what);
    }
    if let Some(base) = found.image.base.as_ref().and_then(toml::Value::as_str)
        && (base.ends_with(":latest")
            || !base.rsplit('/').next().unwrap_or(base).contains([':', '@']))
    {
        let what = format!("{base} moves: write a tag of a version; the lock keeps its digest");
        found.remarks.suggest(line, what);
    }
}
