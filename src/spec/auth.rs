//! Who may ask a model: what specs say of it, and the secrets that it takes, all by name.

use std::collections::BTreeMap;
use std::fmt;

use super::context::Rank;
use super::model::{ModalTarget, TargetKind};
use super::model_file::{VARIABLE, is_variable};
use super::problem::{Problem, nearest};
use super::read::Shared;
use super::table::Table;
use super::value::quoted;

/// Who may ask a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Auth {
    /// Who has one of the workspace's proxy tokens: Modal turns everybody else away itself, and no
    /// replica is started, and billed, for them.
    Proxy,
    /// Who has the key that a Modal secret holds: replicas turn everybody else away.
    ApiKey,
    /// Anybody who reaches it: on this machine its users, on Modal the whole world.
    Open,
}

impl Auth {
    /// The one that specs write so.
    pub fn named(word: &str) -> Option<Self> {
        AUTHS.iter().find(|(name, _)| *name == word).map(|(_, auth)| *auth)
    }
}

impl fmt::Display for Auth {
    /// As specs write it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Proxy => "proxy",
            Self::ApiKey => "api-key",
            Self::Open => "none",
        })
    }
}

/// The variables that hold the two halves of a proxy token, wherever requests are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyToken {
    /// The one whose value begins with `wk-`.
    pub key: String,
    /// The one whose value begins with `ws-`.
    pub secret: String,
}

/// A header that a protected model wants. Its value is in a variable, wherever requests are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header.
    pub name: &'static str,
    /// What stands before the value.
    pub scheme: &'static str,
    /// The variable.
    pub variable: String,
}

/// The header that clients of the `OpenAI` API send a key in.
pub const AUTHORIZATION: &str = "Authorization";

impl ModalTarget {
    /// The headers that a model wants which is protected like this.
    pub fn headers(&self, auth: Auth) -> Vec<Header> {
        let header =
            |name, scheme, variable: &String| Header { name, scheme, variable: variable.clone() };
        match auth {
            Auth::Proxy => vec![
                header("Modal-Key", "", &self.proxy_token.key),
                header("Modal-Secret", "", &self.proxy_token.secret),
            ],
            Auth::ApiKey => vec![header(AUTHORIZATION, "Bearer ", &self.api_key_variable)],
            Auth::Open => Vec::new(),
        }
    }

    /// The Modal secrets that running replicas have.
    pub fn served_secrets(&self, auth: Auth) -> impl Iterator<Item = &String> {
        self.api_key_secret.iter().filter(move |_| auth == Auth::ApiKey)
    }
}

/// As specs write it; the first is what models on Modal get that say nothing.
pub(super) const AUTHS: [(&str, Auth); 3] =
    [("proxy", Auth::Proxy), ("api-key", Auth::ApiKey), ("none", Auth::Open)];

/// Reads `serve.auth`.
pub(super) fn auth(table: &mut Table<'_, '_>, target: TargetKind, shared: &Shared<'_>) -> Auth {
    let written = table.every("auth").next();
    let word = table.optional_choice("auth", &AUTHS);
    match (target, written) {
        (TargetKind::Modal, None) => table.built_in("auth", || quoted(AUTHS[0].0)),
        // What the defaults say is for the models of which it can be said.
        (TargetKind::Local, Some(found)) if found.layer.rank != Rank::Defaults => {
            if let Some(auth) = word.filter(|auth| *auth != Auth::Open) {
                let expected = "only \"none\" for a model on this machine, whose port no other \
                                machine should reach; \"proxy\" and \"api-key\" are for \
                                `target = \"modal\"`";
                table.bad("auth", &quoted(&auth.to_string()), expected, &found.spot());
            }
        }
        _ => {}
    }
    if target == TargetKind::Local {
        return Auth::Open;
    }
    let auth = word.unwrap_or(AUTHS[0].1);
    if auth == Auth::ApiKey && !shared.has_api_key() {
        let problem = Problem::MissingField {
            field: "target.modal.api-key-secret".to_owned(),
            example:
                "api-key-secret = \"NAME\", a Modal secret, in goatbuild.toml's [target.modal]"
                    .to_owned(),
        };
        table.context.report(problem, &table.spot_of("auth"));
    }
    auth
}

/// The variables of a proxy token, as people name them when nobody says otherwise.
pub(super) const PROXY_TOKEN: [(&str, &str); 2] =
    [("key", "MODAL_PROXY_KEY"), ("secret", "MODAL_PROXY_SECRET")];

/// The variable of an API key, in the Modal secret and here.
pub(super) const API_KEY: &str = "GOATBUILD_API_KEY";

/// Reads `proxy-token`.
pub(super) fn proxy_token(mut table: Table<'_, '_>) -> ProxyToken {
    let [key, secret] = PROXY_TOKEN.map(|(key, default)| variable(&mut table, key, default));
    table.finish();
    ProxyToken { key, secret }
}

/// Reads a variable's name.
pub(super) fn variable<'a>(table: &mut Table<'a, '_>, key: &'a str, default: &str) -> String {
    let text = table.string(key).filter(|text| {
        let is_variable = is_variable(text.value);
        if !is_variable {
            table.bad(key, &quoted(text.value), VARIABLE, &text.spot);
        }
        is_variable
    });
    text.map_or(default, |text| text.value).to_owned()
}

/// Reads `[secrets]`: how often each was replaced. `known` are the names that settings mention.
pub(super) fn generations(mut table: Table<'_, '_>, known: &[String]) -> BTreeMap<String, u32> {
    let mut generations = BTreeMap::new();
    for key in table.other_keys() {
        if !known.iter().any(|name| name == key.value) {
            let problem = Problem::DanglingName {
                kind: "secret",
                name: key.value.to_owned(),
                nearest: nearest(key.value, known.iter().map(String::as_str)).map(str::to_owned),
                make: "name it in [target.modal], as `api-key-secret` for example".to_owned(),
            };
            table.context.report(problem, &key.spot);
        }
        let mut secret = table.table(key.value);
        let generation = secret.integer("generation", 1..1_000_001);
        if !secret.has("generation") {
            secret.missing("generation", "generation = 2");
        }
        secret.finish();
        if let Some(generation) = generation.and_then(|(it, _)| u32::try_from(it).ok()) {
            generations.insert(key.value.to_owned(), generation);
        }
    }
    generations
}
