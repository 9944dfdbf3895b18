//! What a server wants to see before it answers.

use std::fmt;

use miette::Diagnostic;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

use crate::spec::Header;

/// A protected server can't be asked from here.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
#[error("{} not set: {model} can't be tried out", missing(variables))]
#[diagnostic(code(goatbuild::smoke::no_key), help("{help}"))]
pub struct NoKey {
    /// The model.
    pub model: String,
    /// The variables without a value.
    pub variables: Vec<String>,
    /// What to do.
    pub help: String,
}

fn missing(variables: &[String]) -> String {
    let are = if variables.len() == 1 { "is" } else { "are" };
    format!("{} {are}", variables.join(" and "))
}

impl NoKey {
    fn new(model: &str, headers: &[Header], variables: Vec<String>) -> Self {
        let what = match headers {
            [one] => format!("set {} to the key in the model's Modal secret", one.variable),
            _ => "set them to a proxy token of the workspace (Modal's dashboard: Settings, Proxy \
                  Auth Tokens)"
                .to_owned(),
        };
        let help = format!(
            "{what}, here and where the gateway runs; or leave the test out: `[serve] smoke = \
             \"never\"`. Nothing was deployed"
        );
        Self { model: model.to_owned(), variables, help }
    }
}

/// Headers with their values. Nothing that is printed or logged has a value.
#[derive(Clone, Default)]
pub struct Credentials(Vec<(Header, String)>);

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(header, _)| header)).finish()
    }
}

impl Credentials {
    /// Reads the values that a model wants out of this process's variables.
    pub fn of_environment(model: &str, headers: Vec<Header>) -> Result<Self, NoKey> {
        Self::read(model, headers, |name| std::env::var(name).ok())
    }

    pub(super) fn read(
        model: &str,
        headers: Vec<Header>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, NoKey> {
        let value = |header: &Header| {
            let value = variable(&header.variable)?.trim().to_owned();
            // What no header can have is no key either.
            (!value.is_empty() && HeaderValue::from_str(&value).is_ok()).then_some(value)
        };
        let values: Vec<Option<String>> = headers.iter().map(value).collect();
        let unset = headers.iter().zip(&values).filter(|(_, value)| value.is_none());
        let unset: Vec<String> = unset.map(|(header, _)| header.variable.clone()).collect();
        if !unset.is_empty() {
            return Err(NoKey::new(model, &headers, unset));
        }
        Ok(Self(headers.into_iter().zip(values.into_iter().flatten()).collect()))
    }

    /// A value that is known; nothing where no header can have it.
    pub fn known(header: Header, value: String) -> Option<Self> {
        let is_one = value.bytes().all(|byte| byte.is_ascii_graphic());
        (is_one && !value.is_empty()).then(|| Self(vec![(header, value)]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let header = |(header, value): &(Header, String)| {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            let mut value = HeaderValue::from_str(&format!("{}{value}", header.scheme)).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        };
        self.0.iter().filter_map(header).collect()
    }

    /// What a server said, without the values: some repeat what they were sent.
    pub(super) fn hidden(&self, said: &str) -> String {
        self.0.iter().fold(said.to_owned(), |said, (_, value)| said.replace(value, "(hidden)"))
    }

    /// The variables that the values are from.
    pub(super) fn variables(&self) -> String {
        let variables: Vec<&str> =
            self.0.iter().map(|(header, _)| header.variable.as_str()).collect();
        variables.join(" and ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &'static str, scheme: &'static str, variable: &str) -> Header {
        Header { name, scheme, variable: variable.to_owned() }
    }

    #[test]
    fn values_are_sent_and_shown_nowhere() {
        let headers = vec![header("Authorization", "Bearer ", "KEY")];
        let read = Credentials::read("m", headers, |name| {
            (name == "KEY").then(|| " as-the-secret\n".to_owned())
        });
        let credentials = read.unwrap();
        let sent = credentials.headers();
        assert_eq!(sent["authorization"], "Bearer as-the-secret");
        assert!(!format!("{credentials:?} {sent:?}").contains("as-the-secret"));
        assert_eq!(credentials.hidden("no as-the-secret here"), "no (hidden) here");
    }

    #[test]
    fn every_variable_without_a_value_is_named() {
        let headers = vec![header("Modal-Key", "", "A"), header("Modal-Secret", "", "B")];
        let error = Credentials::read("m", headers.clone(), |_| None).unwrap_err();
        assert_eq!(error.to_string(), "A and B are not set: m can't be tried out");
        let half = |name: &str| Some(if name == "A" { "wk-1" } else { " " }.to_owned());
        let error = Credentials::read("m", headers, half).unwrap_err();
        assert_eq!(error.to_string(), "B is not set: m can't be tried out");
        assert!(error.help.contains("Proxy Auth Tokens"), "{}", error.help);
    }
}
