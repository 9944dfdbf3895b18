//! What would run: locks what is missing, looks at the world, compiles and judges.

use std::collections::BTreeSet;

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Frontend, Work};
use crate::event::Reporter;
use crate::graph::Graph;
use crate::locking::{self, Changes, LockOptions, Scope};
use crate::plan::saved::Request;
use crate::plan::{self, Plan, Warning, Wishes};
use crate::spec::{Project, Unknown, unknown};
use crate::step::{Observation, StepId};
use crate::steps;
use crate::workspace::{SharedWorkspace, Workspace};

/// What was asked for does not go together.
#[derive(Debug, Error, Diagnostic)]
pub enum RequestError {
    /// Two things that say different things about what is covered.
    #[error("{one} and {other} can't be had together")]
    #[diagnostic(
        code(goatbuild::usage::contrary),
        help(
            "models and --only name a part of the project, and not both; --prune is about all of it"
        )
    )]
    Contrary {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A step to replace that is not covered.
    #[error("{step} is no part of what was asked for")]
    #[diagnostic(
        code(goatbuild::usage::outside),
        help("name a model or step that needs it, or leave --replace out")
    )]
    Outside {
        /// The step.
        step: String,
    },
}

/// A plan and all it was made of.
pub struct Planned {
    /// The steps.
    pub graph: Graph,
    /// What was asked for.
    pub wishes: Wishes,
    /// What happens to each step.
    pub plan: Plan,
}

/// How locks are settled for what was asked for: what can wait for an answer is left open.
pub fn settling(workspace: &Workspace, request: &Request) -> LockOptions {
    let (locked, scope) = (workspace.settings.locked, Scope::of_request(workspace, request));
    LockOptions { locked, lenient: true, scope, ..LockOptions::default() }
}

/// Locks what is missing, looks at the world unless that is not wished, and plans.
pub async fn plan(
    workspace: &SharedWorkspace,
    frontend: &dyn Frontend,
    request: &Request,
    options: LockOptions,
) -> Result<Planned, Report> {
    // What is wrong here needs no download to be found.
    workspace.check_sources(&request.models)?;
    if serves(request) {
        workspace.check_platforms(&request.models)?;
    }
    let refresh = !request.no_refresh;
    if refresh {
        workspace.look().await?;
    }
    let mut changes = Changes::default();
    let settled = frontend.showing(Work::Prepares, async |reporter| {
        locking::settle_into(&mut changes, workspace, &options, reporter).await
    });
    let settled = settled.await;
    frontend.tell_changes(&changes);
    settled?;
    for warning in &changes.warnings {
        frontend.note(warning);
    }
    if refresh && !changes.resolved.is_empty() {
        // Resolving took its time, in which the world may have moved.
        workspace.look().await?;
    }
    if refresh && serves(request) {
        // Of steps that were named, those that serve have their model's name.
        let steps = request.only.iter().map(|name| StepId::from(name.as_str()));
        let named = steps.filter(StepId::may_serve).map(|step| step.name().to_owned());
        let models: Vec<String> = request.models.iter().cloned().chain(named).collect();
        workspace.ask(&models).await?;
    }
    let memory = workspace.remember()?;
    let warnings = workspace.check_engines(&request.models)?;
    let mut unwanted = if refresh { workspace.unwanted() } else { workspace.unwanted_by(&memory) };
    let whole = steps::compile(workspace, &Reporter::silent())?;
    // Whose last spec is gone wants no images, but to have what it led to away.
    let for_images = !has_models(workspace) && unwanted.is_empty();
    let mut wishes = wishes(&whole, workspace, request)?;
    wishes.images = for_images && request.only.is_empty();
    let (graph, all) = select(workspace, whole, request, for_images)?;
    if refresh {
        steps::look_at_pushed(workspace, &graph, &memory).await;
    }
    unwanted.retain(|it| all || it.absent && request.models.contains(&it.model));
    let mut plan = plan::plan(&graph, &memory, &unwanted, &wishes);
    plan.models = workspace.planned_models(&plan);
    let was_made = |model: &str| {
        let deploy = StepId::deploy(model);
        memory.made().any(|id| *id == deploy)
    };
    // Who doesn't look and applies all the same is to be careful.
    let may_stand = |model: &str| !refresh || was_made(model);
    plan.take_turns(|model| stands_elsewhere(workspace, model, may_stand));
    let planned = |model: &String| plan.steps.iter().any(|step| step.models.contains(model));
    plan.warnings = warnings.into_iter().filter(|warning| planned(&warning.model)).collect();
    if refresh {
        plan.warnings.extend(workspace.unseen_absent(request));
        let lacks = steps::lacks(workspace, &plan).into_iter().map(|(step, lack)| Warning {
            model: step.models.first().cloned().unwrap_or_else(|| step.id.to_string()),
            message: lack.what,
            help: lack.help,
        });
        let doubts = steps::doubts(workspace, &plan).into_iter().map(|(model, doubt)| Warning {
            model,
            message: doubt.what,
            help: doubt.help,
        });
        let bases = steps::told(workspace, &plan).into_iter().map(|(model, told)| Warning {
            model,
            message: told.what,
            help: told.help,
        });
        let told: Vec<Warning> = lacks.chain(doubts).chain(bases).collect();
        plan.warnings.extend(told);
    }
    Ok(Planned { graph, wishes, plan })
}

/// A plan of everything as it is locked; changes and tells nothing.
pub async fn quietly(workspace: &SharedWorkspace) -> Result<Planned, Report> {
    locking::settle_as_it_is(workspace, Scope::Project).await?;
    let graph = steps::compile(workspace, &Reporter::silent())?;
    let wishes = Wishes::default();
    let plan = plan::plan(&graph, &workspace.remember()?, &workspace.unwanted(), &wishes);
    Ok(Planned { graph, wishes, plan })
}

/// Whether a model is up on machines elsewhere: clients would notice what becomes of it. Of what nobody could
/// look at, `may_stand` says so.
fn stands_elsewhere(workspace: &Workspace, model: &str, may_stand: impl Fn(&str) -> bool) -> bool {
    workspace.project.models.get(model).is_some_and(|spec| {
        !spec.target.is_here()
            && match workspace.targets.of(spec).observe_deployment(model) {
                Observation::Absent => false,
                Observation::Unobserved(_) => may_stand(model),
                _ => true,
            }
    })
}

/// Whether what was asked for can include serving a model, which this machine must be able to do.
fn serves(request: &Request) -> bool {
    let serves = |name: &String| StepId::from(name.as_str()).may_serve();
    request.only.is_empty() || request.only.iter().any(serves)
}

fn wishes(graph: &Graph, workspace: &Workspace, asked: &Request) -> Result<Wishes, Unknown> {
    let replace = steps_named(graph, &asked.replace)?;
    for name in &asked.adopt {
        workspace.project.model(name)?;
    }
    Ok(Wishes {
        replace,
        only: steps_named(graph, &asked.only)?,
        images: false,
        adopt: asked.adopt.iter().cloned().collect(),
        no_refresh: asked.no_refresh,
        prune: asked.prune,
    })
}

/// The ids of steps that the graph has.
fn steps_named(graph: &Graph, names: &[String]) -> Result<BTreeSet<StepId>, Unknown> {
    let known = || graph.in_order().map(|step| step.id().as_str());
    let ids = names.iter().map(|name| {
        let id = StepId::from(name.as_str());
        graph.get(&id).is_some().then_some(id).ok_or_else(|| unknown("step", name, known()))
    });
    ids.collect()
}

/// What a whole project asks for: images that no model is served from are built by name, or where there
/// are no models at all.
fn served(graph: Graph) -> Graph {
    if graph.in_order().any(|step| step.models().is_empty()) {
        graph.needed_by(|step| !step.models().is_empty())
    } else {
        graph
    }
}

fn has_models(workspace: &Workspace) -> bool {
    let Project { models, absent, left_out, .. } = &*workspace.project;
    !models.is_empty() || !absent.is_empty() || !left_out.models.is_empty()
}

/// The part of the graph that was asked for, and whether that is all of it.
fn select(
    workspace: &Workspace,
    graph: Graph,
    request: &Request,
    for_images: bool,
) -> Result<(Graph, bool), Report> {
    if request.models.is_empty() && request.only.is_empty() {
        return Ok((if for_images { graph } else { served(graph) }, true));
    }
    for name in &request.models {
        workspace.project.known(name)?;
    }
    let only = steps_named(&graph, &request.only)?;
    let contrary = |one, other| Err(RequestError::Contrary { one, other }.into());
    match (request.models.is_empty(), only.is_empty(), request.prune) {
        (false, false, _) => return contrary("models", "--only"),
        (false, _, true) => return contrary("models", "--prune"),
        (_, false, true) => return contrary("--only", "--prune"),
        _ => {}
    }
    let part = graph.needed_by(|step| {
        if only.is_empty() {
            step.models().iter().any(|model| request.models.contains(model))
        } else {
            only.contains(step.id())
        }
    });
    match request.replace.iter().find(|id| part.get(&StepId::from(&***id)).is_none()) {
        Some(step) => Err(RequestError::Outside { step: step.clone() }.into()),
        None => Ok((part, false)),
    }
}
