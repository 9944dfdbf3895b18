//! Names that stay in their rooms: nobody outside asks which engine or gateway it is.

use std::collections::BTreeSet;

use super::sources::sources;

/// A room, and the words that only its code has, whatever the case of their letters.
const ROOMS: &[(&str, &[&str])] =
    &[("engines", &["vllm", "mlx", "flashinfer", "sglang"]), ("gateways", &["litellm"])];

/// Files elsewhere that have such a word, with how many lines have it. Each is a decision.
const KNOWN: &[(&str, &str, usize)] = &[
    // An image is read without knowing who serves; what a requirement looks like is an example.
    ("spec/image_file.rs", "vllm", 1),
    // A provider of the gateway's is called like the engine whose API it speaks.
    ("gateways/litellm/mode.rs", "vllm", 1),
    // The example that `init` writes is one model, with an image of that name.
    ("cli/init.rs", "mlx", 2),
];

#[test]
fn engines_and_gateways_are_named_in_their_rooms_alone() {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for source in sources() {
        let path = source.path.to_str().unwrap();
        for (room, words) in ROOMS.iter().filter(|(room, _)| *room != source.module()) {
            for word in *words {
                let has = |line: &&str| line.to_lowercase().contains(word);
                let lines: Vec<&str> = source.code.lines().filter(has).collect();
                let known = KNOWN.iter().position(|(file, known, count)| {
                    (*file, *known, *count) == (path, *word, lines.len())
                });
                match known {
                    Some(known) => _ = used.insert(known),
                    None if lines.is_empty() => {}
                    None => wrong.push(format!(
                        "src/{path} has a name of src/{room}: {}",
                        lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" | ")
                    )),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for (at, known) in KNOWN.iter().enumerate() {
        assert!(used.contains(&at), "{known:?} is no exception any more");
    }
}
