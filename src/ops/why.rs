//! One step explained: its action, its reasons, its inputs.

use miette::Report;

use super::open::{self, Site};
use super::{Frontend, plan};
use crate::fingerprint::Fingerprint;
use crate::locking::{LockOptions, Scope};
use crate::plan::saved::Request;
use crate::plan::{PlannedStep, gather};
use crate::spec::unknown;
use crate::step::{Facts, StepId};
use crate::store::Attempt;

/// All that is known of a step.
#[derive(Debug)]
pub struct Explained {
    /// What is planned for it.
    pub step: PlannedStep,
    /// What its key is made of; none while an input's facts are not known.
    pub fingerprint: Option<Fingerprint>,
    /// How the outcome was made that it stands for.
    pub evidence: Option<Facts>,
    /// When it ran last.
    pub attempt: Option<Attempt>,
}

/// Explains a step; with `no_refresh`, by the last run instead of a look at the world.
pub async fn why(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    no_refresh: bool,
) -> Result<Explained, Report> {
    let only = Request { only: vec![name.to_owned()], ..Request::default() };
    let workspace = open::asked(site, frontend, &only)?;
    let request = Request { no_refresh, ..Request::default() };
    // Nothing is asked of a hub that this step doesn't need.
    let scope = Scope::of_steps(&workspace, &only.only);
    let options = LockOptions { scope, ..plan::settling(&workspace, &request) };
    let mut planned = plan::plan(&workspace, frontend, &request, options).await?;
    let id = StepId::from(name);
    let steps = &planned.plan.steps;
    let at = steps.iter().position(|step| step.id == id);
    let known = || steps.iter().map(|step| step.id.as_str());
    let at = at.ok_or_else(|| unknown("step", name, known()))?;
    let facts = |id: &StepId| planned.plan.get(id).map(|step| &step.facts);
    let described = |step: &dyn crate::step::Step| {
        gather(step, facts).ok().map(|inputs| step.describe(&inputs))
    };
    let fingerprint = planned.graph.get(&id).and_then(|step| described(&**step));
    let step = planned.plan.steps.swap_remove(at);
    let evidence = match &step.key {
        Some(key) => workspace.store.evidence(&id, key)?,
        None => None,
    };
    let attempt = workspace.store.last_attempt(&id)?;
    Ok(Explained { step, fingerprint, evidence, attempt })
}
