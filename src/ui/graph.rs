//! A plan as a drawing: what stands for which step, and in which colour.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::plan::reason;
use super::words::count;
use crate::draw::{Diagram, Edge, Node, Tone};
use crate::plan::{Action, Plan, PlannedStep, ReasonKind};
use crate::step::StepId;

/// What is drawn of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// Every layer, and every arrow, even if a longer way implies it.
    pub all: bool,
    /// Without anything that changes from day to day: no action, no key.
    pub plain: bool,
}

/// Fewer layers than this are drawn one by one.
const GROUPED: usize = 3;

/// Draws a plan; `orders` tells which arrows, from one step to another, only say which is first.
pub fn diagram(
    title: &str,
    plan: &Plan,
    drawn: Drawn,
    orders: &dyn Fn(&StepId, &StepId) -> bool,
) -> Diagram {
    let steps: Vec<&PlannedStep> =
        plan.steps.iter().filter(|step| !drawn.plain || step.action != Action::Remove).collect();
    let takers = takers(&steps);
    let groups = groups(&steps, &takers, drawn.all);
    let mut places: HashMap<&StepId, usize> = HashMap::new();
    for (place, group) in groups.iter().enumerate() {
        places.extend(group.iter().map(|step| (&step.id, place)));
    }
    let mut edges: BTreeMap<(usize, usize), bool> = BTreeMap::new();
    for step in &steps {
        for input in &step.inputs {
            let (from, to) = (places[input], places[&step.id]);
            *edges.entry((from, to)).or_default() |= !orders(input, &step.id);
        }
    }
    let edges = edges.into_iter().map(|((from, to), flows)| Edge { from, to, flows }).collect();
    let mut names = BTreeSet::new();
    let nodes = groups.iter().map(|group| {
        let mut node = node(group, &takers, drawn.plain);
        while !names.insert((node.kind.clone(), node.name.clone())) {
            node.name.push('…');
        }
        node
    });
    let nodes = nodes.collect();
    let mut diagram =
        Diagram { title: title.to_owned(), summary: summary(plan, drawn), nodes, edges };
    if !drawn.all {
        diagram.without_shortcuts();
    }
    diagram
}

fn summary(plan: &Plan, drawn: Drawn) -> String {
    if drawn.plain {
        return count(plan.steps.len(), "step");
    }
    let summary = plan.summary();
    let actions = [
        (summary.run, "to run"),
        (summary.pending, "pending"),
        (summary.fresh, "fresh"),
        (summary.remove, "to remove"),
        (summary.conflict, "in conflict"),
    ];
    let told = actions.iter().filter(|(number, _)| *number > 0);
    told.map(|(number, word)| format!("{number} {word}")).collect::<Vec<_>>().join(" · ")
}

/// The steps that one box stands for: wheel layers that the same images are made of.
fn groups<'a>(
    steps: &[&'a PlannedStep],
    takers: &HashMap<&StepId, Vec<&StepId>>,
    all: bool,
) -> Vec<Vec<&'a PlannedStep>> {
    let mut groups: Vec<Vec<&PlannedStep>> = Vec::new();
    let mut known: HashMap<&[&StepId], usize> = HashMap::new();
    for step in steps {
        if all || !step.kind.has_slots() {
            groups.push(vec![step]);
            continue;
        }
        let place = *known
            .entry(takers.get(&step.id).map_or(&[][..], Vec::as_slice))
            .or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(step);
    }
    let few = |group: &Vec<&PlannedStep>| group.len() < GROUPED;
    groups
        .into_iter()
        .flat_map(|group| {
            if few(&group) {
                group.into_iter().map(|step| vec![step]).collect()
            } else {
                vec![group]
            }
        })
        .collect()
}

/// The steps that take something from each step.
fn takers<'a>(steps: &[&'a PlannedStep]) -> HashMap<&'a StepId, Vec<&'a StepId>> {
    let mut takers: HashMap<&StepId, Vec<&StepId>> = HashMap::new();
    for step in steps {
        for input in &step.inputs {
            takers.entry(input).or_default().push(&step.id);
        }
    }
    takers
}

fn node(group: &[&PlannedStep], takers: &HashMap<&StepId, Vec<&StepId>>, plain: bool) -> Node {
    let first = group[0];
    let several = group.len() > 1;
    // What most needs to be seen of several.
    let action = |step: &PlannedStep| if plain { Tone::Plain } else { tone(step.action) };
    let tone = group.iter().map(|step| action(step)).max().unwrap_or(Tone::Plain);
    let (name, detail) = if several {
        let images = takers.get(&first.id).into_iter().flatten();
        let images: Vec<&str> = images.map(|id| id.name()).collect();
        let name = format!("{} × {}", images.join(" + "), group.len());
        let mixed = Tone::TOLD.into_iter().filter_map(|tone| {
            let number = group.iter().filter(|step| action(step) == tone).count();
            (number > 0).then(|| format!("{number} {}", tone.word()))
        });
        (name, mixed.collect::<Vec<_>>().join(" · "))
    } else {
        (first.id.name().to_owned(), if plain { String::new() } else { detail(first) })
    };
    let about = if several { about_several(group, plain) } else { about(first, plain) };
    Node { kind: first.kind.to_string(), name, detail, tone, about, count: group.len() }
}

fn tone(action: Action) -> Tone {
    match action {
        Action::Run => Tone::Run,
        Action::Pending => Tone::Pending,
        Action::Fresh => Tone::Fresh,
        Action::Remove => Tone::Remove,
        Action::Conflict => Tone::Conflict,
    }
}

/// The beginning of the key while it is known.
fn detail(step: &PlannedStep) -> String {
    match &step.key {
        Some(key) => key.short(),
        None if step.action == Action::Remove => "no spec wants it".to_owned(),
        None => "key not known yet".to_owned(),
    }
}

/// What the plan says of some of many steps: what is not fresh comes first.
fn about_several(group: &[&PlannedStep], plain: bool) -> String {
    const SHOWN: usize = 12;
    let mut steps = group.to_vec();
    steps.sort_by_key(|step| (!plain && step.action == Action::Fresh, &step.id));
    let line = |step: &&PlannedStep| match step.reasons.first() {
        _ if plain => step.id.to_string(),
        Some(first) => format!("{}: {}, {}", step.id, step.action.word(), reason(first)),
        None => format!("{}: {}", step.id, step.action.word()),
    };
    let mut lines: Vec<String> = steps.iter().take(SHOWN).map(line).collect();
    if steps.len() > SHOWN {
        lines.push(format!("and {} more", steps.len() - SHOWN));
    }
    lines.join("\n")
}

/// Everything that the plan says of a step, a line each.
fn about(step: &PlannedStep, plain: bool) -> String {
    if plain {
        return step.id.to_string();
    }
    let mut lines = vec![format!("{}: {}", step.id, step.action.word())];
    lines.extend(step.key.iter().map(|key| format!("key {key}")));
    lines.extend(step.reasons.iter().map(reason));
    lines.extend(step.note.clone());
    let told = step.reasons.iter().any(|reason| reason.kind == ReasonKind::Unobserved);
    if !step.observed && !told {
        lines.push("not looked at".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
