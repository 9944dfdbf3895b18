//! Setting our keys within one entry, wherever and however it is written.

use super::document::{Document, line_break};
use super::error::GatewayError;
use super::splice::{Splices, Want, block, flow, line_start, next_line, scalar_like};
use super::tree::{Id, NodeKind, skip_properties};

/// Replaces what differs and adds what is missing in a mapping.
pub(super) fn put(
    document: &Document,
    mapping: Id,
    wanted: &[Want],
    splices: &mut Splices,
) -> Result<(), GatewayError> {
    let tree = &document.tree;
    let refuse = |id: Id, reason| Err(document.place().layout(document.range(id), reason));
    match tree.node(mapping).kind {
        NodeKind::Mapping(_) => (),
        NodeKind::Alias(_) => return refuse(mapping, "our keys stand behind an alias"),
        _ => return Err(document.place().shape(document.range(mapping), "a mapping")),
    }
    let mut missing = Vec::new();
    for want in wanted {
        if satisfied(document, mapping, want) {
            continue;
        }
        let written = tree.pair(mapping, want.key());
        match (want, written) {
            (Want::Text(_, new), Some((key, value))) => {
                replace(document, key, value, new, splices)?;
            }
            (Want::Mapping(_, inner), Some((key, value))) => {
                if tree.is_null(value) {
                    fill(document, mapping, key, value, inner, splices)?;
                } else {
                    put(document, value, inner, splices)?;
                }
            }
            (Want::Mapping(key, _), None) if tree.get(mapping, key).is_some() => {
                return refuse(mapping, "our keys stand in a merged mapping (`<<`)");
            }
            (_, None) => missing.push(want),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if tree.node(mapping).flow {
        insert_flow(document, mapping, &flow(&missing), splices);
    } else {
        let text = document.text();
        let indent = indent(document, tree.pairs(mapping)[0].0)?;
        let end = next_line(text, document.range(mapping).end.max(1) - 1);
        splices.insert(end, block(&missing, &indent, line_break(text)));
    }
    Ok(())
}

/// Whether a reader already sees what is wanted, through aliases and merged mappings too.
fn satisfied(document: &Document, mapping: Id, want: &Want) -> bool {
    let value = document.tree.get(mapping, want.key());
    value.is_some_and(|value| match want {
        Want::Text(_, text) => document.reads_as(value, text),
        Want::Mapping(_, inner) => inner.iter().all(|want| satisfied(document, value, want)),
    })
}

fn replace(
    document: &Document,
    key: Id,
    value: Id,
    new: &str,
    splices: &mut Splices,
) -> Result<(), GatewayError> {
    let text = document.text();
    if !matches!(document.tree.node(value).kind, NodeKind::Scalar { .. } | NodeKind::Alias(_)) {
        return Err(document.place().shape(document.range(value), "a string"));
    }
    let colon = after_colon(document, key)?;
    let blank = colon + text[colon..].len() - text[colon..].trim_start_matches([' ', '\t']).len();
    let range = document.range(value);
    // The parser's block scalars start behind their header, `|` or `>-`.
    let start = if text[blank..].starts_with(['|', '>']) { blank } else { range.start.max(colon) };
    let start = skip_properties(text, start);
    let old = start..start + text[start..range.end.max(start)].trim_end().len();
    let gap = if start == colon || text[..start].ends_with(':') { " " } else { "" };
    let new = scalar_like(new, &text[old.clone()]);
    splices.replace(old, format!("{gap}{new}"));
    Ok(())
}

/// Gives a null value keys.
fn fill(
    document: &Document,
    parent: Id,
    key: Id,
    value: Id,
    inner: &[Want],
    splices: &mut Splices,
) -> Result<(), GatewayError> {
    let text = document.text();
    let colon = after_colon(document, key)?;
    let start = skip_properties(text, document.range(value).start.max(colon));
    let old = start..document.range(value).end.max(start);
    let inner: Vec<_> = inner.iter().collect();
    if document.tree.node(parent).flow {
        splices.replace(colon..old.end, format!(" {{{}}}", flow(&inner)));
        return Ok(());
    }
    let indent = indent(document, key)?;
    let blank = text[..old.start].trim_end_matches(' ').len().max(colon);
    let end = next_line(text, old.end);
    splices.delete(blank..old.end);
    splices.insert(end, block(&inner, &format!("{indent}  "), line_break(text)));
    Ok(())
}

/// Adds pairs, already written, to a mapping in braces.
pub(super) fn insert_flow(document: &Document, mapping: Id, pairs: &str, splices: &mut Splices) {
    let range = document.range(mapping);
    let Some((key, value)) = document.tree.pairs(mapping).last() else {
        let open = skip_properties(document.text(), range.start) + 1;
        splices.insert(open, pairs);
        return;
    };
    let mut end = document.range(*value).end.max(document.range(*key).end);
    if document.tree.text(*value) == Some("")
        && let Ok(colon) = after_colon(document, *key)
    {
        // A colon needs a blank behind it.
        end = colon + usize::from(document.text()[colon..].starts_with(' '));
    }
    splices.insert(end, format!(", {pairs}"));
}

/// The byte behind the colon of a pair.
pub(super) fn after_colon(document: &Document, key: Id) -> Result<usize, GatewayError> {
    let end = document.range(key).end;
    let rest = &document.text()[end..];
    let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    if rest[blanks..].starts_with(':') {
        Ok(end + blanks + 1)
    } else {
        Err(document.place().layout(document.range(key), "the key is not followed by a colon"))
    }
}

/// The blanks that put a new line into the same column as this key.
pub(super) fn indent(document: &Document, key: Id) -> Result<String, GatewayError> {
    let text = document.text();
    let start = document.range(key).start;
    let before = text[line_start(text, start)..start].trim_start_matches('\u{feff}');
    if before.chars().all(|it| it == ' ' || it == '-') {
        Ok(" ".repeat(before.len()))
    } else {
        Err(document.place().layout(document.range(key), "something stands before the key"))
    }
}
