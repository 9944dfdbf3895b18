//! Taking keys of ours out of an entry that is kept: headers of an endpoint that wants them no more, the mode of a
//! model that has another.

use super::Path;
use super::document::Document;
use super::error::GatewayError;
use super::splice::{Splices, line_start, next_line};
use super::tree::{Id, NodeKind};

/// Deletes keys; a mapping that would be empty goes as a whole.
pub(super) fn take(
    document: &Document,
    entry: Id,
    paths: &[Path],
    splices: &mut Splices,
) -> Result<(), GatewayError> {
    let Some([parents @ .., _]) = paths.first() else { return Ok(()) };
    let tree = &document.tree;
    let mut above = entry;
    let mut mapping = entry;
    for parent in parents {
        let Some((_, value)) = tree.pair(mapping, parent) else {
            return refuse(document, mapping);
        };
        (above, mapping) = (mapping, value);
    }
    if !matches!(tree.node(mapping).kind, NodeKind::Mapping(_)) {
        return refuse(document, mapping);
    }
    let names: Vec<&str> = paths.iter().filter_map(|path| path.last().copied()).collect();
    let is_taken = |(key, _): &(Id, Id)| tree.text(*key).is_some_and(|key| names.contains(&key));
    if tree.pairs(mapping).iter().filter(|pair| is_taken(pair)).count() != names.len() {
        return refuse(document, mapping);
    }
    if tree.pairs(mapping).iter().all(is_taken) {
        let whole = parents.last().copied().unwrap_or_default();
        return delete(document, above, &|(key, _)| tree.text(*key) == Some(whole), splices);
    }
    delete(document, mapping, &is_taken, splices)
}

fn refuse(document: &Document, at: Id) -> Result<(), GatewayError> {
    let reason = "what is not wanted any more cannot be taken out here";
    Err(document.place().layout(document.range(at), reason))
}

/// Deletes some pairs of a mapping, not all.
fn delete(
    document: &Document,
    mapping: Id,
    is_taken: &dyn Fn(&(Id, Id)) -> bool,
    splices: &mut Splices,
) -> Result<(), GatewayError> {
    let text = document.text();
    let pairs = document.tree.pairs(mapping);
    let flow = document.tree.node(mapping).flow;
    let end_of = |index: usize| {
        let (key, value) = pairs[index];
        document.range(value).end.max(document.range(key).end)
    };
    let mut kept = false;
    for (index, pair) in pairs.iter().enumerate() {
        if !is_taken(pair) {
            kept = true;
            continue;
        }
        let start = document.range(pair.0).start;
        if !flow {
            let line = line_start(text, start);
            if !text[line..start].trim().is_empty() {
                return refuse(document, pair.0);
            }
            splices.delete(line..next_line(text, end_of(index).max(start + 1) - 1));
        } else if kept {
            splices.delete(end_of(index - 1)..end_of(index));
        } else if let Some((next, _)) = pairs.get(index + 1) {
            splices.delete(start..document.range(*next).start);
        } else {
            return refuse(document, pair.0);
        }
    }
    Ok(())
}
