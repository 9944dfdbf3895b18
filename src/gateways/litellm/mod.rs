//! Keeps our entries in a `LiteLLM` configuration, and everything else in it byte for byte.
//!
//! People write these files by hand, with comments, and run several projects out of one. So an
//! edit is never a re-serialisation: the bytes of our own keys are found by a parser that knows
//! positions ([`Document`]), only those are replaced ([`upsert`], [`remove`]), and a second,
//! independent parser must find the result to differ in our entries alone, or nothing is written.
//!
//! All of this is text to text; only [`file`] touches the disk.

mod access;
mod check;
mod detour;
mod document;
mod edit;
mod error;
pub mod file;
mod gateway;
mod import;
mod keys;
mod mirror;
mod mode;
mod observe;
mod place;
mod spec;
mod splice;
#[cfg(test)]
mod tests;
mod tree;
mod unset;
mod verify;

use super::Endpoint;
use crate::spec::Api;
pub use access::{Access, is_secret};
pub use check::check;
pub use document::Document;
pub use edit::{Change, edit, remove, upsert};
pub use error::{GatewayError, ReloadError, Source};
pub use gateway::{LiteLlm, Settings};
pub(super) use import::entries;
pub use mirror::{mirror_is_current, mirror_remove, mirror_upsert, mirrored};
pub use observe::{observe, owned};
pub use spec::LiteLlmType;

/// One endpoint as `LiteLLM` should serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name clients ask for.
    pub alias: String,
    /// The name the server itself goes by.
    pub served_name: String,
    /// The server's OpenAI-compatible base URL, ending in `/v1`.
    pub api_base: String,
    /// What the server wants to see before it answers.
    pub access: Access,
    /// What the model is asked for.
    pub api: Api,
    /// The project's committed id.
    pub project: String,
    /// The model's name in this project.
    pub model: String,
    /// The step's key, `gb1-…`.
    pub key: String,
}

/// How a path leads to a key of an entry.
type Path = &'static [&'static str];

impl Entry {
    /// The entry that leads to an endpoint.
    pub fn of(endpoint: &Endpoint) -> Self {
        let Endpoint { alias, served_name, url, headers, api, project, model, key } =
            endpoint.clone();
        let access = Access::with(&headers);
        Self { alias, served_name, api_base: url, access, api, project, model, key }
    }

    /// Our keys, the only ones that are ever written: path and value.
    pub(crate) fn fields(&self) -> Vec<(Path, String)> {
        let mut fields: Vec<(Path, String)> = vec![
            (&["model_name"], self.alias.clone()),
            (&["litellm_params", "model"], mode::model(self.api, &self.served_name)),
            (&["litellm_params", "api_base"], self.api_base.clone()),
            (&["litellm_params", "api_key"], self.access.api_key.clone()),
        ];
        fields.extend(self.access.headers());
        fields.extend(mode::of(self.api).map(|mode| (mode::FIELD, mode.to_owned())));
        fields.extend::<[(Path, String); 3]>([
            (&["model_info", "goatbuild", "project"], self.project.clone()),
            (&["model_info", "goatbuild", "model"], self.model.clone()),
            (&["model_info", "goatbuild", "key"], self.key.clone()),
        ]);
        fields
    }
}

impl Entry {
    /// The paths of keys of ours that are not to be there, those of one mapping together.
    fn unwanted(&self) -> [Vec<Path>; 2] {
        let mode = mode::of(self.api).is_none().then_some(mode::FIELD);
        [self.access.unwanted().collect(), mode.into_iter().collect()]
    }
}

/// Whether what stands where a key is not to be is ours to take away: what somebody typed in, for reasons of
/// their own, is not.
fn is_ours(path: &[&str], value: &str) -> bool {
    if path == mode::FIELD { mode::is_never_a_chat_s(value) } else { access::is_reference(value) }
}

/// Whose an entry is: what stands under `model_info.goatbuild`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The project's committed id.
    pub project: String,
    /// The model's name in that project.
    pub model: String,
    /// The key of the step that wrote it; empty when somebody removed it.
    pub key: String,
}

/// What a file holds of one wanted entry, and who else has its alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Our own entry.
    pub own: Own,
    /// Entries that would share the alias's traffic; each is a conflict.
    pub rivals: Vec<Rival>,
    /// What leads the alias's traffic elsewhere.
    pub detour: Option<Detour>,
}

impl Found {
    /// Whether nothing has to be done: one entry, as wanted, and nobody else has the alias.
    pub fn is_current(&self) -> bool {
        self.rivals.is_empty()
            && self.detour.is_none()
            && matches!(&self.own, Own::Present { differs, .. } if differs.is_empty())
    }

    /// Whether [`upsert`] with `adopt` can take the one other entry over.
    pub fn is_adoptable(&self) -> bool {
        self.own == Own::Absent
            && self.detour.is_none()
            && matches!(self.rivals.as_slice(), [only] if !only.included)
    }
}

/// Our own entry, found by its marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Own {
    /// No entry has our marker.
    Absent,
    /// One has it.
    Present {
        /// Counted from 1.
        line: usize,
        /// What a hand, or an earlier key, left different from what is wanted.
        differs: Vec<FieldChange>,
    },
    /// Several have it, so traffic is split: an edit keeps one.
    Duplicated {
        /// Counted from 1.
        lines: Vec<usize>,
    },
}

/// An entry with our alias that is not ours to edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// The file it stands in.
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// It stands in an included file, which is never edited.
    pub included: bool,
    /// `None` for an entry made by hand.
    pub owner: Option<Marker>,
}

/// Where requests for an alias go instead of to its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detour {
    /// The file that says so.
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// The map, such as `router_settings.model_group_alias`.
    pub map: String,
    /// What is asked in place of the alias.
    pub target: String,
}

/// A key of ours that is not as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// The path in the entry, such as `litellm_params.api_base`.
    pub field: String,
    /// `None` when the key is missing.
    pub old: Option<String>,
    /// As wanted.
    pub new: String,
}

/// An entry that a project has in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The model's name in the project.
    pub model: String,
    /// The name clients ask for.
    pub alias: String,
    /// The key of the step that wrote it.
    pub key: String,
    /// Counted from 1.
    pub line: usize,
}
