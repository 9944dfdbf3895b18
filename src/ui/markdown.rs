//! A plan for a pull request: a summary, a table of what changes, and the rest folded away.

use std::fmt::Write as _;

use super::models::replicas;
use super::out::out;
use super::plan::{Line, changed_step, grouped, notes, short};
use super::words::count;
use crate::plan::{Action, Plan, PlannedStep, Reason, ReasonKind, Summary, Warning};
use crate::step::StepId;

/// So many reasons of one step stand in the table; the rest is folded.
const IN_TABLE: usize = 3;

/// So many fields are folded at most: a comment on GitHub holds 65,536 characters.
const FOLDED: usize = 200;

/// Prints a plan as GitHub's Markdown.
pub fn print_markdown(plan: &Plan, project: &str, environment: Option<&str>) {
    out(format_args!("{}", render(plan, project, environment)));
}

fn render(plan: &Plan, project: &str, environment: Option<&str>) -> String {
    let (changed, fresh): (Vec<&PlannedStep>, Vec<&PlannedStep>) =
        plan.steps.iter().partition(|step| step.action != Action::Fresh || step.held.is_some());
    let lines = grouped(&changed, plan);
    // By this, a workflow finds the comment that it wrote before.
    let mut text =
        format!("<!-- goatbuild plan {project} {} -->\n", environment.unwrap_or("default"));
    let place = environment.map(|name| format!(" for {}", code(name))).unwrap_or_default();
    let _ = writeln!(text, "### goatbuild{place}: {}\n", headline(plan.summary()));
    let mut conflicts = plan.steps.iter().filter(|step| step.action == Action::Conflict).peekable();
    let ours = |step: &PlannedStep| {
        step.reasons.iter().any(|reason| reason.kind == ReasonKind::OtherEnvironment)
    };
    if conflicts.peek().is_some() && conflicts.all(ours) {
        text.push_str(
            "**`goatbuild apply` refuses this plan**: another environment of this project is in the way. \
             Give this one a gateway file or aliases of its own.\n\n",
        );
    } else if plan.summary().conflict > 0 {
        text.push_str(
            "**`goatbuild apply` refuses this plan**: something of somebody else is in the way. \
             Remove it or rename the alias; a single entry in the project's own file is taken over with \
             `--adopt MODEL`.\n\n",
        );
    }
    for told in super::plan::protected(plan) {
        let _ = writeln!(text, "**{told}**\n");
    }
    if !lines.is_empty() {
        text.push_str("| | step | why |\n|:--|:--|:--|\n");
        for line in &lines {
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                action(line.action),
                code(&line.name),
                why(line)
            );
        }
        text.push('\n');
    }
    remarks(&mut text, plan);
    cost(&mut text, plan);
    fold_fields(&mut text, &lines);
    fold_fresh(&mut text, plan, &fresh);
    text
}

fn headline(summary: Summary) -> String {
    let parts = [
        (summary.run, "to run"),
        (summary.pending, "pending"),
        (summary.remove, "to remove"),
        (summary.conflict, "in conflict"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, words)| format!("{number} {words}"))
        .collect();
    let fresh = format!("{} fresh", summary.fresh);
    if parts.is_empty() {
        format!("nothing to do, {fresh}")
    } else {
        format!("{}, {fresh}", parts.join(", "))
    }
}

fn action(action: Action) -> String {
    match action {
        Action::Pending | Action::Fresh => action.word().to_owned(),
        Action::Run | Action::Remove | Action::Conflict => format!("**{}**", action.word()),
    }
}

fn why(line: &Line<'_>) -> String {
    let reasons = line.reasons.iter();
    let shown = if line.reasons.len() > IN_TABLE { IN_TABLE - 1 } else { IN_TABLE };
    let mut parts: Vec<String> = reasons.take(shown).map(|it| reason(it)).collect();
    if let Some(more) = line.reasons.len().checked_sub(shown).filter(|more| *more > 0) {
        parts.push(format!("and {more} more, below"));
    }
    parts.extend(line.notes.iter().cloned());
    parts.join("<br>")
}

/// One reason, with every value as code.
fn reason(reason: &Reason) -> String {
    if reason.is_goatbuilds_own() {
        return entities(&changed_step(reason));
    }
    let words = reason.kind.words();
    let field = reason.field.as_deref().map(code).unwrap_or_default();
    let value = |value: &Option<String>| value.as_deref().map(|value| code(&short(value)));
    match (value(&reason.old), value(&reason.new)) {
        (Some(old), Some(new)) => format!("{words} {field}: {old} → {new}"),
        (None, Some(new)) => format!("{words} {field}: new, {new}"),
        (Some(old), None) => format!("{words} {field}: {old} is gone"),
        (None, None) if field.is_empty() => words.to_owned(),
        (None, None) => format!("{words} {field}"),
    }
}

/// What isn't known or may not be meant so.
fn remarks(text: &mut String, plan: &Plan) {
    for note in notes(plan) {
        let _ = writeln!(text, "- {}", entities(&note));
    }
    for Warning { model, message, help } in &plan.warnings {
        let (message, help) = (entities(message), entities(help));
        let _ = writeln!(text, "- **warning** {}: {message}<br>{help}", code(model));
    }
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
}

/// What the replicas that are started or replaced cost.
fn cost(text: &mut String, plan: &Plan) {
    let deploys = |model: &str, wanted: &[Action]| {
        plan.get(&StepId::deploy(model)).is_some_and(|step| wanted.contains(&step.action))
    };
    let models: Vec<_> = plan
        .models
        .iter()
        .filter(|served| deploys(&served.model, &[Action::Run, Action::Pending]))
        .filter_map(|served| Some((served, served.usd_per_hour?)))
        .collect();
    if models.is_empty() {
        return;
    }
    text.push_str("| replica that changes | GPU | per hour while it is up |\n|:--|:--|--:|\n");
    for (served, price) in &models {
        let gpu = match (&served.gpu, served.gpu_count) {
            (Some(gpu), 1) => code(gpu),
            (Some(gpu), number) => format!("{number} × {}", code(gpu)),
            (None, _) => String::new(),
        };
        let _ = writeln!(text, "| {} | {gpu} | {price} |", code(&served.model));
    }
    if models.len() > 1 {
        let sum: crate::plan::UsdPerHour = models.iter().map(|(_, price)| *price).sum();
        let _ = writeln!(text, "| **all of them** | | **{sum}** |");
    }
    text.push('\n');
    for (served, _) in &models {
        for line in replicas(served) {
            let _ = writeln!(text, "- {}: {}", code(&served.model), entities(&line));
        }
    }
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
}

fn fold_fields(text: &mut String, lines: &[Line<'_>]) {
    let long: Vec<&Line<'_>> = lines.iter().filter(|line| line.reasons.len() > IN_TABLE).collect();
    let total: usize = long.iter().map(|line| line.reasons.len()).sum();
    if total == 0 {
        return;
    }
    let _ = writeln!(text, "<details>\n<summary>Why, field by field</summary>\n");
    let mut left = FOLDED;
    for line in long {
        let _ = writeln!(text, "{}\n", code(&line.name));
        for it in line.reasons.iter().take(left) {
            let _ = writeln!(text, "- {}", reason(it));
        }
        left = left.saturating_sub(line.reasons.len());
        text.push('\n');
        if left == 0 {
            break;
        }
    }
    if total > FOLDED {
        let _ = writeln!(text, "and {} more: `goatbuild plan` shows all\n", total - FOLDED);
    }
    text.push_str("</details>\n\n");
}

fn fold_fresh(text: &mut String, plan: &Plan, fresh: &[&PlannedStep]) {
    if fresh.is_empty() {
        return;
    }
    let _ = writeln!(text, "<details>\n<summary>{} fresh</summary>\n", count(fresh.len(), "step"));
    for line in grouped(fresh, plan) {
        let name = code(&line.name);
        let parts = [&[name], line.notes.as_slice()].concat();
        let _ = writeln!(text, "- {}", parts.join(", "));
    }
    text.push_str("\n</details>\n");
}

/// A text as code, in a table too: whatever it holds, it can't end the code or the cell.
fn code(text: &str) -> String {
    let line: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    // A backslash before a pipe can't be told from an escaped pipe.
    if line.contains("\\|") || line.trim().is_empty() {
        return format!("<code>{}</code>", entities(&line));
    }
    let longest = line.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(if longest == 0 { 1 } else { longest + 1 });
    let space = if line.starts_with(['`', ' ']) || line.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{space}{}{space}{fence}", line.replace('|', "\\|"))
}

/// Every letter that Markdown or HTML could take for its own, by number.
fn entities(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if letter.is_alphanumeric() || " ,':;()".contains(letter) {
            escaped.push(letter);
        } else {
            let _ = write!(escaped, "&#{};", u32::from(letter));
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
