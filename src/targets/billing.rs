//! What a target bills, and what it says that things cost.

use async_trait::async_trait;

use crate::plan::UsdPerHour;
use crate::step::StepError;

/// What is up at a target and paid for.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// What the target calls it.
    pub app: String,
    /// The model that it serves, where it is one of the project's.
    pub model: Option<String>,
    /// How many replicas.
    pub replicas: u32,
    /// Since when the first of them: RFC 3339.
    pub since: String,
    /// What all of them cost; none where nobody knows.
    pub usd_per_hour: Option<UsdPerHour>,
    /// What they have cost since midnight, in dollars, as far as that is known.
    pub usd: f64,
}

/// What was spent since midnight, UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct Spent {
    /// Where, for people.
    pub place: String,
    /// What the target has billed, in dollars; or why it doesn't say.
    pub billed: Result<f64, String>,
    /// What is up, the dearest first.
    pub running: Vec<Running>,
    /// The least that all of it comes to, in dollars: what is billed, and what runs that can't be yet; or
    /// what runs, where that is more.
    pub usd: f64,
}

/// Bills of a target.
#[async_trait]
pub trait Bills: Send + Sync {
    /// What was spent since midnight, UTC. Asks no model anything.
    async fn spent(&self) -> Result<Spent, StepError>;
}

/// What a price is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Priced {
    /// A physical core.
    Core,
    /// A GiB of memory.
    Memory,
    /// A GPU, by all the names that specs call it.
    Gpus(Vec<String>),
}

impl Priced {
    /// What people and the lock call it.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Core => vec!["cpu"],
            Self::Memory => vec!["memory"],
            Self::Gpus(names) => names.iter().map(String::as_str).collect(),
        }
    }

    /// Whether both are the price of something.
    pub fn meets(&self, other: &Self) -> bool {
        let others = other.names();
        self.names().iter().any(|name| others.contains(name))
    }
}

/// A price that goatbuild counts with.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenPrice {
    /// What it is for.
    pub of: Priced,
    /// In US dollars.
    pub usd_per_hour: f64,
    /// The same in goatbuild's own list.
    pub listed: Option<f64>,
    /// What the project's file says, which wins.
    pub stated: Option<f64>,
}

/// A price that a target told.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldPrice {
    /// What the target calls it.
    pub key: String,
    /// The number, as it was told.
    pub told: String,
    /// What is taken of it; or why nothing is.
    pub taken: Result<TakenPrice, String>,
}

/// Prices that a target tells.
#[async_trait]
pub trait PriceLists: Send + Sync {
    /// Whose they are, as people call it.
    fn title(&self) -> &'static str;

    /// All that it tells. Asks no model anything.
    async fn prices(&self) -> Result<Vec<ToldPrice>, StepError>;
}
