//! Secrets of Modal's, and whether what is served asks for a key.

use std::fmt::Write as _;

use crate::engine::WrittenKey;
use crate::import::{Call, Definition, Found, Value};

/// The secret that is named where a script has the key itself.
const KEY_SECRET: &str = "goatbuild-api-key";

/// Finds the key where the engine finds it: in a variable of the image's, of a secret's, or that the
/// script sets. What stands asks for it, and would be open without it.
pub(super) fn find(call: &Call, image: Option<&Value>, definition: &Definition, found: &mut Found) {
    let (Some(variable), None) = (found.key_variable, &found.written.key) else { return };
    let mut at = image.and_then(Value::call);
    let mut dictionaries: Vec<&Value> = Vec::new();
    while let Some(made) = at {
        dictionaries.extend(made.argument("vars", 0).filter(|_| made.name() == Some("env")));
        at = made.receiver().and_then(Value::call);
    }
    dictionaries.extend(call.named("env"));
    let secrets = call.named("secrets").and_then(Value::items).unwrap_or_default();
    for secret in secrets.iter().filter_map(Value::call) {
        dictionaries.extend(secret.positional.first());
        let keys = secret.named("required_keys").and_then(Value::items).unwrap_or_default();
        if let Some(key) = keys.iter().find(|key| key.text() == Some(variable)) {
            found.written.key = Some((WrittenKey::Variable(variable.to_owned()), key.line));
        }
    }
    if let Some(key) = dictionaries.iter().find_map(|it| it.field(variable)) {
        found.written.key = Some((WrittenKey::Literal, key.line));
    }
    let sets = |call: &&Call| {
        call.path() == Some("os.environ")
            && call.positional.first().and_then(Value::text) == Some(variable)
    };
    let mut calls =
        definition.calls.iter().chain(definition.methods.iter().flat_map(|it| &it.calls));
    if let Some(set) = calls.find(sets) {
        let from = set.positional.get(1).and_then(|value| value.variable.clone());
        let key = from.map_or(WrittenKey::Literal, WrittenKey::Variable);
        found.written.key = Some((key, set.line));
    }
}

/// The secrets of Modal's that a script names, as a project names them.
pub(super) fn secrets(call: &Call, found: &mut Found) {
    let mut names = Vec::new();
    let listed = call.named("secrets").and_then(Value::items).unwrap_or_default();
    for secret in listed.iter().chain(call.named("secret")) {
        let Some(made) = secret.call() else {
            found.remarks.lose(secret.line, "only a run would tell which secret that is");
            continue;
        };
        let name = made.argument("name", 0).and_then(Value::text);
        let is_named = matches!(made.name(), Some("from_name" | "lookup"));
        if let Some(name) = name.filter(|_| is_named) {
            names.push((name.to_owned(), secret.line));
            continue;
        }
        let keys = made.positional.first().map_or(&[][..], Value::pairs);
        let keys: Vec<&str> = keys.iter().filter_map(|(key, _)| key.text()).collect();
        let keys = if keys.is_empty() { "what it holds".to_owned() } else { keys.join(", ") };
        let why = format!(
            "goatbuild never writes a value of a secret: put {keys} into a secret of Modal's (`modal \
             secret create`), and name that"
        );
        found.remarks.lose(secret.line, why);
    }
    let of_hub = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.contains("hugging") || name.split(['-', '_', '.']).any(|part| part == "hf")
    };
    let hub = names.iter().find(|(name, _)| of_hub(name)).cloned();
    if let Some((name, line)) = &hub {
        found.comes_from(*line, "target.hf-secret");
        found.settings.insert("hf-secret".to_owned(), name.as_str().into());
    }
    if let Some((key, line)) = found.written.key.clone() {
        let holds = names.iter().find(|(name, _)| !of_hub(name)).or(names.first());
        let variable = match key {
            WrittenKey::Variable(variable) if holds.is_some() => variable,
            WrittenKey::Variable(variable) => {
                let why = format!(
                    "which secret holds {variable} isn't said: make `{KEY_SECRET}` with that variable, \
                     or name yours in `api-key-secret`"
                );
                found.remarks.lose(line, why);
                variable
            }
            WrittenKey::Literal => {
                let why = format!(
                    "the key is written out, and goatbuild never writes one: make a secret at Modal, \
                     `modal secret create {KEY_SECRET} --from-json FILE`, with it as GOATBUILD_API_KEY"
                );
                found.remarks.lose(line, why);
                "GOATBUILD_API_KEY".to_owned()
            }
        };
        let by_name = (variable != "GOATBUILD_API_KEY").then_some(holds).flatten();
        found.comes_from(line, "target.api-key-secret");
        found.comes_from(line, "target.api-key-variable");
        let secret = by_name.map_or(KEY_SECRET, |(name, _)| name.as_str());
        found.settings.insert("api-key-secret".to_owned(), secret.into());
        found.settings.insert("api-key-variable".to_owned(), variable.into());
        if found.serve.get("auth").and_then(toml::Value::as_str) == Some("proxy") {
            found.remarks.lose(line, "a model is protected in one way: by Modal's proxy tokens");
        } else {
            found.serve.insert("auth".to_owned(), "api-key".into());
        }
    }
    for (name, line) in names {
        if !found.settings.values().any(|used| used.as_str() == Some(&name)) {
            let mut why = format!("replicas of goatbuild's have no secret but the key's: `{name}`");
            if let (Some(variable), None) = (found.key_variable, &found.written.key) {
                // What a secret holds, a script need not say.
                let _ = write!(
                    why,
                    ". If it holds {variable}, what stands asks for that key: write `auth = \"api-key\"` \
                     in [serve], and `api-key-secret` and `api-key-variable` in [target.modal]"
                );
            }
            found.remarks.lose(line, why);
        }
    }
}
