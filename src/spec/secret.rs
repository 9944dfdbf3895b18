//! What a project keeps secret: by name, with where this machine finds the value, and never the value.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A secret that `[secrets]` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Where this machine finds its value; a target that keeps secrets has one of this name.
    pub from: Option<SecretSource>,
    /// How often it was replaced, counted from 1.
    pub generation: u32,
}

/// Where this machine finds a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// In an environment variable of whoever runs goatbuild.
    Env(String),
    /// In a file: absolute, below `~/`, or relative to the project.
    File(String),
    /// A program, with its arguments, prints it.
    Command(Vec<String>),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(variable) => write!(formatter, "the variable {variable}"),
            Self::File(path) => write!(formatter, "the file {path}"),
            Self::Command(words) => write!(formatter, "the command `{}`", words.join(" ")),
        }
    }
}

/// What the values that people should not see are shown as.
pub const HIDDEN: &str = "(hidden)";

/// Words that names of secrets end in, and that names of little else have.
pub const SECRET_WORDS: [&str; 8] =
    ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "APIKEY", "CREDENTIAL", "CREDENTIALS", "PASSPHRASE"];

/// Whether what a variable of this name holds is likely to be a secret.
pub fn is_telling(variable: &str) -> bool {
    let name = variable.to_ascii_uppercase();
    let last = name.rsplit('_').next().unwrap_or_default();
    last == "KEY"
        || SECRET_WORDS.contains(&last)
        || ["PASSWORD", "SECRET"].iter().any(|word| name.contains(word))
}

/// The value of a field as people may see it: that of a variable with a telling name is hidden.
pub fn shown<'v>(field: &str, value: &'v str) -> &'v str {
    let variable = field
        .rsplit_once("env.")
        .filter(|(before, _)| before.is_empty() || before.ends_with(['.', ':']));
    match variable {
        Some((_, variable)) if is_telling(variable) => HIDDEN,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_is_likely_to_be_secret() {
        // Variables of documented programs: which hold credentials, and which only sound so.
        for secret in [
            "HF_TOKEN",
            "OPENAI_API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "WANDB_API_KEY",
            "PGPASSWORD",
            "MYSQL_ROOT_PASSWORD",
            "GITHUB_TOKEN",
            "CLIENT_SECRET",
            "api_key",
        ] {
            assert!(is_telling(secret), "{secret}");
        }
        for plain in [
            "TOKENIZERS_PARALLELISM",
            "VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE",
            "SSH_AUTH_SOCK",
            "KEYBOARD",
            "HF_HOME",
            "CUDA_VISIBLE_DEVICES",
        ] {
            assert!(!is_telling(plain), "{plain}");
        }
    }

    #[test]
    fn values_of_telling_variables_are_hidden_wherever_the_field_stands() {
        for field in ["env.HF_TOKEN", "image:env.HF_TOKEN", "defaults.env.HF_TOKEN"] {
            assert_eq!(shown(field, "hf_abc"), HIDDEN, "{field}");
        }
        for field in ["env.HF_HOME", "secret-env.HF_TOKEN", "engine.env.x", "serve.api-key"] {
            assert_eq!(shown(field, "hf_abc"), "hf_abc", "{field}");
        }
    }
}
