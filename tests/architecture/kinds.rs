//! What a step is stands in its head: nobody else guesses it from a name, or lists kinds.

use super::sources::{Source, sources};

/// The rooms that make steps and their ids.
const OURS: &[&str] = &["step", "step_id", "steps"];

/// Texts that begin as a step's id does, and are none.
const OTHERS: &[(&str, &str)] = &[
    // What the fields of an image's file begin with beside those of a spec.
    ("spec/read.rs", "image:"),
];

const KINDS: &[&str] = &[
    "base", "python", "wheels", "build", "image", "push", "weights", "warmup", "deploy", "smoke",
    "gateway",
];

fn others() -> impl Iterator<Item = Source> {
    sources().into_iter().filter(|source| !OURS.contains(&source.module()))
}

#[test]
fn nobody_lists_kinds_of_steps_but_who_makes_them() {
    let mut wrong = Vec::new();
    for source in others() {
        for (at, name) in source.code.match_indices("StepKind::") {
            let variant = &source.code[at + name.len()..];
            if variant.starts_with(|letter: char| letter.is_ascii_uppercase()) {
                let variant: String = variant.chars().take_while(|it| it.is_alphabetic()).collect();
                wrong.push(format!("src/{}: StepKind::{variant}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "a step's head or kind should be asked:\n{}", wrong.join("\n"));
}

#[test]
fn nobody_spells_ids_of_steps_but_who_makes_them() {
    let mut wrong = Vec::new();
    for source in others() {
        for kind in KINDS {
            let spelled = format!("\"{kind}:");
            let is_id = |(at, _): &(usize, &str)| {
                // The code of an error goes on with another colon.
                let rest = &source.code[at + spelled.len()..];
                let known = OTHERS.contains(&(&*source.path.to_string_lossy(), &spelled[1..]));
                !rest.starts_with(':') && !known
            };
            if source.code.match_indices(&spelled).any(|it| is_id(&it)) {
                wrong.push(format!("src/{}: {spelled}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "`StepId` has a constructor for each kind:\n{}", wrong.join("\n"));
}

/// What would ask for a fact, or make one, by a text.
const SPELLED: &[&str] = &["facts.get(\"", "facts.remove(\"", "facts.insert(\"", "fact(\""];

#[test]
fn no_fact_is_spelled_but_where_facts_get_their_names() {
    let mut wrong = Vec::new();
    for source in sources() {
        let spelled = SPELLED.iter().filter(|spelled| source.code.contains(**spelled));
        wrong.extend(spelled.map(|spelled| format!("src/{}: {spelled}", source.path.display())));
    }
    assert!(wrong.is_empty(), "`Fact` has a constant for each:\n{}", wrong.join("\n"));
}
