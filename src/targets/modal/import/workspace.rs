//! Which workspace of Modal's a script is deployed to, where an address says it.

use std::collections::BTreeMap;

use crate::import::{Found, Script};

/// What addresses of Modal's end in.
const DOMAIN: &str = ".modal.run";

/// Modal's own default environment, whose addresses have no suffix unless somebody gave it one.
const DEFAULT_ENVIRONMENT: &str = "main";

/// What people write in place of a workspace's name.
const STANDS_FOR: [&str; 5] = ["your", "workspace", "example", "username", "org-name"];

/// Notes the workspace that an address of what is found begins with, in the script or in a gateway's file:
/// as a setting where it can be no other, and as a suggestion where it could.
pub(super) fn find(script: &Script, elsewhere: &[String], found: &mut Found) {
    let own = script.lines().flat_map(|(line, text)| hosts(text).map(move |host| (line, host)));
    let others = elsewhere.iter().flat_map(|url| hosts(url).map(|host| (0, host)));
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (line, host) in own.chain(others) {
        let Some((place, label)) = host.split_once("--") else { continue };
        let is_invented = STANDS_FOR.iter().any(|word| place.contains(word));
        if found.labels.iter().any(|it| it == label) && !is_invented {
            places.entry(place.to_owned()).or_insert(line);
        }
    }
    let environment = found.settings.get("environment").and_then(toml::Value::as_str);
    let environment = environment.unwrap_or(DEFAULT_ENVIRONMENT).to_owned();
    let certain: Vec<&str> = places.keys().filter_map(|it| certain(it, &environment)).collect();
    if let [only] = certain[..]
        && places.len() == 1
    {
        found.settings.insert("workspace".to_owned(), only.into());
        return;
    }
    for (place, line) in &places {
        let what = format!(
            "an address begins with `{place}`: the workspace, and behind a `-` the environment's suffix if \
             it has one. `workspace` in [target.modal] refuses the credentials of another one"
        );
        found.remarks.suggest(*line, what);
    }
}

/// The workspace that can alone be meant.
fn certain<'a>(place: &'a str, environment: &str) -> Option<&'a str> {
    if environment != DEFAULT_ENVIRONMENT
        && let Some(workspace) = place.strip_suffix(environment).and_then(|it| it.strip_suffix('-'))
    {
        return Some(workspace);
    }
    (!place.contains('-')).then_some(place)
}

/// The names before Modal's domain in the addresses of a text.
fn hosts(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(DOMAIN).filter_map(|(end, _)| {
        let before = &text[..end];
        let inner =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        let host = &before[before.trim_end_matches(inner).len()..];
        before[..end - host.len()].ends_with("//").then_some(host)
    })
}
