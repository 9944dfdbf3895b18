//! What models are called, so that each has the app that stands: an app is a prefix and a model's name.

use super::found::Found;
use crate::spec::ModelName;

/// The longest prefix of apps.
const LONGEST: usize = 40;

/// What models are called.
pub(super) struct Names {
    /// What all apps begin with.
    pub(super) prefix: String,
    /// Each model's name, in order.
    pub(super) models: Vec<String>,
    /// The places of those whose app stays another one, and why.
    pub(super) apart: Vec<(usize, String)>,
}

/// Finds names for what scripts deploy.
pub(super) fn names(found: &[Found]) -> Names {
    let apps: Vec<Option<&str>> = found.iter().map(|it| it.app.as_deref()).collect();
    let is_single = |app: &str| apps.iter().filter(|other| **other == Some(app)).count() == 1;
    let usable: Vec<(usize, &str)> = apps
        .iter()
        .enumerate()
        .filter_map(|(at, app)| Some((at, (*app)?)))
        .filter(|(_, app)| is_single(app) && ModelName::new(app).is_ok())
        .collect();
    let prefix = prefix(found, &usable);
    let mut names = Names { prefix, models: Vec::new(), apart: Vec::new() };
    for (at, it) in found.iter().enumerate() {
        let own = usable.iter().find(|(place, _)| *place == at);
        let rest = own.and_then(|(_, app)| app.strip_prefix(names.prefix.as_str()));
        let name = rest.map_or_else(|| slug(&alone(it)), str::to_owned);
        let mut free = name.clone();
        let mut number = 2;
        while names.models.contains(&free) {
            free = format!("{name}-{number}");
            number += 1;
        }
        if own.is_none()
            && let Some(app) = &it.app
        {
            let why = if is_single(app) {
                "no model of goatbuild's can have that app, since its name has other signs than \
                 lowercase letters, digits, `-` and `.`"
            } else {
                "goatbuild makes an app for each model"
            };
            let ours = format!("{}{free}", names.prefix);
            let why = format!(
                "the app `{app}` isn't taken over: {why}. `{ours}` comes to stand beside it: \
                 stop `{app}` by hand once that answers"
            );
            names.apart.push((at, why));
        }
        names.models.push(free);
    }
    names
}

/// What all apps begin with, and what is left of each is a name.
fn prefix(found: &[Found], usable: &[(usize, &str)]) -> String {
    let [(first, app), others @ ..] = usable else { return String::new() };
    let is_prefix = |prefix: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        prefix.len() <= LONGEST && !prefix.starts_with('-') && prefix.bytes().all(inner)
    };
    // A row's key, or the end of the repository's name, is what the model is called already.
    let own = [found[*first].row.as_deref().map(slug), found[*first].weights.as_deref().map(last)];
    for name in own.into_iter().flatten() {
        let Some(prefix) = app.strip_suffix(name.as_str()).filter(|it| is_prefix(it)) else {
            continue;
        };
        let fits =
            |app: &str| app.strip_prefix(prefix).is_some_and(|rest| ModelName::new(rest).is_ok());
        if others.iter().all(|(_, app)| fits(app)) {
            return prefix.to_owned();
        }
    }
    if others.is_empty() {
        return String::new();
    }
    let mut shared = *app;
    for (_, other) in others {
        let length = shared.bytes().zip(other.bytes()).take_while(|(one, two)| one == two).count();
        shared = &shared[..length];
    }
    let shared = &shared[..shared.rfind('-').map_or(0, |at| at + 1)];
    let all = usable.iter().all(|(_, app)| ModelName::new(&app[shared.len()..]).is_ok());
    if all && is_prefix(shared) { shared.to_owned() } else { String::new() }
}

/// What a model is called whose app says nothing of it.
fn alone(found: &Found) -> String {
    let weights = found.weights.as_deref().map(last);
    found.row.clone().or(weights).unwrap_or_else(|| found.function.clone())
}

/// The last part of a repository's name.
fn last(repository: &str) -> String {
    slug(repository.rsplit('/').next().unwrap_or(repository))
}

/// A text as a name can have it.
pub(super) fn slug(text: &str) -> String {
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '.' | '-') => letter,
        _ => '-',
    };
    let mut slug: String = text.chars().map(letter).collect();
    slug.truncate(60);
    let slug = slug.trim_matches(['-', '.']);
    if slug.is_empty() { "model".to_owned() } else { slug.to_owned() }
}
