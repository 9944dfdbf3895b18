//! Docker's credentials: its configuration files and their helper programs.
//!
//! They are read when a registry asks for them, kept in memory only, and never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::RegistryError;
use crate::bounded;
use crate::bounded::output::ended;

/// Helpers may ask a person to unlock a key ring.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Docker's files call its own registry.
const HUB: [&str; 4] =
    ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"];

/// What a registry, or who gives its tokens, takes for an identity.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// A user with a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that is exchanged for other tokens.
    Identity(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credential(…)")
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    #[serde(rename = "auth")]
    both: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The credential for a repository from the first of these files that has one.
pub(super) async fn find(
    files: &[PathBuf],
    registry: &str,
    repository: &str,
) -> Result<Option<Credential>, RegistryError> {
    for path in files {
        let bytes = match bounded::read(path, bounded::TEXT) {
            Ok(bytes) => bytes,
            Err(error)
                if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) =>
            {
                continue;
            }
            Err(error) => {
                return Err(RegistryError::Config {
                    path: path.clone(),
                    reason: error.to_string(),
                });
            }
        };
        if let Some(credential) = in_file(path, &bytes, registry, repository).await? {
            return Ok(Some(credential));
        }
    }
    Ok(None)
}

async fn in_file(
    path: &Path,
    bytes: &[u8],
    registry: &str,
    repository: &str,
) -> Result<Option<Credential>, RegistryError> {
    // The parser's own message may quote the file.
    let config: Config = serde_json::from_slice(bytes).map_err(|error| RegistryError::Config {
        path: path.to_owned(),
        reason: format!("line {}, column {} is no such JSON", error.line(), error.column()),
    })?;
    let names = names(registry, repository);
    let helper = names.iter().find_map(|name| Some((name, config.cred_helpers.get(name)?)));
    let hosts = HUB.first().filter(|_| registry == "docker.io").copied().unwrap_or(registry);
    let asked = match (helper, &config.creds_store) {
        (Some((name, helper)), _) if !helper.is_empty() => ask(helper, name).await?,
        (_, Some(store)) if !store.is_empty() => ask(store, hosts).await?,
        _ => None,
    };
    if asked.is_some() {
        return Ok(asked);
    }
    let plain = |key: &str| {
        let host = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
        // Docker wrote URLs of the API's first version once.
        host.map_or(key, |host| host.split("/v1").next().unwrap_or(host))
            .trim_end_matches("/v2")
            .trim_end_matches('/')
            .to_owned()
    };
    let entry = names.iter().find_map(|name| {
        let mut entries = config.auths.iter();
        entries.find(|(key, _)| *key == name || plain(key) == *name).map(|(_, entry)| entry)
    });
    let Some(entry) = entry else { return Ok(None) };
    if let Some(token) = entry.identitytoken.as_ref().filter(|token| !token.is_empty()) {
        return Ok(Some(Credential::Identity(token.clone())));
    }
    match (&entry.both, &entry.username, &entry.password) {
        (Some(auth), ..) if !auth.is_empty() => decoded(auth).map(Some).ok_or_else(|| {
            let reason = format!("`auth` of {registry} is no user and password in base64");
            RegistryError::Config { path: path.to_owned(), reason }
        }),
        (_, Some(user), Some(password)) => {
            Ok(Some(Credential::Password { user: user.clone(), password: password.clone() }))
        }
        _ => Ok(None),
    }
}

/// What a repository's credential may be filed under, the most specific first.
fn names(registry: &str, repository: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut path = repository;
    while !path.is_empty() {
        names.push(format!("{registry}/{path}"));
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    names.push(registry.to_owned());
    if registry == "docker.io" {
        names.extend(HUB.map(str::to_owned));
    }
    names
}

fn decoded(auth: &str) -> Option<Credential> {
    let padding =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&STANDARD, padding).decode(auth).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(Credential::Password { user: user.to_owned(), password: password.to_owned() })
}

/// Asks a helper by Docker's protocol; nothing when it has no credentials for this server.
async fn ask(helper: &str, server: &str) -> Result<Option<Credential>, RegistryError> {
    let program = format!("docker-credential-{helper}");
    let failed = |reason: String| RegistryError::Helper {
        helper: program.clone(),
        registry: server.to_owned(),
        reason,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !helper.bytes().all(is_plain) {
        return Err(failed("that is no program's name".to_owned()));
    }
    let spawned = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| failed(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that doesn't read what it is asked fails by itself.
        let _ = input.write_all(server.as_bytes()).await;
    }
    let output = tokio::time::timeout(PATIENCE, ended(child))
        .await
        .map_err(|_| failed(format!("it did not answer within {} s", PATIENCE.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        // Docker's own words, which helpers have to say.
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(output.status.to_string()));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("its answer is not the JSON that it should be".to_owned()))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credential::Identity(answer.secret),
        "" if answer.secret.is_empty() => return Ok(None),
        _ => Credential::Password { user: answer.username, password: answer.secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(config: &str, registry: &str, repository: &str) -> Option<Credential> {
        in_file(Path::new("c"), config.as_bytes(), registry, repository).await.expect("readable")
    }

    fn password(user: &str, password: &str) -> Credential {
        Credential::Password { user: user.to_owned(), password: password.to_owned() }
    }

    #[tokio::test]
    async fn the_most_specific_entry_counts() {
        // me:secret, with and without padding
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0"},
            "quay.io": {"auth": "YTpi"},
            "quay.io/team": {"username": "t", "password": "p"},
            "http://127.0.0.1:5000": {"auth": "YTpiYzo="},
            "azure.example": {"auth": "MDA6", "identitytoken": "idt"}
        }}"#;
        assert_eq!(found(config, "docker.io", "nvidia/cuda").await, Some(password("me", "secret")));
        assert_eq!(found(config, "quay.io", "other/x").await, Some(password("a", "b")));
        assert_eq!(found(config, "quay.io", "team/x").await, Some(password("t", "p")));
        assert_eq!(found(config, "127.0.0.1:5000", "x").await, Some(password("a", "bc:")));
        let identity = Some(Credential::Identity("idt".to_owned()));
        assert_eq!(found(config, "azure.example", "x").await, identity);
        assert_eq!(found(config, "ghcr.io", "x").await, None);
        assert_eq!(found("{}", "ghcr.io", "x").await, None);
    }

    #[tokio::test]
    async fn an_entry_without_a_secret_is_none() {
        for entry in ["{}", r#"{"auth": ""}"#, r#"{"identitytoken": ""}"#, r#"{"username": "u"}"#] {
            let config = format!(r#"{{"auths": {{"r.io": {entry}}}}}"#);
            assert_eq!(found(&config, "r.io", "x").await, None, "{entry}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_cannot_be_asked_is_named_and_is_no_path() {
        for (config, said) in [
            (r#"{"credsStore": "no-such-helper"}"#, "docker-credential-no-such-helper failed"),
            (r#"{"credHelpers": {"r.io/team": "../run"}}"#, "that is no program's name"),
            (r#"{"credsStore": "a b"}"#, "that is no program's name"),
        ] {
            let error = in_file(Path::new("c"), config.as_bytes(), "r.io", "team/x").await;
            let error = error.expect_err("no such helper").to_string();
            assert!(error.contains(said), "{error}");
        }
        // One that is there for others only is not asked.
        let config = r#"{"credHelpers": {"other.io": "../run"}}"#;
        assert_eq!(found(config, "r.io", "team/x").await, None);
    }

    #[tokio::test]
    async fn no_message_shows_what_a_file_holds() {
        for broken in [r#"{"auths": {"r.io": {"auth": 17, "password": "hush"}}}"#, "hush"] {
            let error = in_file(Path::new("c"), broken.as_bytes(), "r.io", "x").await;
            let error = error.expect_err("no such JSON");
            assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        }
        assert_eq!(format!("{:?}", password("me", "hush")), "Credential(…)");
    }
}
