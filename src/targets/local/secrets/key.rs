//! The key of models that ask for one: which secret it is, and the requests that have it.

use std::collections::BTreeMap;

use super::{SecretError, Secrets, Taken};
use crate::fingerprint::Fingerprint;
use crate::openai::Credentials;
use crate::spec::{AUTHORIZATION, Auth, Header, Model};
use crate::step::StepError;

/// The variable in which a server finds the key that it asks for: none that an engine knows, hashes or writes
/// down.
pub(in crate::targets::local) const KEY: &str = "GOATBUILD_API_KEY";

/// What the middleware does that asks for the key.
const GUARD: u32 = 1;

impl Secrets {
    /// The secret that a model asks for, and how often it was replaced.
    pub(super) fn key_of(&self, model: &Model) -> Option<&(String, u32)> {
        self.key.as_ref().filter(|_| model.serve.auth == Auth::ApiKey)
    }

    /// Describes who may ask, by the secret's name and how often that was replaced; nothing of a model that
    /// anybody may ask who reaches it.
    pub(in crate::targets::local) fn describe_key(
        &self,
        model: &Model,
        fingerprint: &mut Fingerprint,
    ) {
        let Some((secret, generation)) = self.key_of(model) else { return };
        fingerprint
            .field("serve.auth", model.serve.auth)
            .field("target.local.api-key-secret", secret)
            .optional("local.guard", model.engine.kind.middleware().map(|_| GUARD))
            .field(format_args!("secrets.{secret}.generation"), generation);
    }

    /// Fails where one of these can't be had, or where no request can have the key among them.
    pub(in crate::targets::local) async fn check(
        &self,
        taken: &BTreeMap<String, Taken>,
    ) -> Result<(), StepError> {
        self.values(taken).await?;
        self.credentials(taken).await?;
        Ok(())
    }

    /// What requests to a server have to have that was given these; nothing where it asks for no key.
    pub(in crate::targets::local) async fn credentials(
        &self,
        taken: &BTreeMap<String, Taken>,
    ) -> Result<Credentials, StepError> {
        let Some(key) = taken.get(KEY) else { return Ok(Credentials::default()) };
        let one = [(KEY.to_owned(), key.clone())].into();
        let value = self.values(&one).await?.remove(KEY).unwrap_or_default();
        let variable = key.secret.clone();
        let header = Header { name: AUTHORIZATION, scheme: "Bearer ", variable };
        let unusable = || SecretError::Unusable {
            secret: key.secret.clone(),
            // Servers and gateways have it as it is: cut here, it would be another than theirs.
            what: "can't stand in a header: it has to be one line of ASCII letters, digits and signs, without spaces",
            from: key.from.clone(),
        };
        Ok(Credentials::known(header, value).ok_or_else(unusable)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::SecretSource;

    #[tokio::test]
    async fn a_key_that_no_header_can_hold_is_refused_and_not_shown() {
        let variable = |name: &str| {
            let value = match name {
                "PLAIN" => "hush-0f_~!=",
                // As editors end a file.
                "LINE" => "hush-0f\n",
                "BEFORE" => " hush-0f",
                "BEHIND" => "hush-0f ",
                "INSIDE" => "hush 0f",
                "TAB" => "hush\t0f",
                "TWO" => "hush-0f\n\n",
                "UMLAUT" => "hush-ü",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let secrets = Secrets::new(&BTreeMap::new(), None, Path::new("/"), variable);
        let taken = |variable: &str, from: &str| -> BTreeMap<String, Taken> {
            let from = SecretSource::Env(from.to_owned());
            [(variable.to_owned(), Taken { secret: "box-key".to_owned(), from })].into()
        };
        for from in ["PLAIN", "LINE"] {
            secrets.check(&taken(KEY, from)).await.expect(from);
        }
        for from in ["BEFORE", "BEHIND", "INSIDE", "TAB", "TWO", "UMLAUT"] {
            let error = secrets.check(&taken(KEY, from)).await.expect_err(from).to_string();
            assert!(
                error.contains("box-key") && error.contains("can't stand in a header"),
                "{error}"
            );
            assert!(!error.contains("hush"), "{error}");
            // What is no key may be anything.
            secrets.check(&taken("TOKEN", from)).await.expect(from);
        }
        assert!(secrets.check(&taken("TOKEN", "NONE")).await.is_err());
    }
}
