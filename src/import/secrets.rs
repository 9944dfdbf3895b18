//! Keys and tokens that are written into scripts: never printed, never written anywhere.

use std::collections::BTreeSet;

use super::value::{Value, What};
use crate::spec::SECRET_WORDS;

/// Words that go before `KEY` in the names of secrets.
const KEYS: [&str; 7] = ["API", "ACCESS", "PRIVATE", "AUTH", "MASTER", "SECRET", "SERVER"];
/// How tokens begin, whatever they are called.
const STARTS: [&str; 9] = ["sk-", "hf_", "ak-", "as-", "wk-", "ws-", "ghp_", "github_pat_", "AKIA"];

/// What stands in place of a secret.
const HIDDEN: &str = "…";

/// The secrets of a script, as far as they can be told from other texts.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeSet<String>);

/// Whether a name, of a variable, a field or a flag, is one of secrets.
pub fn is_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
    // `HF_SECRET_NAME` is how a secret is called.
    if matches!(words.last(), Some(&("NAME" | "NAMES" | "ID" | "PATH" | "FILE" | "ENV" | "VAR"))) {
        return false;
    }
    words.iter().any(|word| SECRET_WORDS.contains(word))
        || words.windows(2).any(|pair| pair[1] == "KEY" && KEYS.contains(&pair[0]))
}

/// Whether a text looks like a secret, whatever it is called.
fn is_secret(text: &str) -> bool {
    let body = |start: &str| text.strip_prefix(start).is_some_and(|rest| rest.len() >= 16);
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    STARTS.iter().any(|start| body(start)) && text.bytes().all(inner)
}

impl Secrets {
    /// Notes what is bound to a name, if that is the name of a secret.
    pub(super) fn named(&mut self, name: &str, value: &Value) {
        if is_name(name) {
            self.note(value);
        }
        if let What::Dict(pairs) = &value.what {
            for (key, value) in pairs {
                if key.text().is_some_and(is_name) {
                    self.note(value);
                }
            }
        }
    }

    /// Notes a secret.
    pub fn note(&mut self, value: &Value) {
        if let Some(text) = value.text()
            && text.len() >= 4
        {
            self.0.insert(text.to_owned());
        }
    }

    /// Whether a text is one of them, or looks like one.
    pub fn has(&self, text: &str) -> bool {
        self.0.contains(text) || is_secret(text)
    }

    /// Whether one of them is part of a text.
    pub fn is_in(&self, text: &str) -> bool {
        self.hide(text) != text
    }

    /// A line without them.
    pub fn hide(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for secret in self.0.iter().rev() {
            line = line.replace(secret, HIDDEN);
        }
        let is_end = |letter: char| !(letter.is_ascii_alphanumeric() || "-_".contains(letter));
        let words: Vec<String> =
            line.split(is_end).filter(|word| is_secret(word)).map(str::to_owned).collect();
        for word in words {
            line = line.replace(&word, HIDDEN);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_others() {
        for name in ["API_KEY", "api-key", "HF_TOKEN", "vllm_api_key", "DB_PASSWORD"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["MODEL_KEY", "TOKENIZER", "HF_SECRET_NAME", "max-num-batched-tokens", "KEY"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn what_looks_like_a_token_is_hidden_wherever_it_stands() {
        let token = ["hf", "abcdefghijklmnopqrstuvwx"].join("_");
        let line = format!("f(\"{token}\", 'x')");
        assert_eq!(Secrets::default().hide(&line), "f(\"…\", 'x')");
    }
}
