//! Which entries of a gateway's file lead to what scripts deploy.

use super::found::{Found, Remark};
use super::importing::{Files, Importing, LedEntry, say};

/// The alias of each model that has one, in order; says what becomes of the entries.
pub(super) fn aliases(
    importing: &Importing<'_>,
    models: &[String],
    files: &mut Files,
) -> Vec<Option<String>> {
    let Some(gateway) = &importing.gateway else { return vec![None; models.len()] };
    let mut aliases: Vec<Option<String>> = vec![None; models.len()];
    for entry in &gateway.entries {
        let leads = |found: &&Found| leads_by_url(entry, found);
        let at = importing.found.iter().position(|found| leads(&found)).or_else(|| {
            // Where a variable says the address, the name alone is left.
            let named = |found: &Found| entry.url.is_none() && asks_for(entry, found);
            let all: Vec<usize> =
                (0..models.len()).filter(|at| named(&importing.found[*at])).collect();
            <[usize; 1]>::try_from(all).ok().map(|[at]| at)
        });
        let Some(at) = at else { continue };
        let (found, model) = (&importing.found[at], &models[at]);
        if let Some(first) = &aliases[at] {
            let why = format!(
                "`{model}` has the entry of the alias `{first}`; this one stays as it is, and leads to \
                 the address of today"
            );
            files.lost.push(entry.remark(gateway.path, why));
            continue;
        }
        aliases[at] = Some(entry.alias.clone());
        let mut changes = vec!["a mark under `model_info`".to_owned()];
        if found.function != FUNCTION {
            changes.push("`api_base`, since the address is another".to_owned());
        }
        match found.serve.get("auth").and_then(toml::Value::as_str) {
            Some("none") if entry.key.is_some() => changes.push("`api_key`, to none".to_owned()),
            Some("proxy") => changes.push("the headers of a proxy token".to_owned()),
            Some("api-key") if entry.key.is_none() => {
                changes.push("`api_key`, to the variable that the project names".to_owned());
            }
            _ => {}
        }
        let what = format!(
            "leads to `{model}`: its alias stays `{}`, and prices and settings of your own stay; \
             `goatbuild apply --adopt {model}` takes it over and writes {}",
            entry.alias,
            changes.join(", ")
        );
        files.better.push(entry.remark(gateway.path, what));
    }
    if aliases.iter().all(Option::is_none) {
        let why = "no entry leads to what the scripts deploy".to_owned();
        say(&mut files.lost, gateway.path, 0, why);
    }
    aliases
}

/// The function that serves what goatbuild deploys.
const FUNCTION: &str = "serve";

impl LedEntry {
    /// Something to say of it. Its name stands for what is written in its line, which may have a key.
    fn remark(&self, path: &str, why: String) -> Remark {
        let text = format!("- model_name: {}", self.alias);
        Remark { script: path.to_owned(), line: self.line, text, why }
    }
}

fn leads_by_url(entry: &LedEntry, found: &Found) -> bool {
    let Some(url) = &entry.url else { return false };
    let host = url.split("://").last().unwrap_or(url);
    let host = host.split(['/', ':']).next().unwrap_or(host);
    let label = host.split('.').next().unwrap_or(host);
    found.labels.iter().any(|it| label == it || label.ends_with(&format!("--{it}")))
}

fn asks_for(entry: &LedEntry, found: &Found) -> bool {
    let model = entry.model.split_once('/').map_or(&*entry.model, |(_, rest)| rest);
    found.weights.as_deref() == Some(model)
        || found.written.served_names.iter().any(|it| it == model)
}
