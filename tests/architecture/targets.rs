//! What a target is called is said in its own room; elsewhere, what it can do is asked.

use super::sources::sources;

/// Files outside `targets` whose code names one all the same, with the reason for each.
const NAMED: &[(&str, &str, &str)] = &[
    ("modal", "cli/mod.rs", "what is leased has an exit code of its own, told by its error's code"),
    (
        "modal",
        "gateways/litellm/access.rs",
        "the headers of proxy tokens are among the entries' fields",
    ),
    (
        "modal",
        "openai/error.rs",
        "whose answer a refusal is, can be told by where keys and tokens are kept",
    ),
    ("modal", "openai/credentials.rs", "where keys and tokens are had"),
    ("modal", "ops/destroy.rs", "an error's code, which stays what it is"),
    ("modal", "ops/render.rs", "an error's code, which stays what it is"),
    ("modal", "ops/rollback.rs", "an error's code, which stays what it is"),
    (
        "targets::local",
        "garbage/volumes.rs",
        "what all projects have on this machine, opened or not",
    ),
    ("targets::local", "ops/gc.rs", "what all projects have on this machine, opened or not"),
    ("targets::local", "ops/open.rs", "the lock on what a project has on this machine"),
];

/// What names a target in code.
const WORDS: &[&str] = &["modal", "targetkind", "targets::local"];

#[test]
fn a_target_is_named_in_its_own_room_alone() {
    let mut wrong = Vec::new();
    let mut used = Vec::new();
    for source in sources().iter().filter(|source| source.module() != "targets") {
        let (path, code) = (source.path.display().to_string(), source.code.to_lowercase());
        for word in WORDS.iter().filter(|word| code.contains(**word)) {
            match NAMED.iter().find(|(name, file, _)| name == word && *file == path) {
                Some(known) => used.push(known),
                None => wrong.push(format!("src/{path}: {word}")),
            }
        }
    }
    assert!(wrong.is_empty(), "ask the target instead:\n{}", wrong.join("\n"));
    for known @ (word, file, _) in NAMED {
        assert!(used.contains(&known), "src/{file} does not name {word} any more");
    }
}
