//! What a file that nobody but its owner edits leads to.

use super::document::Document;
use super::error::GatewayError;
use crate::import::LedEntry;

/// The entries of a file, without what is a key.
pub(in crate::gateways) fn entries(path: &str, text: &str) -> Result<Vec<LedEntry>, GatewayError> {
    let document = Document::parse(path, text)?;
    let tree = &document.tree;
    let read = |entry: &super::document::Listed| {
        let parameters = tree.get(entry.node, "litellm_params")?;
        let text = |key| tree.get(parameters, key).and_then(|id| tree.text(id)).map(str::to_owned);
        let variable = |text: &String| text.strip_prefix("os.environ/").map(str::to_owned);
        Some(LedEntry {
            line: entry.line,
            alias: entry.alias.clone()?,
            model: text("model")?,
            url: text("api_base").filter(|url| variable(url).is_none()),
            key: text("api_key").as_ref().and_then(variable),
        })
    };
    Ok(document.entries.iter().filter_map(read).collect())
}
