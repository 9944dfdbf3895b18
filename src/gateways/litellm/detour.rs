//! What leads requests for an alias elsewhere before `LiteLLM` looks at `model_list`.
//!
//! In `LiteLLM` 1.106 and 1.108 (`resolve_served_model` in `router_utils/common_utils.py`), the
//! proxy first replaces the name by `litellm_settings.model_alias_map`, then by
//! `router_settings.model_group_alias`, each once. An entry of that name gets no request then.

use super::Detour;
use super::document::Document;
use super::tree::Id;

/// The maps, in the order in which they are looked at.
const MAPS: [(&str, &str); 2] =
    [("litellm_settings", "model_alias_map"), ("router_settings", "model_group_alias")];

/// Follows an alias through the maps of a file and of what it includes.
pub(super) fn detour(document: &Document, alias: &str) -> Option<Detour> {
    let mut found: Option<Detour> = None;
    for (section, map) in MAPS {
        let name = found.as_ref().map_or(alias, |detour| &detour.target);
        let Some((document, settings)) = setting(document, section) else { continue };
        let tree = &document.tree;
        let Some(value) = tree.get(settings, map).and_then(|map| tree.get(map, name)) else {
            continue;
        };
        let target = tree.text(value).or_else(|| tree.text(tree.get(value, "model")?));
        let Some(target) = target.filter(|target| !target.is_empty()) else { continue };
        let line = document.place().line(document.range(value).start);
        let (path, map) = (document.name().to_owned(), format!("{section}.{map}"));
        found = Some(Detour { path, line, map, target: target.to_owned() });
    }
    found.filter(|detour| detour.target != alias)
}

/// The settings of a section that count: those of an included file replace all of the including one's.
fn setting<'d>(document: &'d Document, section: &str) -> Option<(&'d Document, Id)> {
    let mut included = document.included().iter().rev();
    included.find_map(|it| setting(it, section)).or_else(|| {
        let value = document.tree.get(document.tree.root?, section)?;
        Some((document, value))
    })
}
