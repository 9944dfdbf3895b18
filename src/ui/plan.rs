//! A plan, for people.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use anstyle::Style;

use super::models;
use super::out::{err, out};
use super::words::{count, not_locked};
use super::{BAD, BOLD, FAINT, GOOD, WARN};
use crate::plan::saved::SavedPlan;
use crate::plan::{Action, Plan, PlannedStep, Reason, ReasonKind, UsdPerHour, Warning};
use crate::step::{StepId, StepKind};

/// So many steps that share action and reason are told one by one; more on one line.
const LISTED: usize = 6;

const UNOBSERVED: &str = "not looked at";

/// Prints a plan as a result.
pub fn print_plan(plan: &Plan, verbose: bool) {
    out(format_args!("{}", render(plan, verbose)));
}

/// Prints a plan as news, when there is something to do.
pub fn print_plan_before_apply(plan: &Plan, verbose: bool) {
    if verbose || !plan.is_empty() || plan.steps.iter().any(|step| step.held.is_some()) {
        err(format_args!("{}\n", render(plan, verbose)));
    }
}

/// Tells that a plan was saved and by which command it is applied, and what else that may run.
pub fn note_saved(command: &str, saved: &SavedPlan) {
    super::note(&format!("saved; `{command}` runs exactly this"));
    match saved.rebuilt_if_missing.len() {
        0 => {}
        number => super::note(&format!(
            "where the cache lacks their files, {} built before are built again, to the same digests",
            count(number, "step")
        )),
    }
}

/// The text of a plan, with styles.
pub(super) fn render(plan: &Plan, verbose: bool) -> String {
    let mut text = String::new();
    for told in protected(plan) {
        let _ = writeln!(text, "{WARN}!{WARN:#} {BOLD}{told}{BOLD:#}");
    }
    let shown: Vec<&PlannedStep> = plan
        .steps
        .iter()
        .filter(|step| {
            verbose || step.action != Action::Fresh || !step.observed || step.held.is_some()
        })
        .collect();
    let lines = if verbose {
        shown.iter().map(|step| line(step, plan)).collect()
    } else {
        grouped(&shown, plan)
    };
    let width = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
    for Line { action, name, reasons, notes } in lines {
        let style = style(action);
        let padding = " ".repeat(width - name.chars().count());
        let _ = write!(text, "{style}{:>8}{style:#}  {name}{padding}", action.word());
        let indent = format!("\n{}", " ".repeat(width + 10));
        let why = reasons.into_iter().map(reason).chain(notes);
        let why: Vec<String> = why.map(|why| format!("  {FAINT}{why}{FAINT:#}")).collect();
        let _ = writeln!(text, "{}", why.join(&indent));
    }
    text.push_str(&models::render(&plan.models));
    for note in notes(plan) {
        let _ = writeln!(text, "{WARN}!{WARN:#} {note}");
    }
    let summary = plan.summary();
    let _ = writeln!(
        text,
        "{BOLD}{} to run{BOLD:#}, {} pending, {} fresh{}{}",
        summary.run,
        summary.pending,
        summary.fresh,
        if summary.remove > 0 { format!(", {} to remove", summary.remove) } else { String::new() },
        match summary.conflict {
            0 => String::new(),
            number => format!(", {}", count(number, "conflict")),
        },
    );
    text + &warnings_text(&plan.warnings)
}

/// The models that anybody may ask now, and not once this plan is carried out: clients notice that
/// before anything else.
pub(super) fn protected(plan: &Plan) -> Vec<String> {
    let becomes = |step: &PlannedStep| {
        let changed = step.reasons.iter().find(|it| it.field.as_deref() == Some("serve.auth"))?;
        let is_closed = step.kind.serves()
            && step.action != Action::Fresh
            && changed.old.as_deref() == Some("none");
        let with = match changed.new.as_deref().filter(|_| is_closed)? {
            "none" => return None,
            "api-key" => "without the key",
            _ => "without a proxy token",
        };
        let models = step.models.join(", ");
        Some(format!("{models} becomes protected: direct callers will get 401 {with}"))
    };
    plan.steps.iter().filter_map(becomes).collect()
}

/// Tells what will run, and perhaps not as it was meant.
pub fn print_warnings(warnings: &[Warning]) {
    out(format_args!("{}", warnings_text(warnings)));
}

fn warnings_text(warnings: &[Warning]) -> String {
    let mut text = String::new();
    for Warning { model, message, help } in warnings {
        let _ = writeln!(text, "{WARN}warning{WARN:#}: {model}: {message}");
        let _ = writeln!(text, "  {FAINT}help:{FAINT:#} {help}");
    }
    text
}

/// A step, or many steps that share a line.
pub(super) struct Line<'a> {
    pub(super) action: Action,
    pub(super) name: String,
    pub(super) reasons: Vec<&'a Reason>,
    /// What else there is to say.
    pub(super) notes: Vec<String>,
}

fn line<'a>(step: &'a PlannedStep, plan: &Plan) -> Line<'a> {
    let mut notes = Vec::new();
    if plan.keeps(step) {
        notes.push("kept, unless with `--prune`".to_owned());
    }
    let reasons: Vec<&Reason> = step.reasons.iter().filter(|it| is_told(step, it)).collect();
    if !step.observed {
        notes.extend(unobserved(step, reasons.is_empty()));
    }
    if !step.after.is_empty() {
        let after: Vec<&str> = step.after.iter().map(StepId::as_str).collect();
        notes.push(format!("in turn, after {}", after.join(" and ")));
    }
    notes.extend(step.held.clone());
    if step.held.is_none() {
        notes.extend(step.note.clone());
    }
    Line { action: step.action, name: step.id.to_string(), reasons, notes }
}

/// Whether a reason stands on the line of its step.
fn is_told(step: &PlannedStep, reason: &Reason) -> bool {
    match reason.kind {
        // Why nobody looked is told below, once for all steps.
        ReasonKind::Unobserved => false,
        // It runs whatever that input makes.
        ReasonKind::Input => step.action != Action::Run || step.reasons.len() == 1,
        _ => true,
    }
}

/// What follows from that nobody looked, where no reason says enough.
fn unobserved(step: &PlannedStep, alone: bool) -> Option<String> {
    let unseen = step.reasons.iter().any(|reason| reason.kind == ReasonKind::Unobserved);
    match &step.key {
        Some(key) if unseen => Some(format!("unless {} is there", key.short())),
        _ => (alone || !unseen).then(|| UNOBSERVED.to_owned()),
    }
}

/// What many steps have in common and is told once: why they could not be looked at or planned, and
/// what another goatbuild makes of them.
pub(super) fn notes(plan: &Plan) -> Vec<String> {
    let steps = &plan.steps;
    let mut unseen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unlocked = 0;
    for reason in steps.iter().flat_map(|step| &step.reasons) {
        match reason.kind {
            ReasonKind::Unobserved => {
                *unseen.entry(reason.field.as_deref().unwrap_or_default()).or_default() += 1;
            }
            ReasonKind::Unlocked => unlocked += 1,
            _ => {}
        }
    }
    let unseen = unseen.into_iter().map(|(why, number)| {
        format!("{} not looked at, so never called fresh: {why}", count(number, "step"))
    });
    let lock = (unlocked > 0).then(|| not_locked(unlocked));
    unseen.chain(lock).chain(changed_by_goatbuild(plan)).collect()
}

/// The steps that run again since this goatbuild means something else by them, by kind, and what
/// that costs.
fn changed_by_goatbuild(plan: &Plan) -> Vec<String> {
    let mut kinds: BTreeMap<&str, Vec<&PlannedStep>> = BTreeMap::new();
    for step in &plan.steps {
        if step.reasons.iter().any(Reason::is_goatbuilds_own) {
            kinds.entry(step.kind.word()).or_default().push(step);
        }
    }
    let told = kinds.into_iter().map(|(kind, steps)| {
        // These have the model's own GPUs up, and no other kind has.
        let on_gpus = steps.iter().filter(|step| step.engine.is_some());
        let models: Vec<&String> = on_gpus.flat_map(|step| &step.models).collect();
        let prices = plan.models.iter().filter(|model| models.contains(&&model.model));
        let prices: Vec<_> = prices.filter_map(|model| model.usd_per_hour).collect();
        let cost = match prices.len() {
            0 => String::new(),
            _ => format!(", on GPUs at {}/h", prices.into_iter().sum::<UsdPerHour>()),
        };
        let number = count(steps.len(), "step");
        let verb = if steps.len() == 1 { "runs" } else { "run" };
        format!("{GOATBUILD} changed step {kind}: {number} {verb} again{cost}")
    });
    told.collect()
}

/// This goatbuild, as plans name it.
const GOATBUILD: &str = concat!("goatbuild ", env!("CARGO_PKG_VERSION"));

/// What steps share that are told on one line.
#[derive(PartialEq, Eq, Hash)]
enum Group<'a> {
    /// Layers of this image with the same action, for the same kinds of reasons.
    Layers(StepKind, &'a str, Action, Vec<ReasonKind>),
    /// Fresh steps of this kind that were not looked at.
    Unobserved(StepKind),
}

impl Group<'_> {
    fn of(step: &PlannedStep) -> Option<Group<'_>> {
        let kinds = || step.reasons.iter().map(|reason| reason.kind);
        if step.kind.has_slots() && !kinds().any(|kind| kind == ReasonKind::Changed) {
            let image = step.id.name().split('/').next().unwrap_or_default();
            return Some(Group::Layers(step.kind, image, step.action, kinds().collect()));
        }
        (step.action == Action::Fresh && step.held.is_none())
            .then_some(Group::Unobserved(step.kind))
    }
}

/// Many steps that do the same for the same kind of reason share a line.
pub(super) fn grouped<'a>(steps: &[&'a PlannedStep], plan: &Plan) -> Vec<Line<'a>> {
    let mut sizes: HashMap<Group<'_>, usize> = HashMap::new();
    for group in steps.iter().filter_map(|step| Group::of(step)) {
        *sizes.entry(group).or_default() += 1;
    }
    let mut lines = Vec::new();
    for step in steps {
        let Some(group) = Group::of(step) else {
            lines.push(line(step, plan));
            continue;
        };
        // A group that was told is taken out.
        let Some(size) = sizes.get(&group).copied() else { continue };
        if size <= LISTED {
            lines.push(line(step, plan));
            continue;
        }
        let name = match &group {
            Group::Layers(kind, image, ..) => format!("{kind}:{image}/… ({size} layers)"),
            Group::Unobserved(kind) => format!("{kind}:… ({size} steps)"),
        };
        let reasons: Vec<&Reason> = step.reasons.first().into_iter().collect();
        let unseen = reasons.is_empty() && !step.observed;
        let notes = unseen.then(|| UNOBSERVED.to_owned()).into_iter().collect();
        lines.push(Line { action: step.action, name, reasons, notes });
        sizes.remove(&group);
    }
    lines
}

/// One reason in words.
pub(super) fn reason(reason: &Reason) -> String {
    if reason.is_goatbuilds_own() {
        return changed_step(reason);
    }
    let field = reason.field.as_deref().unwrap_or_default();
    let words = reason.kind.words();
    match (&reason.old, &reason.new) {
        (Some(old), Some(new)) => format!("{words} {field}: {} → {}", short(old), short(new)),
        (None, Some(new)) => format!("{words} {field}: + {}", short(new)),
        (Some(old), None) => format!("{words} {field}: - {}", short(old)),
        (None, None) if field.is_empty() => words.to_owned(),
        (None, None) => format!("{words} {field}"),
    }
}

/// A reason that is goatbuild's own, in words.
pub(super) fn changed_step(reason: &Reason) -> String {
    let version = |version: &Option<String>| version.clone().unwrap_or_default();
    format!(
        "{GOATBUILD} changed this kind of step: version {} → {}",
        version(&reason.old),
        version(&reason.new)
    )
}

impl ReasonKind {
    /// What a reason of this kind begins with.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::First => "first time",
            Self::Changed => "changed",
            Self::Drift => "drift",
            Self::Evicted => "not in the cache, needed by",
            Self::Replaced => "--replace",
            Self::Input => "depends on",
            Self::FailedBefore => "failed before",
            Self::Unproven => "not proven: an older version still answered",
            Self::Adopted => "takes over",
            Self::Unwanted => "no spec wants",
            Self::Absent => "its spec says absent:",
            Self::Foreign | Self::OtherEnvironment => "in the way:",
            Self::Before => "to take it over,",
            Self::ForClients => "for clients:",
            Self::ForTheEngine => "for the engine:",
            Self::ForMoney => "for money:",
            Self::WayBack => "the way back:",
            Self::Unobserved => "not looked at:",
            Self::Unlocked => "not locked:",
        }
    }
}

/// Long values by both ends: what differs in a path or digest is rarely in the middle alone.
pub(super) fn short(value: &str) -> String {
    const LONGEST: usize = 60;
    let letters: Vec<char> = value.chars().collect();
    if letters.len() <= LONGEST {
        return value.to_owned();
    }
    let head: String = letters[..36].iter().collect();
    let tail: String = letters[letters.len() - 20..].iter().collect();
    format!("{head}…{tail}")
}

pub(super) fn style(action: Action) -> Style {
    match action {
        Action::Run => GOOD,
        Action::Pending => WARN,
        Action::Fresh => FAINT,
        Action::Remove | Action::Conflict => BAD,
    }
}
