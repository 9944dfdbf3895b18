//! `goatbuild why`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::session::unknown;
use super::{Exit, Global, Selection, WishArgs, completions, part, session};
use crate::locking::{Renew, Scope};
use crate::plan::gather;
use crate::step::StepId;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The step, such as `deploy:tiny`
    #[arg(add = ArgValueCandidates::new(completions::steps))]
    step: String,
    /// Trust the last run instead of looking at the world
    #[arg(long)]
    no_refresh: bool,
}

pub(crate) async fn run(global: &Global, arguments: &WhyArgs) -> Result<Exit, Report> {
    let part = part::open_part(global, &[])?;
    let only = WishArgs { only: vec![arguments.step.clone()], ..WishArgs::default() };
    part.check(&Selection { wishes: only, ..Selection::default() })?;
    let workspace = part.workspace;
    let wishes = WishArgs { no_refresh: arguments.no_refresh, ..WishArgs::default() };
    let selection = Selection { wishes, ..Selection::default() };
    // Nothing is asked of a hub that this step doesn't need.
    let scope = Scope::of_steps(&workspace, std::slice::from_ref(&arguments.step));
    let renew = Renew::Nothing;
    let planned = session::plan_within(&workspace, global, &selection, renew, scope).await?;
    let id = StepId::from(arguments.step.as_str());
    let found = planned.plan.get(&id);
    let step = found.ok_or_else(|| {
        unknown("step", &arguments.step, planned.plan.steps.iter().map(|step| step.id.as_str()))
    })?;
    let facts = |id: &StepId| planned.plan.get(id).map(|step| &step.facts);
    let fingerprint = planned
        .graph
        .get(&id)
        .and_then(|step| gather(&**step, facts).ok().map(|inputs| step.describe(&inputs)));
    let evidence = match &step.key {
        Some(key) => workspace.store.evidence(&id, key)?,
        None => None,
    };
    let attempt = workspace.store.last_attempt(&id)?;
    ui::print_why(step, fingerprint.as_ref(), evidence.as_ref(), attempt.as_ref());
    Ok(Exit::Done)
}
