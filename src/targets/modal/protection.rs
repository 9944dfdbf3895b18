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

    /// The secrets of replicas as their program names them. The generation is of no use there, but
    /// makes it another program.
    pub(super) fn secrets_of(&self, auth: Auth) -> Value {
        let secrets = self.settings.served_secrets(auth).map(|secret| {
            json!({
                "name": secret,
                "variable": self.settings.api_key_variable,
                "generation": self.generation_of(secret),
            })
        });
        secrets.collect()
    }
}
