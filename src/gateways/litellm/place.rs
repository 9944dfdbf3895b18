//! Where entries stand in the list: adding and removing whole ones.

use std::ops::Range;

use super::document::{Document, line_break};
use super::error::GatewayError;
use super::keys;
use super::splice::{Splices, Want, block, block_item, flow, line_start, next_line, wanted};
use super::tree::{Id, NodeKind, skip_properties};
use super::unset;
use super::verify::Intent;

/// Turns an intent into replacements.
pub(super) fn plan(
    document: &Document,
    intent: &Intent<'_>,
    splices: &mut Splices,
) -> Result<(), GatewayError> {
    for (index, entry) in &intent.set {
        let node = document.entries[*index].node;
        keys::put(document, node, &wanted(entry), splices)?;
        for unwanted in entry.unwanted() {
            unset::take(document, node, &document.present(node, &unwanted), splices)?;
        }
    }
    if intent.removed.is_empty() && intent.appended.is_empty() {
        return Ok(());
    }
    let Some((key, value)) = document.list else {
        return add_list(document, intent, splices);
    };
    let tree = &document.tree;
    let node = tree.node(value);
    let items = tree.items(value);
    match &node.kind {
        NodeKind::Sequence(_) if node.flow && !items.is_empty() => {
            remove_flow(document, items, intent, splices);
            add_flow(document, items, intent, splices);
            Ok(())
        }
        NodeKind::Sequence(_) if !node.flow => change_block(document, key, value, intent, splices),
        NodeKind::Sequence(_) => fill_empty(document, key, value, intent, splices),
        NodeKind::Scalar { .. } if tree.is_null(value) => {
            fill_empty(document, key, value, intent, splices)
        }
        _ => {
            let place = document.place();
            Err(place.layout(document.range(value), "`model_list` is an alias"))
        }
    }
}

/// The lines of a block item: from its dash to its last inner comment.
struct Lines {
    range: Range<usize>,
    /// What stands before the dash.
    indent: String,
}

/// Finds the lines of each item of a block sequence that starts behind `from`.
fn item_lines(document: &Document, from: usize, items: &[Id]) -> Result<Vec<Lines>, GatewayError> {
    let text = document.text();
    let mut lines = Vec::with_capacity(items.len());
    let mut at = from;
    for item in items {
        let item = document.range(*item);
        let layout =
            || document.place().layout(item.clone(), "the entry has no dash on a line of its own");
        let mut line = if line_start(text, at) == at { at } else { next_line(text, at) };
        let dash = loop {
            if line > item.start || line >= text.len() {
                return Err(layout());
            }
            let indent = text[line..].len() - text[line..].trim_start_matches(' ').len();
            let rest = &text[line + indent..];
            if rest.starts_with('-') && rest[1..].starts_with([' ', '\r', '\n']) {
                break line + indent;
            }
            line = next_line(text, line);
        };
        at = item.end.max(dash + 1);
        let end = with_inner_comments(text, next_line(text, at - 1), dash - line);
        lines.push(Lines { range: line..end, indent: text[line..dash].to_owned() });
        at = at.max(end);
    }
    Ok(lines)
}

/// Extends an end over comments indented deeper than the dash; those at its column or before it
/// speak of what follows.
fn with_inner_comments(text: &str, end: usize, dash: usize) -> usize {
    let (mut kept, mut line) = (end, end);
    while line < text.len() {
        let next = next_line(text, line);
        let content = text[line..next].trim();
        let indent = text[line..].len() - text[line..].trim_start_matches(' ').len();
        if content.starts_with('#') && indent > dash {
            kept = next;
        } else if !content.is_empty() {
            break;
        }
        line = next;
    }
    kept
}

fn change_block(
    document: &Document,
    key: Id,
    value: Id,
    intent: &Intent<'_>,
    splices: &mut Splices,
) -> Result<(), GatewayError> {
    let text = document.text();
    let items = document.tree.items(value);
    let colon = keys::after_colon(document, key)?;
    let lines = item_lines(document, colon, items)?;
    for index in &intent.removed {
        splices.delete(lines[*index].range.clone());
    }
    let Some(last) = lines.last() else { panic!("BUG: a block sequence without items") };
    for entry in &intent.appended {
        let item = block_item(&wanted(entry), &last.indent, line_break(text));
        splices.insert(last.range.end, item);
    }
    if intent.removed.len() == items.len() && intent.appended.is_empty() {
        // Null is no list: a file that includes this one would have its own list replaced by it.
        let properties = skip_properties(text, colon + blanks(&text[colon..]));
        let at = text[..properties].trim_end_matches(' ').len().max(colon);
        splices.insert(at, " []");
    }
    Ok(())
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// Turns `model_list:`, `model_list: ~` or `model_list: []` into a block list, braces permitting.
fn fill_empty(
    document: &Document,
    key: Id,
    value: Id,
    intent: &Intent<'_>,
    splices: &mut Splices,
) -> Result<(), GatewayError> {
    if intent.appended.is_empty() {
        return Ok(());
    }
    let text = document.text();
    let Some(root) = document.tree.root else { panic!("BUG: a list without a document") };
    let colon = keys::after_colon(document, key)?;
    let start = skip_properties(text, document.range(value).start.max(colon));
    let old = start..document.range(value).end.max(start);
    if document.tree.node(root).flow {
        let gap = if text[..old.start].ends_with(':') { " " } else { "" };
        splices.replace(old, format!("{gap}[{}]", flow_items(intent)));
        return Ok(());
    }
    if text[old.clone()].contains('\n') {
        splices.insert(old.start + 1, flow_items(intent));
        return Ok(());
    }
    let blank = text[..old.start].trim_end_matches(' ').len().max(colon);
    splices.delete(blank..old.end);
    let margin = keys::indent(document, key)?;
    for entry in &intent.appended {
        let item = block_item(&wanted(entry), &format!("{margin}  "), line_break(text));
        splices.insert(next_line(text, old.end), item);
    }
    Ok(())
}

/// Adds `model_list` to a file that has none.
fn add_list(
    document: &Document,
    intent: &Intent<'_>,
    splices: &mut Splices,
) -> Result<(), GatewayError> {
    let (text, tree) = (document.text(), &document.tree);
    let root = tree.root.filter(|root| !tree.pairs(*root).is_empty() || tree.node(*root).flow);
    let Some(root) = root else {
        if let Some(root) = tree.root.filter(|root| !document.range(*root).is_empty()) {
            return Err(document.place().layout(document.range(root), "the document is `null`"));
        }
        let end = text.find("\n...").map_or(text.len(), |at| at + 1);
        splices.insert(end, list_lines(intent, "", line_break(text)));
        return Ok(());
    };
    if tree.node(root).flow {
        let pair = format!("\"model_list\": [{}]", flow_items(intent));
        keys::insert_flow(document, root, &pair, splices);
        return Ok(());
    }
    let margin = keys::indent(document, tree.pairs(root)[0].0)?;
    // Behind everything, comments too, but before the mark that ends a document.
    let mut end = next_line(text, document.range(root).end.max(1) - 1);
    while end < text.len() && !text[end..].starts_with("...") {
        end = next_line(text, end);
    }
    splices.insert(end, list_lines(intent, &margin, line_break(text)));
    Ok(())
}

fn list_lines(intent: &Intent<'_>, margin: &str, line_break: &str) -> String {
    let mut lines = block(&[&Want::Mapping("model_list", Vec::new())], margin, line_break);
    for entry in &intent.appended {
        lines.push_str(&block_item(&wanted(entry), &format!("{margin}  "), line_break));
    }
    lines
}

fn flow_items(intent: &Intent<'_>) -> String {
    let item = |entry: &&super::Entry| {
        let wanted = wanted(entry);
        format!("{{{}}}", flow(&wanted.iter().collect::<Vec<_>>()))
    };
    intent.appended.iter().map(item).collect::<Vec<_>>().join(", ")
}

fn remove_flow(document: &Document, items: &[Id], intent: &Intent<'_>, splices: &mut Splices) {
    let text = document.text();
    let range = |index: usize| document.range(items[index]);
    let mut kept = false;
    for index in 0..items.len() {
        if !intent.removed.contains(&index) {
            kept = true;
            continue;
        }
        // The comma before goes too, or the one behind while nothing is left before.
        let gap = if kept {
            range(index - 1).end..range(index).start
        } else if index + 1 < items.len() {
            range(index).end..range(index + 1).start
        } else {
            range(index).end..range(index).end + trailing_comma(&text[range(index).end..])
        };
        splices.delete(range(index));
        if text[gap.clone()].contains('#') {
            let comma = comma(&text[gap.clone()]).map(|at| gap.start + at);
            splices.delete(comma.map_or(gap.start..gap.start, |at| at..at + 1));
        } else {
            splices.delete(gap);
        }
    }
}

fn add_flow(document: &Document, items: &[Id], intent: &Intent<'_>, splices: &mut Splices) {
    if intent.appended.is_empty() {
        return;
    }
    let text = document.text();
    let last = document.range(items[items.len() - 1]);
    if intent.removed.len() == items.len() {
        splices.insert(document.range(items[0]).start, flow_items(intent));
        return;
    }
    let begin = line_start(text, last.start);
    let own_line = text[begin..last.start].trim().is_empty() && begin != last.start;
    let gap = if own_line {
        format!(",{}{}", line_break(text), &text[begin..last.start])
    } else {
        ", ".to_owned()
    };
    splices.insert(last.end, format!("{gap}{}", flow_items(intent)));
}

/// Finds the comma between two items, past comments.
fn comma(gap: &str) -> Option<usize> {
    let mut comment = false;
    for (at, byte) in gap.bytes().enumerate() {
        match byte {
            b'\n' => comment = false,
            b'#' => comment = true,
            b',' if !comment => return Some(at),
            _ => (),
        }
    }
    None
}

fn trailing_comma(text: &str) -> usize {
    let blanks = text.len() - text.trim_start().len();
    if text[blanks..].starts_with(',') { blanks + 1 } else { 0 }
}
