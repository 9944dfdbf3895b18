//! What an apply is about to do: where it serves, which volumes it moves, what it would spend or replace
//! elsewhere; and whether somebody agreed to that.

use std::collections::BTreeSet;

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::Frontend;
use super::agreed::{Agreed, Bounds};
use super::plan::Planned;
use crate::clock::days_since;
use crate::plan::saved::Request;
use crate::plan::{Action, Plan, PlannedModel, PlannedStep, UsdPerMonth};
use crate::spec::Model;
use crate::step::StepId;
use crate::targets::{Move, Moves};
use crate::workspace::Workspace;

/// The days after which prices that were asked for are old.
const OLD_PRICES: f64 = 30.0;

/// Why an apply was not begun.
#[derive(Debug, Error, Diagnostic)]
pub enum NotAgreed {
    /// It was asked for where nobody can answer.
    #[error("{what}, and nobody is there to ask")]
    #[diagnostic(
        code(goatbuild::usage::unconfirmed),
        help("say it with `--yes`, or apply a saved plan. Nothing was changed")
    )]
    Nobody {
        /// What would be done.
        what: String,
    },
    /// More money than was allowed.
    #[error("this may cost up to ${most:.2}, and --max-cost allows ${allowed:.2}{}: {}", less(*spent), steps.join(", "))]
    #[diagnostic(
        code(goatbuild::plan::cost),
        help(
            "that is if every start takes as long as its `startup-timeout` allows, and every fetch and build as long as it may, and each replica uses all the CPU it is allowed; memory beyond `hardware.memory` is billed on top. Apply fewer models at once, shorten the time-outs, or allow more. {}",
            unchanged(*spent)
        )
    )]
    Cost {
        /// The most that it can cost.
        most: f64,
        /// The most that may be spent still.
        allowed: f64,
        /// What was allowed beside that, and may be spent already.
        spent: f64,
        /// What each step can cost at most.
        steps: Vec<String>,
    },
    /// More replicas stay up than were allowed.
    #[error("this leaves more up than before for {more} a month, and {limit} allows ${allowed:.2}{}: {}", less(*spent), models.join(", "))]
    #[diagnostic(
        code(goatbuild::plan::always_on),
        help(
            "those are paid for though nobody asks anything: `min-containers` says how many. `--max-monthly USD` allows so much a month beside `--max-cost`. {}",
            unchanged(*spent)
        )
    )]
    AlwaysOn {
        /// What all of it costs more than before.
        more: UsdPerMonth,
        /// What says how much may be spent.
        limit: &'static str,
        /// So much, in dollars.
        allowed: f64,
        /// What was allowed beside that, and may be spent already.
        spent: f64,
        /// What of each model stays up.
        models: Vec<String>,
    },
    /// Somebody said no.
    #[error("nothing was changed")]
    #[diagnostic(code(goatbuild::plan::declined))]
    Declined,
}

/// How much of what is allowed an earlier round of the same apply has.
fn less(spent: f64) -> String {
    let told =
        || format!(" more, after ${spent:.2} for what was begun before it was planned again");
    (spent > 0.0).then(told).unwrap_or_default()
}

fn unchanged(spent: f64) -> &'static str {
    if spent > 0.0 { "Nothing more was changed" } else { "Nothing was changed" }
}

/// Something would be done that nobody agreed to.
#[derive(Debug, Error, Diagnostic)]
#[error("{what}, and nobody is there to ask")]
#[diagnostic(code(goatbuild::usage::unconfirmed), help("say it with `--yes`. Nothing was changed"))]
pub struct Unconfirmed {
    what: String,
}

/// Asks, unless somebody agreed already: `what` would be done. Tells of a no; says whether it may be.
pub fn confirm(
    frontend: &dyn Frontend,
    agreed: bool,
    what: &str,
    question: &str,
) -> Result<bool, Unconfirmed> {
    if agreed {
        return Ok(true);
    }
    let says = frontend.confirm(question).ok_or_else(|| Unconfirmed { what: what.to_owned() })?;
    if !says {
        frontend.note("nothing was changed");
    }
    Ok(says)
}

/// What an apply would do on machines that cost money.
struct Spending {
    /// Apps that are deployed or replaced.
    deploys: Vec<String>,
    /// Apps that are stopped.
    stops: Vec<String>,
    /// What it can cost.
    bounds: Bounds,
    /// Whether any of them keeps an accelerator busy.
    on_gpus: bool,
    /// What is billed besides, without a limit.
    beside: BTreeSet<&'static str>,
    /// The replicas of what is deployed that stay up though nobody asks anything, by model.
    always_on: Vec<String>,
    /// What those cost more than what stays up now.
    more: UsdPerMonth,
}

/// Says what an apply is about to do, and asks once, unless somebody agreed already.
pub(super) async fn ask(
    workspace: &Workspace,
    frontend: &dyn Frontend,
    planned: &Planned,
    agreed: Agreed,
) -> Result<Bounds, Report> {
    tell_targets(workspace, frontend, &planned.plan).await;
    tell_prices(workspace, frontend, &planned.plan);
    tell_moves(workspace, frontend, "this apply moves");
    agree(workspace, frontend, planned, agreed)
}

/// Says what the next apply of a plan moves and leaves on this machine, and where it serves what, unless
/// nobody looked.
pub async fn foretell(
    workspace: &Workspace,
    frontend: &dyn Frontend,
    plan: &Plan,
    request: &Request,
) {
    tell_moves(workspace, frontend, "the next apply moves");
    for left in workspace.targets.moves().flat_map(Moves::left_over) {
        let left = left.strip_prefix(&workspace.root).unwrap_or(&left).display();
        frontend.note(&format!("{left} is no longer used: `goatbuild gc` removes it"));
    }
    if !request.no_refresh {
        tell_targets(workspace, frontend, plan).await;
    }
    tell_prices(workspace, frontend, plan);
}

/// Says where models are going to be served, when any is.
async fn tell_targets(workspace: &Workspace, frontend: &dyn Frontend, plan: &Plan) {
    let starts = |step: &&PlannedStep| {
        step.engine.is_some_and(|engine| engine.starts)
            && matches!(step.action, Action::Run | Action::Pending)
    };
    let models = plan.steps.iter().filter(starts).flat_map(|step| &step.models);
    let models = models.filter_map(|name| workspace.project.models.get(name.as_str()));
    let used: BTreeSet<&str> = models.map(|model| workspace.targets.of(model).name()).collect();
    for target in workspace.targets.all().filter(|target| used.contains(target.name())) {
        if let Some(place) = target.place().await {
            frontend.note(&place);
        }
    }
}

/// Says of which targets the lock's prices are old that a plan counts with.
fn tell_prices(workspace: &Workspace, frontend: &dyn Frontend, plan: &Plan) {
    let lists = workspace.targets.all().filter_map(|it| Some((it, it.price_list()?)));
    for (target, list) in lists {
        let counts =
            |model: &PlannedModel| model.target == target.name() && model.usd_per_hour.is_some();
        let asked = workspace
            .lock
            .read(|lock| lock.prices.get(target.name()).map(|locked| locked.asked.clone()));
        let Some(asked) = asked.filter(|_| plan.models.iter().any(counts)) else { continue };
        if days_since(&asked).is_none_or(|days| days > OLD_PRICES) {
            let (title, day) = (list.title(), asked.split('T').next().unwrap_or_default());
            frontend.note(&format!(
                "prices of {title} are from {day}: `goatbuild lock --prices` asks again"
            ));
        }
    }
}

/// Says which volumes of this machine are going to be moved; `deed` says by whom.
fn tell_moves(workspace: &Workspace, frontend: &dyn Frontend, deed: &str) {
    let planned: Vec<Move> = workspace.targets.moves().flat_map(Moves::planned).collect();
    for told in Move::told(&planned, &workspace.root) {
        frontend.note(&format!("{deed} {told}"));
    }
}

/// Asks whether what a plan spends or replaces may be, unless nothing does or somebody agreed already. Gives
/// what it can cost.
pub fn agree(
    workspace: &Workspace,
    frontend: &dyn Frontend,
    planned: &Planned,
    agreed: Agreed,
) -> Result<Bounds, Report> {
    let spending = Spending::of(workspace, planned);
    let most: f64 = spending.bounds.steps.iter().map(|(_, dollars)| dollars).sum();
    spending.refuse(most, agreed)?;
    let Some(what) = spending.describe(most) else { return Ok(spending.bounds) };
    if agreed.all {
        frontend.note(&what);
        return Ok(spending.bounds);
    }
    match frontend.confirm(&format!("{what}. Go on?")) {
        None => Err(NotAgreed::Nobody { what }.into()),
        Some(true) => Ok(spending.bounds),
        Some(false) => Err(NotAgreed::Declined.into()),
    }
}

impl Spending {
    fn of(workspace: &Workspace, planned: &Planned) -> Self {
        let mut spending = Self {
            deploys: Vec::new(),
            stops: Vec::new(),
            bounds: Bounds::default(),
            on_gpus: false,
            beside: BTreeSet::new(),
            always_on: Vec::new(),
            more: UsdPerMonth::default(),
        };
        for step in &planned.plan.steps {
            let model =
                step.models.first().and_then(|name| workspace.project.models.get(name.as_str()));
            match (step.action, model) {
                (Action::Run | Action::Pending, Some(model)) if !model.target.is_here() => {
                    if step.kind.serves() {
                        spending.deploys.push(model.name.to_string());
                        spending.keep_up(workspace, model, &step.id);
                    }
                    let target = workspace.targets.of(model);
                    // Its target ends whatever takes longer.
                    let busy = step.engine.filter(|engine| !engine.busy.is_zero());
                    spending.on_gpus |= busy.is_some();
                    let served = target.plan_model(model);
                    let busy = busy.and_then(|engine| {
                        let stands = engine.asks && !engine.starts;
                        let replicas = if stands { served.replicas_asked() } else { 1 };
                        spending.beside.extend(target.without_limit());
                        let price = target.most_per_hour(model)?;
                        Some(price.times(replicas).dollars(engine.busy))
                    });
                    let errand = (!step.errand.is_zero()).then(|| target.price_of_errand());
                    let errand = errand.flatten().map(|price| price.dollars(step.errand));
                    let dollars = busy.into_iter().chain(errand).reduce(|one, other| one + other);
                    spending.bounds.steps.extend(dollars.map(|it| (step.id.clone(), it)));
                }
                (Action::Remove, _) if step.kind.serves() && !planned.plan.keeps(step) => {
                    let there = |name: &&String| {
                        let mut targets = workspace.targets.elsewhere();
                        targets.any(|target| target.has(name))
                    };
                    spending.stops.extend(step.models.first().filter(there).cloned());
                }
                _ => {}
            }
        }
        spending
    }

    /// Counts what a model is going to leave up.
    fn keep_up(&mut self, workspace: &Workspace, model: &Model, step: &StepId) {
        let target = workspace.targets.of(model);
        let served = target.plan_model(model);
        let (Some(told), Some(always_on)) = (served.told_always_on(), served.always_on) else {
            return;
        };
        let stands = target.always_on(model.name.as_str());
        let stands = stands.map_or(UsdPerMonth::default(), |it| it.usd_per_month);
        self.always_on.push(format!("{} {told}", model.name));
        let more = always_on.usd_per_month.beyond(stands);
        self.bounds.left_up.push((step.clone(), more.dollars()));
        self.more = [self.more, more].into_iter().sum();
    }

    /// Refuses more than was allowed.
    fn refuse(&self, most: f64, agreed: Agreed) -> Result<(), NotAgreed> {
        let more = self.more.dollars();
        let limit = match (agreed.max_monthly, agreed.max_cost) {
            (Some(allowed), _) => Some(("--max-monthly", allowed, more)),
            // Nobody who allows a few dollars means so many every month.
            (None, Some(allowed)) if more > 0.0 => Some(("--max-cost", allowed, most + more)),
            (None, _) => None,
        };
        if let Some((limit, allowed, found)) = limit
            && found > allowed
            && more > 0.0
        {
            let (more, models) = (self.more, self.always_on.clone());
            let spent = agreed.spent;
            return Err(NotAgreed::AlwaysOn { more, limit, allowed, spent, models });
        }
        match agreed.max_cost {
            Some(allowed) if most > allowed => {
                let steps = self.bounds.steps.iter().map(|(step, it)| format!("{step} ${it:.2}"));
                let (spent, steps) = (agreed.spent, steps.collect());
                Err(NotAgreed::Cost { most, allowed, spent, steps })
            }
            _ => Ok(()),
        }
    }

    fn describe(&self, most: f64) -> Option<String> {
        let mut parts = Vec::new();
        if !self.deploys.is_empty() {
            parts.push(format!("deploys {}", self.deploys.join(", ")));
        }
        if !self.stops.is_empty() {
            parts.push(format!("stops {}", self.stops.join(", ")));
        }
        if !self.always_on.is_empty() {
            parts.push(format!("leaves always on: {}", self.always_on.join(", ")));
        }
        if self.on_gpus {
            let beside: Vec<&str> = self.beside.iter().copied().collect();
            let beside = match &*beside {
                [] => String::new(),
                beside => format!(", not counting {}", beside.join(" and ")),
            };
            parts.push(format!(
                "spends GPU time, up to ${most:.2} if every start is as slow as it may be{beside}"
            ));
        }
        (!parts.is_empty()).then(|| format!("this {}", parts.join("; ")))
    }
}
