//! Graphviz's language.

use std::fmt::Write as _;

use super::style::{LIGHT, light};
use super::{Diagram, Tone};

pub(super) fn render(diagram: &Diagram) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "digraph {} {{", quoted(&diagram.title));
    text.push_str("  rankdir=LR;\n");
    if !diagram.summary.is_empty() {
        let label = format!("{}\n{}", diagram.title, diagram.summary);
        let _ = writeln!(text, "  label={}; labelloc=t; labeljust=l;", quoted(&label));
    }
    text.push_str("  graph [fontname=\"sans-serif\", nodesep=0.2, ranksep=0.6];\n");
    text.push_str("  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n");
    let _ = writeln!(text, "  edge [color=\"{}\", arrowsize=0.7];", LIGHT.faint);
    let name = |at: usize| {
        let node = &diagram.nodes[at];
        quoted(&format!("{}:{}", node.kind, node.name))
    };
    for (at, node) in diagram.nodes.iter().enumerate() {
        let mut label = format!("{}\n{}", node.kind, node.name);
        if !node.detail.is_empty() {
            let _ = write!(label, "\n{}", node.detail);
        }
        let colours = light(node.tone);
        let mut more = String::new();
        if node.tone != Tone::Plain {
            let _ = write!(more, ", class=\"{}\"", node.tone.word());
        }
        if node.count > 1 {
            more.push_str(", peripheries=2");
        }
        let _ = writeln!(
            text,
            "  {} [label={}, tooltip={}, fillcolor=\"{}\", color=\"{}\", fontcolor=\"{}\"{more}];",
            name(at),
            quoted(&label),
            quoted(&node.about),
            colours.fill,
            colours.line,
            LIGHT.text,
        );
    }
    for edge in &diagram.edges {
        let dashed = if edge.flows { "" } else { " [style=dashed]" };
        let _ = writeln!(text, "  {} -> {}{dashed};", name(edge.from), name(edge.to));
    }
    text.push_str("}\n");
    text
}

/// A text as a string of Graphviz's language, in which `\` also begins escapes of labels.
fn quoted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 2);
    safe.push('"');
    for letter in text.chars() {
        match letter {
            '"' => safe.push_str("\\\""),
            '\\' => safe.push_str("\\\\"),
            '\n' => safe.push_str("\\n"),
            // Graphviz would copy it into formats that can't hold it.
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe.push('"');
    safe
}
