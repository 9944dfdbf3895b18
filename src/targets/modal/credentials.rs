//! Whether there are credentials for Modal. The client alone reads what they are.

use std::path::{Path, PathBuf};

use crate::bounded;

/// Where the client looks for credentials, as its `modal/config.py` does.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Both halves of a token are in variables.
    pub in_variables: bool,
    /// The client's file: `MODAL_CONFIG_PATH`, or `~/.modal.toml`.
    pub file: Option<PathBuf>,
    /// The part of the file that `MODAL_PROFILE` names.
    pub profile: Option<String>,
}

impl Credentials {
    /// Reads where to look out of variables.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            in_variables: set("MODAL_TOKEN_ID").is_some() && set("MODAL_TOKEN_SECRET").is_some(),
            file: set("MODAL_CONFIG_PATH")
                .map(PathBuf::from)
                .or_else(|| set("HOME").map(|home| Path::new(&home).join(".modal.toml"))),
            profile: set("MODAL_PROFILE"),
        }
    }

    /// Whether there are any.
    pub fn are_there(&self) -> bool {
        self.in_variables || self.in_file().unwrap_or(false)
    }

    fn in_file(&self) -> Option<bool> {
        let text = bounded::read_to_string(self.file.as_ref()?, bounded::TEXT).ok()?;
        let profiles: toml::Table = text.parse().ok()?;
        let has_token = |profile: &toml::Value| {
            ["token_id", "token_secret"].iter().all(|name| {
                profile.get(name).and_then(toml::Value::as_str).is_some_and(|it| !it.is_empty())
            })
        };
        let is_active = |profile: &toml::Value| {
            profile.get("active").and_then(toml::Value::as_bool).unwrap_or(false)
        };
        Some(match &self.profile {
            Some(name) => profiles.get(name).is_some_and(has_token),
            None => profiles
                .values()
                .find(|profile| is_active(profile))
                .or_else(|| profiles.get("default"))
                .is_some_and(has_token),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(text: &str, profile: Option<&str>) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("modal.toml");
        std::fs::write(&file, text).unwrap();
        let profile = profile.map(str::to_owned);
        Credentials { in_variables: false, file: Some(file), profile }.are_there()
    }

    #[test]
    fn a_token_is_both_of_its_halves() {
        let of = |names: &'static [&'static str]| {
            Credentials::read(move |name| names.contains(&name).then(|| "x".to_owned()))
        };
        assert!(of(&["MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"]).are_there());
        assert!(!of(&["MODAL_TOKEN_ID"]).are_there());
        assert!(!of(&[]).are_there());
    }

    #[test]
    fn a_profile_is_the_named_the_active_or_the_one_called_default() {
        let one = "[phare]\ntoken_id = \"ak\"\ntoken_secret = \"as\"\n";
        let two = format!("{one}active = true\n[other]\ntoken_id = \"ak\"\n");
        assert!(!of_file(one, None), "nobody made it the active one");
        assert!(of_file(&one.replace("phare", "default"), None));
        assert!(of_file(&two, None));
        assert!(of_file(&two, Some("phare")));
        assert!(!of_file(&two, Some("other")), "half a token");
        assert!(!of_file(&two, Some("nobody")));
        assert!(!of_file("not toml [", None));
    }
}
