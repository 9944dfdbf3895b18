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
    /// Who has the key that a secret holds: servers turn everybody else away.
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
    let [default, ..] = target.auths() else { panic!("BUG: {target} takes nothing") };
    let default = *default;
    let is_default = written.is_some_and(|found| found.layer.rank == Rank::Defaults);
    let settings = shared.settings.targets.of(target);
    let lacking = |auth| settings.and_then(|settings| target.lacks(settings, auth));
    if let Some(auth) = word.filter(|auth| !target.auths().contains(auth)) {
        // What the defaults say is for the models of which it can be said.
        if let Some(found) = written.filter(|_| !is_default) {
            let taken = target.auths().iter().map(|auth| quoted(&auth.to_string()));
            let taken: Vec<String> = taken.collect();
            let others = shared.kinds.targets.fields(|it| it.auths().contains(&auth));
            let expected = format!(
                "only {} for a model on {}; {} is for {others}",
                taken.join(" or "),
                target.title(),
                quoted(&auth.to_string())
            );
            table.bad("auth", &quoted(&auth.to_string()), &expected, &found.spot());
        }
        return (default, is_said);
    }
    // Where nobody is turned away unless somebody says so, there is nothing to show.
    if !is_said && default != Auth::Open {
        table.built_in("auth", || quoted(&default.to_string()));
    }
    let auth = word.unwrap_or(default);
    if let Some(problem) = lacking(auth) {
        // Where models are open that say nothing, the defaults protect those that they can.
        if is_default && default == Auth::Open {
            return (default, is_said);
        }
        table.context.report(problem, &table.spot_of("auth"));
    }
    (auth, is_said)
}
