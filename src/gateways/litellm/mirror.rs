//! The same entries, commented out, in a second file: for people who switch them on by hand.
//!
//! The mirror is never parsed as YAML; a block is found by its marks alone.

use std::ops::Range;

use super::document::line_break;
use super::error::{GatewayError, NamedText};
use super::splice::{Splices, block_item, next_line, wanted};
use super::{Entry, Owned};

const BEGIN: &str = "# goatbuild:begin ";
const END: &str = "# goatbuild:end";

/// The mirror's text with one entry's block as wanted; a new one goes to the end.
pub fn mirror_upsert(name: &str, text: &str, entry: &Entry) -> Result<String, GatewayError> {
    change(name, text, &entry.project, &entry.model, Some(entry))
}

/// The mirror's text without the blocks of one model.
pub fn mirror_remove(
    name: &str,
    text: &str,
    project: &str,
    model: &str,
) -> Result<String, GatewayError> {
    change(name, text, project, model, None)
}

/// Whether the mirror holds the entry exactly as wanted.
pub fn mirror_is_current(name: &str, text: &str, entry: &Entry) -> Result<bool, GatewayError> {
    mirror_upsert(name, text, entry).map(|wanted| wanted == text)
}

/// The blocks that a project has in a mirror; alias and key are not read.
pub fn mirrored(name: &str, text: &str, project: &str) -> Result<Vec<Owned>, GatewayError> {
    let blocks = blocks(NamedText { name, text })?;
    let ours = blocks.into_iter().filter_map(|block| {
        let model = block.owner.strip_prefix(project)?.strip_prefix('/')?.to_owned();
        let line = NamedText { name, text }.line(block.range.start);
        Some(Owned { model, alias: String::new(), key: String::new(), line })
    });
    Ok(ours.collect())
}

struct Block<'a> {
    /// `<project>/<model>`.
    owner: &'a str,
    range: Range<usize>,
}

fn blocks(place: NamedText<'_>) -> Result<Vec<Block<'_>>, GatewayError> {
    let text = place.text;
    let mut blocks = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    let unclosed = |owner: &str, at| GatewayError::Unclosed {
        path: place.name.to_owned(),
        line: place.line(at),
        begin: format!("{BEGIN}{owner}"),
    };
    let mut at = 0;
    while at < text.len() {
        let next = next_line(text, at);
        let line = text[at..next].trim().trim_start_matches('\u{feff}');
        if let Some(owner) = line.strip_prefix(BEGIN) {
            if let Some((owner, at)) = open {
                return Err(unclosed(owner, at));
            }
            open = Some((owner.trim(), at));
        } else if line == END
            && let Some((owner, start)) = open.take()
        {
            blocks.push(Block { owner, range: start..next });
        }
        at = next;
    }
    open.map_or(Ok(blocks), |(owner, at)| Err(unclosed(owner, at)))
}

fn change(
    name: &str,
    text: &str,
    project: &str,
    model: &str,
    entry: Option<&Entry>,
) -> Result<String, GatewayError> {
    let line_break = line_break(text);
    let unterminated = !text.is_empty() && !text.ends_with('\n');
    let text = if unterminated { format!("{text}{line_break}") } else { text.to_owned() };
    let owner = format!("{project}/{model}");
    let mut new = entry.map(|entry| commented(entry, &owner, line_break));
    let mut splices = Splices::default();
    for block in blocks(NamedText { name, text: &text })? {
        if block.owner == owner {
            splices.replace(block.range, new.take().unwrap_or_default());
        }
    }
    if let Some(new) = new {
        splices.insert(text.len(), new);
    }
    let mut changed = splices.apply(&text);
    if unterminated && changed.ends_with('\n') {
        changed.truncate(changed.len() - if changed.ends_with("\r\n") { 2 } else { 1 });
    }
    Ok(changed)
}

/// Taking `# ` away gives an item as it stands under `model_list`.
fn commented(entry: &Entry, owner: &str, line_break: &str) -> String {
    let mut out = format!("{BEGIN}{owner}{line_break}");
    for line in block_item(&wanted(entry), "  ", line_break).split_inclusive('\n') {
        out.push_str("# ");
        out.push_str(line);
    }
    out + END + line_break
}
