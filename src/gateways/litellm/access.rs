//! What a server wants to see, as `LiteLLM` takes it out of its own variables.
//!
//! It resolves `os.environ/NAME` in `api_key` and, however deep, in `extra_headers`, but only where
//! that is the whole value. Where the variable isn't set, it sends `OPENAI_API_KEY` instead of an
//! `api_key`, and no header.

use super::Path;
use crate::spec::{AUTHORIZATION, Header};

/// What stands before a variable's name.
pub(super) const VARIABLE: &str = "os.environ/";

/// The headers besides an `api_key`, and where they stand.
pub(super) const HEADERS: [Path; 2] = [
    &["litellm_params", "extra_headers", "Modal-Key"],
    &["litellm_params", "extra_headers", "Modal-Secret"],
];

/// The values of an entry that let it in: references to variables, never what those hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `none`, or `os.environ/NAME`.
    pub api_key: String,
    /// The values of the headers, in their order.
    pub(super) headers: [Option<String>; 2],
}

impl Access {
    /// For a server that asks for nothing.
    pub fn open() -> Self {
        Self { api_key: "none".to_owned(), headers: [None, None] }
    }

    /// For a server that wants these headers.
    pub fn with(headers: &[Header]) -> Self {
        let mut access = Self::open();
        for Header { name, variable, .. } in headers {
            let value = format!("{VARIABLE}{variable}");
            match HEADERS.iter().position(|path| path.last() == Some(name)) {
                Some(index) => access.headers[index] = Some(value),
                None if *name == AUTHORIZATION => access.api_key = value,
                None => panic!("BUG: no place for the header {name} in an entry"),
            }
        }
        access
    }

    /// The headers that are to be there.
    pub(super) fn headers(&self) -> impl Iterator<Item = (Path, String)> {
        HEADERS
            .into_iter()
            .zip(&self.headers)
            .filter_map(|(path, value)| Some((path, value.clone()?)))
    }

    /// The paths of headers of ours that are not to be there.
    pub(super) fn unwanted(&self) -> impl Iterator<Item = Path> {
        HEADERS.into_iter().zip(&self.headers).filter(|(_, value)| value.is_none()).map(|it| it.0)
    }

    /// Changes one value, by its path with dots, to what was found; says whether it is one of these.
    pub fn set(&mut self, field: &str, found: Option<String>) -> bool {
        // What somebody typed in may be the secret itself.
        let found = found.map(|it| if is_reference(&it) { it } else { "(not shown)".to_owned() });
        if field == "litellm_params.api_key" {
            self.api_key = found.unwrap_or_default();
            return true;
        }
        let header = HEADERS.iter().position(|path| path.join(".") == field);
        header.map(|index| self.headers[index] = found).is_some()
    }

    /// What differs from a server that asks for nothing: labels and values.
    pub fn described(&self) -> Vec<(String, &str)> {
        let key = Some(("gateway.api-key".to_owned(), self.api_key.as_str()));
        let key = key.filter(|(_, value)| *value != "none");
        let headers = HEADERS.iter().zip(&self.headers).filter_map(|(path, value)| {
            Some((format!("gateway.headers.{}", path.last()?), value.as_deref()?))
        });
        key.into_iter().chain(headers).collect()
    }
}

/// Whether a value may be shown: it names a variable, or is none.
pub(super) fn is_reference(value: &str) -> bool {
    value == "none" || value.starts_with(VARIABLE)
}

/// Whether a field, by its path with dots, may hold a secret that somebody typed in.
pub fn is_secret(field: &str) -> bool {
    field == "litellm_params.api_key" || HEADERS.iter().any(|path| path.join(".") == field)
}
