//! Arguments that commands share, and what they say.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::completions;
use crate::ops::open::Site;
use crate::plan::saved::Request;
use crate::workspace::{Settings, WrongVariable};

/// An amount of money, in US dollars: a number that is one, and no debt.
pub(super) fn dollars(text: &str) -> Result<f64, String> {
    let amount: f64 = text.parse().map_err(|_| "a number of dollars, such as 1.60".to_owned())?;
    let is_one = amount.is_finite() && amount >= 0.0;
    if is_one { Ok(amount) } else { Err("a number of dollars from 0 on".to_owned()) }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Work in DIR's project instead of the current directory's
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub(super) directory: Option<PathBuf>,
    /// Apply the overrides of `[environment.NAME]`
    #[arg(
        long = "env",
        value_name = "NAME",
        env = "GOATBUILD_ENV",
        global = true,
        add = ArgValueCandidates::new(completions::environments)
    )]
    pub(super) environment: Option<String>,
    /// Never use the network
    #[arg(long, global = true)]
    offline: bool,
    /// Refuse to change a lock; the default when CI is set
    #[arg(long, global = true)]
    pub(super) locked: bool,
    /// Wait at most this long for another goatbuild that is at work here
    #[arg(long, value_name = "SECONDS", default_value_t = 600, global = true)]
    lock_timeout: u64,
}

impl Global {
    /// Which project the command is about, and how it works there.
    pub(super) fn site(&self) -> Result<Site, WrongVariable> {
        Ok(Site {
            directory: self.directory.clone(),
            environment: self.environment.clone(),
            settings: Settings::read(self.offline, self.locked)?,
            patience: Duration::from_secs(self.lock_timeout),
            ci_run: ci_run(),
        })
    }
}

/// What a plan covers and how it is made; shared by `plan`, `apply` and `why`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Selection {
    /// Only these models and what they need; all without any
    #[arg(value_name = "MODEL", add = ArgValueCandidates::new(completions::models))]
    models: Vec<String>,
    #[command(flatten)]
    wishes: WishArgs,
}

/// What the user asks for besides the specs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WishArgs {
    /// Only this step and what it needs
    #[arg(long, value_name = "STEP", add = ArgValueCandidates::new(completions::steps))]
    only: Vec<String>,
    /// Run this step even if it is fresh
    #[arg(long, value_name = "STEP", add = ArgValueCandidates::new(completions::steps))]
    replace: Vec<String>,
    /// Take over what somebody else made for this model: a gateway entry, an app on Modal
    #[arg(long, value_name = "MODEL", add = ArgValueCandidates::new(completions::models))]
    adopt: Vec<String>,
    /// Also remove deployments that no spec wants
    #[arg(long)]
    prune: bool,
    /// Trust the last run instead of looking at the world
    #[arg(long)]
    no_refresh: bool,
    /// Look at the world even so (the default)
    #[arg(long, conflicts_with = "no_refresh")]
    pub(super) refresh: bool,
}

impl Selection {
    pub(super) fn request(&self) -> Request {
        self.wishes.clone().request(self.models.clone())
    }
}

impl WishArgs {
    pub(super) fn request(self, models: Vec<String>) -> Request {
        let Self { only, replace, adopt, prune, no_refresh, refresh: _ } = self;
        Request { models, only, replace, adopt, prune, no_refresh }
    }
}

/// The address of the CI run that this is, where its variables tell: those of GitHub Actions and of
/// GitLab.
fn ci_run() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let github = || {
        let (server, repository) = (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?);
        Some(format!("{server}/{repository}/actions/runs/{}", variable("GITHUB_RUN_ID")?))
    };
    github().or_else(|| variable("CI_JOB_URL"))
}
