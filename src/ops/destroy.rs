//! Stopping what is served, and taking away what is left of it.

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::open::{self, Site};
use super::{Frontend, consent, lease, plan};
use crate::spec::Model;
use crate::step::{Observation, StepId};
use crate::targets::{Belongings, Target, Volumes};
use crate::workspace::{SharedWorkspace, Workspace};

/// What is in volumes on this machine is not removed model by model.
#[derive(Debug, Error, Diagnostic)]
#[error("--volumes is about volumes on {elsewhere}, and {model} is not served there")]
#[diagnostic(
    code(goatbuild::usage::not_on_modal),
    help("once its spec is gone, `goatbuild gc` removes what nothing needs on this machine")
)]
struct NotThere {
    model: String,
    elsewhere: String,
}

/// Nobody can tell what would be destroyed.
#[derive(Debug, Error, Diagnostic)]
#[error("{model} can't be destroyed: {why}")]
#[diagnostic(
    code(goatbuild::destroy::unobserved),
    help("nothing was changed; stop it with its target's own tools, and remove its spec")
)]
struct Unobserved {
    model: String,
    why: String,
}

/// Nobody knows what the other models use.
#[derive(Debug, Error, Diagnostic)]
#[error("--volumes has to know what the other models use, and their specs have mistakes")]
#[diagnostic(
    code(goatbuild::destroy::unreadable),
    help("correct them (`goatbuild check`), or leave --volumes out. Nothing was changed")
)]
struct Unreadable;

/// Stops a model, whose spec need not exist any more, and removes its gateway entry; with `volumes`,
/// also what only it has in volumes at its target. Asks first, unless somebody `agreed`.
pub async fn destroy(
    site: &Site,
    frontend: &dyn Frontend,
    model: &str,
    volumes: bool,
    agreed: bool,
) -> Result<(), Report> {
    let (workspace, readable) = open::anyway(site, frontend)?;
    let _lock = open::lock(&workspace, site, frontend, "destroy").await?;
    workspace.look().await?;
    let [present, absent] = [&workspace.project.models, &workspace.project.absent];
    if let Some(spec) = present.get(model).or_else(|| absent.get(model))
        && let Observation::Unobserved(Some(why)) =
            workspace.targets.of(spec).observe_deployment(model)
    {
        return Err(Unobserved { model: model.to_owned(), why }.into());
    }
    let volumes = if volumes { Some(belongings(&workspace, readable, model).await?) } else { None };
    let live: Vec<_> =
        workspace.targets.all().flat_map(Target::live).filter(|live| live.model == model).collect();
    let wired = workspace.gateway.as_ref().is_some_and(|gateway| gateway.key(model).is_some());
    let left = workspace.targets.all().find_map(|target| target.candidates()?.left(model));
    let is_read = readable || present.contains_key(model) || absent.contains_key(model);
    if live.is_empty()
        && !is_read
        && let Some(why) = workspace.targets.all().find_map(Target::unseen)
    {
        // It may be there, whatever its spec says.
        return Err(Unobserved { model: model.to_owned(), why }.into());
    }
    if live.is_empty() && !wired && volumes.is_none() && left.is_none() {
        if readable {
            workspace.project.known(model)?;
        }
        frontend.note(&format!("{model} is not deployed: nothing to destroy"));
        return Ok(());
    }
    // What has no address is told below.
    for live in live.iter().filter(|live| !live.url.is_empty()) {
        frontend.note(&format!("{model}: {} at {}", live.state, live.url));
    }
    if let Some(left) = &left {
        frontend.note(&format!("{model}: {left} is up, left of an apply that was cut short"));
    }
    let (would, also) = match volumes {
        Some(_) => {
            (", and what only it has in volumes removed", ", and what only it has in volumes")
        }
        None => ("", ""),
    };
    let question = format!("stop {model} and remove its gateway entry{also}?");
    let what = format!("{model} would be stopped{would}");
    if !consent::confirm(frontend, agreed, &what, &question)? {
        return Ok(());
    }
    let mut seen =
        workspace.targets_of(model).into_iter().filter(|target| target.unseen().is_none());
    let leases = seen.find_map(Target::leases);
    let removed = async {
        if leases.is_some() {
            // Somebody may have changed what is kept since it was read: while nobody answered, say.
            workspace.look().await?;
        }
        remove(&workspace, frontend, model).await?;
        match &volumes {
            Some(belongings) => discard(&workspace, frontend, model, belongings).await,
            None => Ok(()),
        }
    };
    lease::during(leases, site, frontend, "destroy", removed).await?;
    if volumes.is_none() && (!live.is_empty() || left.is_some()) {
        frontend.note(&format!("{model}: stopped; image and weights are kept"));
    }
    Ok(())
}

/// Stops it, takes its entry away, and forgets what the rows say of it.
async fn remove(workspace: &Workspace, frontend: &dyn Frontend, model: &str) -> Result<(), Report> {
    if let Some(gateway) = &workspace.gateway {
        if gateway.remove(model)? {
            frontend.note(&format!("{model}: entry removed from {}", gateway.name()));
        }
        if let Some(command) = gateway.reload().await? {
            frontend.note(&format!("ran {command}"));
        }
    }
    for target in workspace.targets.all() {
        target.remove(model).await?;
    }
    for step in [StepId::gateway(model), StepId::deploy(model), StepId::smoke(model)] {
        workspace.store.forget(&step)?;
    }
    Ok(())
}

/// What the model has in volumes elsewhere, beside what the project's others have there.
async fn belongings<'w>(
    workspace: &'w SharedWorkspace,
    readable: bool,
    model: &str,
) -> Result<(&'w dyn Volumes, Belongings), Report> {
    if !readable {
        return Err(Unreadable.into());
    }
    let project = &workspace.project;
    let Some((target, volumes)) = volumes_of(workspace, model) else {
        let elsewhere = project.target_types.elsewhere();
        return Err(NotThere { model: model.to_owned(), elsewhere }.into());
    };
    let repositories = |model: &Model| -> Vec<String> {
        model.hub_sources().map(|source| source.repository.clone()).collect()
    };
    let mut belongings = volumes.belongings(model);
    // Whoever is away comes back, and is not fetched anew.
    for (name, other) in project.models.iter().chain(&project.absent) {
        match name.as_str() == model {
            true => belongings.repositories.extend(repositories(other)),
            false if other.target.name() == target.name() => {
                belongings.others.extend(repositories(other));
            }
            false => {}
        }
    }
    let planned = plan::quietly(workspace).await?;
    let warmups = project.models.keys();
    let warmups = warmups.filter_map(|name| planned.plan.get(&StepId::warmup(name)));
    let (its, others): (Vec<_>, Vec<_>) = warmups.partition(|step| step.id.name() == model);
    belongings.caches = its.into_iter().filter_map(|step| step.key).collect();
    belongings.others_caches = others.into_iter().map(|step| step.key).collect();
    Ok((volumes, belongings))
}

/// Where volumes hold something of a model, by its target.
fn volumes_of<'w>(
    workspace: &'w Workspace,
    model: &str,
) -> Option<(&'w dyn Target, &'w dyn Volumes)> {
    let mut targets = workspace.targets_of(model).into_iter();
    targets.find_map(|target| Some((target, target.volumes()?)))
}

async fn discard(
    workspace: &Workspace,
    frontend: &dyn Frontend,
    model: &str,
    (volumes, belongings): &(&dyn Volumes, Belongings),
) -> Result<(), Report> {
    let discarded = volumes.discard(model, belongings).await?;
    for kept in &discarded.kept {
        frontend.note(&format!("{model}: kept {kept}"));
    }
    let gone = if discarded.gone.is_empty() {
        "nothing in volumes was its alone".to_owned()
    } else {
        format!("removed {}", discarded.gone.join(", "))
    };
    frontend.note(&format!("{model}: {gone}"));
    let weights = belongings.repositories.difference(&belongings.others);
    let weights = weights.map(StepId::weights);
    for step in weights.chain([StepId::warmup(model)]) {
        workspace.store.forget(&step)?;
    }
    Ok(())
}
