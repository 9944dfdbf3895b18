//! Secrets that steps need at Modal, looked up before any of them runs.

use std::sync::Arc;

use super::Modal;
use super::protection::taken;
use super::spec::Settings;
use crate::lock::hub::Access;
use crate::spec::{Model, Takes};
use crate::targets::{Deed, Lack};

impl Modal {
    /// Whether any secret at Modal is named: by settings, or by a model's spec.
    pub(super) fn names_secrets(&self) -> bool {
        let takes = |model: &Arc<Model>| !model.secret_env.is_empty();
        self.settings.names_secrets() || self.specs.values().any(takes)
    }

    /// What a step for a model needs of secrets and is not there, as far as Modal tells: their names and
    /// keys, never their values.
    pub(super) fn lacking_secrets(&self, deed: Deed, model: &Model, takes: Takes) -> Vec<Lack> {
        let Some(there) = self.secrets() else { return Vec::new() };
        let environment = &self.settings.environment;
        let lack = |(name, keys): (&String, Vec<&str>)| {
            let found = there.get(name);
            let missing: Vec<&str> = keys
                .iter()
                .copied()
                // Of a secret without any key, Modal told none.
                .filter(|key| found.is_none_or(|it| !it.is_empty() && !it.contains(*key)))
                .collect();
            let what = match found {
                _ if missing.is_empty() => return None,
                None => format!("Modal has no secret {name} in the environment {environment}"),
                Some(_) => format!(
                    "the secret {name} in Modal's environment {environment} has no {}",
                    missing.join(" and no ")
                ),
            };
            let help = format!(
                "`modal secret create --env {environment} {name} --from-json FILE`, with {} in the file",
                keys.join(" and ")
            );
            Some(Lack { what, help })
        };
        needed(&self.settings, takes, deed, model).into_iter().filter_map(lack).collect()
    }

    /// The secret that weights are fetched with. What anybody may have is fetched with it, too, where it is
    /// there, since hubs let those ask for more whom they know; and it needn't be.
    pub(super) fn secret_of_the_hub(&self, access: Option<Access>) -> Option<&str> {
        let name = self.settings.hf_secret.as_deref()?;
        let is_there = || {
            let there = self.secrets().unwrap_or_default();
            // Of a secret without any key, Modal told none.
            there.get(name).is_some_and(|keys| keys.is_empty() || keys.contains(HUB_TOKEN))
        };
        (access != Some(Access::Public) || is_there()).then_some(name)
    }
}

/// The variable that holds a hub's token.
const HUB_TOKEN: &str = "HF_TOKEN";

/// The secrets that a step is given which has this done, each with the keys that it has to have.
fn needed<'a>(
    settings: &'a Settings,
    takes: Takes,
    deed: Deed,
    model: &'a Model,
) -> Vec<(&'a String, Vec<&'a str>)> {
    let mut needed = Vec::new();
    // Whom anybody may ask, nobody needs a token for.
    if matches!(deed, Deed::Fetch { access } if access != Some(Access::Public)) {
        needed.extend(settings.hf_secret.as_ref().map(|it| (it, vec![HUB_TOKEN])));
    }
    if !matches!(deed, Deed::Fetch { .. }) && takes == Takes::Pushed {
        let keys = || vec!["REGISTRY_USERNAME", "REGISTRY_PASSWORD"];
        needed.extend(settings.registry_secret.as_ref().map(|it| (it, keys())));
    }
    if deed == Deed::Serve {
        let key = || vec![settings.api_key_variable.as_str()];
        needed.extend(settings.served_secrets(model.serve.auth).map(|it| (it, key())));
    }
    if !matches!(deed, Deed::Fetch { .. }) {
        needed.extend(taken(model).map(|(secret, variable)| (secret, vec![variable.as_str()])));
    }
    needed
}
