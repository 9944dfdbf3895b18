//! Who may ask a model: what specs say of it.

use std::fmt;

use super::context::Rank;
use super::read::Shared;
use super::table::Table;
use super::target::TargetType;
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

/// As specs write it.
pub(super) const AUTHS: [(&str, Auth); 3] =
    [("proxy", Auth::Proxy), ("api-key", Auth::ApiKey), ("none", Auth::Open)];

/// Reads `serve.auth`, and whether anything says it.
pub(super) fn auth(
    table: &mut Table<'_, '_>,
    target: &'static dyn TargetType,
    shared: &Shared<'_>,
) -> (Auth, bool) {
    let written = table.every("auth").next();
    let is_said = written.is_some();
    let word = table.optional_choice("auth", &AUTHS);
    let default = match target.auth() {
        Ok(default) => default,
        Err(why) => {
            let refused = word.filter(|auth| *auth != Auth::Open);
            // What the defaults say is for the models of which it can be said.
            let found = written.filter(|found| found.layer.rank != Rank::Defaults);
            if let (Some(found), Some(auth)) = (found, refused) {
                let others = shared.kinds.targets.fields(|it| it.auth().is_ok());
                let expected =
                    format!("only \"none\" {why}; \"proxy\" and \"api-key\" are for {others}");
                table.bad("auth", &quoted(&auth.to_string()), &expected, &found.spot());
            }
            return (Auth::Open, is_said);
        }
    };
    if !is_said {
        table.built_in("auth", || quoted(&default.to_string()));
    }
    let auth = word.unwrap_or(default);
    let settings = shared.settings.targets.of(target);
    if let Some(problem) = settings.and_then(|settings| target.lacks(settings, auth)) {
        table.context.report(problem, &table.spot_of("auth"));
    }
    (auth, is_said)
}
