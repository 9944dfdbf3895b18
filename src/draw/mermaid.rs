//! Mermaid's language, which GitHub and GitLab draw inside of Markdown.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::style::light;
use super::{Diagram, Tone};

pub(super) fn render(diagram: &Diagram) -> String {
    let mut text = String::from("flowchart LR\n");
    for (at, node) in diagram.nodes.iter().enumerate() {
        let mut label = format!("<b>{}</b><br/>{}", safe(&node.kind), safe(&node.name));
        if !node.detail.is_empty() {
            let _ = write!(label, "<br/><small>{}</small>", safe(&node.detail));
        }
        let (open, close) = if node.count > 1 { ("[[", "]]") } else { ("[", "]") };
        let class = match node.tone {
            Tone::Plain => String::new(),
            tone => format!(":::{}", tone.word()),
        };
        let _ = writeln!(text, "  n{at}{open}\"{label}\"{close}{class}");
    }
    for edge in &diagram.edges {
        let arrow = if edge.flows { "-->" } else { "-.->" };
        let _ = writeln!(text, "  n{} {arrow} n{}", edge.from, edge.to);
    }
    // The colours hold on dark pages too: text and box go together.
    let tones: BTreeSet<Tone> = diagram.nodes.iter().map(|node| node.tone).collect();
    for tone in tones.into_iter().filter(|tone| *tone != Tone::Plain) {
        let colours = light(tone);
        let _ = writeln!(
            text,
            "  classDef {} fill:{},stroke:{},color:#1f2328",
            tone.word(),
            colours.fill,
            colours.line,
        );
    }
    text
}

/// A text inside of a label: everything that Mermaid, Markdown or HTML could take for its own is
/// spelled as Mermaid's entities.
fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            letter if letter.is_alphanumeric() => safe.push(letter),
            ' ' | '-' | '.' | '/' | ':' | ',' | '×' | '·' | '…' | '→' => safe.push(letter),
            letter => {
                let _ = write!(safe, "#{};", u32::from(letter));
            }
        }
    }
    safe
}
