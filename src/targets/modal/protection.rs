//! What keeps strangers from models, and when it changes: by name, never by value.

use serde_json::{Value, json};

use super::Modal;
use super::app::GUARD;
use crate::fingerprint::Fingerprint;
use crate::spec::{Auth, Model, Serve};

impl Modal {
    /// Who may ask what is deployed, as it was deployed.
    pub(super) fn deployed_auth(&self, model: &str) -> Option<Auth> {
        self.deployed(model).and_then(|deployed| Auth::named(deployed.applied.get("serve.auth")?))
    }

    /// How requests to a model are to be made: what is held is asked as it was deployed, whatever its
    /// spec says by now.
    pub(super) fn wanted_auth(&self, model: &Model) -> Auth {
        let name = model.name.as_str();
        let held = self.hold(name).and_then(|_| self.deployed_auth(name));
        held.unwrap_or(model.serve.auth)
    }

    /// How often a secret was replaced, counted from 1.
    fn generation_of(&self, secret: &str) -> u32 {
        self.generations.get(secret).copied().unwrap_or(1)
    }

    /// Describes who may ask, and the secrets that replicas have: a new one is a new deployment.
    pub(super) fn describe_protection(&self, serve: &Serve, fingerprint: &mut Fingerprint) {
        fingerprint.field("serve.auth", serve.auth);
        if serve.auth == Auth::ApiKey || serve.snapshot {
            fingerprint.field("modal.guard", GUARD);
        }
        for secret in self.settings.served_secrets(serve.auth) {
            fingerprint
                .field("target.modal.api-key-secret", secret)
                .field("target.modal.api-key-variable", &self.settings.api_key_variable)
                .field(format_args!("secrets.{secret}.generation"), self.generation_of(secret));
        }
    }

    /// The secrets of replicas as their program names them, the guard's first.
    pub(super) fn secrets_of(&self, model: &Model) -> Value {
        let variable = &self.settings.api_key_variable;
        let key = self.settings.served_secrets(model.serve.auth).map(|it| (it, variable));
        key.chain(taken(model)).map(|(name, variable)| self.secret(name, variable)).collect()
    }

    /// The same of an engine that is started without a guard.
    pub(super) fn secrets_taken(&self, model: &Model) -> Value {
        taken(model).map(|(name, variable)| self.secret(name, variable)).collect()
    }

    /// The generation is of no use to a program, but makes it another one.
    fn secret(&self, name: &str, variable: &str) -> Value {
        json!({"name": name, "variable": variable, "generation": self.generation_of(name)})
    }
}

/// The secrets that a model's spec takes, each with the variable that it is taken in.
pub(super) fn taken(model: &Model) -> impl Iterator<Item = (&String, &String)> {
    model.secret_env.iter().map(|(variable, secret)| (&secret.value, variable))
}
