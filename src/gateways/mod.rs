//! The gateways: where clients find the models.
//!
//! Adding one is a file or folder with an `impl Gateway`, an `impl Kind`, and its name in [`KINDS`].

pub mod litellm;

use std::path::Path;

use async_trait::async_trait;
use miette::Report;

use crate::fingerprint::{Fingerprint, Key};
use crate::import::LedEntry;
use crate::plan::Unwanted;
use crate::spec::{Api, GatewayType, GatewayTypes, Header, Own, Project};
use crate::step::{Fact, Facts, Observation, StepError};

/// How a project's file names one, for messages to who has none.
pub const EXAMPLE: &str = "`[gateway.litellm]` with `config = \"litellm.yaml\"`";

/// One deployment as clients should find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The name clients ask for.
    pub alias: String,
    /// The name the server itself goes by.
    pub served_name: String,
    /// The server's OpenAI-compatible base URL, ending in `/v1`.
    pub url: String,
    /// What the server wants to see before it answers.
    pub headers: Vec<Header>,
    /// What the model is asked for.
    pub api: Api,
    /// The project's committed id.
    pub project: String,
    /// The model's name in this project; with `/` and the adapter's name behind it, where it is one of
    /// the model's adapters.
    pub model: String,
    /// The step's key, `gb1-…`.
    pub key: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The gateway would drop the entry, or fail.
    Error,
    /// The gateway runs, but perhaps not as meant.
    Warning,
}

/// Something that a gateway would stumble over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// How much it matters.
    pub severity: Severity,
    /// Says what is wrong, in a sentence without a full stop.
    pub message: String,
}

/// What leads clients to one project's deployments: looked at once per plan, edited entry by entry.
#[async_trait]
pub trait Gateway: Send + Sync + std::fmt::Debug {
    /// What messages call it; part of keys.
    fn name(&self) -> String;

    /// Looks at what it has.
    fn look(&self) -> Result<(), StepError>;

    /// Describes all that an entry is made of.
    fn describe(&self, wanted: &Endpoint, fingerprint: &mut Fingerprint);

    /// Describes our entry of the same model as it stands, when there is exactly one.
    fn describe_found(&self, wanted: &Endpoint, fingerprint: &mut Fingerprint) -> Option<()>;

    /// Whether our entry of the same model stands as wanted.
    fn is_as_wanted(&self, wanted: &Endpoint) -> bool;

    /// What it has of one entry. `complete` once all its values are known.
    fn observe(&self, wanted: &Endpoint, complete: Option<&Key>) -> Observation;

    /// The key that the entry of this model is marked with.
    fn key(&self, model: &str) -> Option<String>;

    /// Entries of this project that no spec wants.
    fn unwanted(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Unwanted>;

    /// Writes entries, each of another model. Returns whether anything changed.
    fn upsert(&self, wanted: &[Endpoint], adopt: bool) -> Result<bool, StepError>;

    /// Removes the entries of a model, and of its adapters. Returns whether anything changed.
    fn remove(&self, model: &str) -> Result<bool, StepError>;

    /// Has clients see what changed since this last ran. Returns the command line if one ran.
    async fn reload(&self) -> Result<Option<String>, StepError>;

    /// What clients would see with these entries, without writing them.
    fn render(&self, wanted: &[Endpoint]) -> Result<String, StepError>;

    /// What it would stumble over.
    fn problems(&self) -> Result<Vec<Problem>, StepError>;

    /// What a saved plan is bound to besides, by name: what would run without being in a key.
    fn bound(&self) -> Option<(&'static str, String)> {
        None
    }

    /// Removes what a command that was killed left half-made.
    fn sweep(&self) {}
}

/// A kind of gateway: what files may say of it, and how one is had by what they say.
pub trait Kind: GatewayType {
    /// The gateway of the project at `root`, which has these settings of it.
    fn open(&self, root: &Path, project: &str, settings: &Own) -> Box<dyn Gateway>;
}

/// The kinds that there are.
const KINDS: &[&dyn Kind] = &[&litellm::LiteLlmType];

/// The kinds that there are, as files speak of them.
pub fn built_in() -> GatewayTypes {
    GatewayTypes::new(KINDS.iter().map(|kind| *kind as &dyn GatewayType))
}

/// The gateway of the project at `root`, if it has one.
pub fn of(root: &Path, project: &Project) -> Option<Box<dyn Gateway>> {
    let settings = project.gateway.as_ref()?;
    let kind = KINDS.iter().find(|kind| kind.name() == settings.kind.name())?;
    Some(kind.open(root, &project.owner(), &settings.own))
}

/// What a gateway's file leads to that no project has yet, and how a project's file names it, by its
/// path there.
pub fn import(path: &str, text: &str) -> Result<Vec<LedEntry>, Report> {
    Ok(litellm::entries(path, text)?)
}

/// The table that names a gateway's file, in a project's own.
pub fn setting(path: &str) -> String {
    let path = toml::Value::from(path);
    format!("[gateway.litellm]\nconfig = {path}\n")
}

/// What a gateway step makes.
pub fn facts(alias: &str) -> Facts {
    [Fact::ALIAS.is(alias)].into()
}
