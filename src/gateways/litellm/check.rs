//! What `gateway check` has to say about a file, whoever wrote its entries.

use std::collections::BTreeMap;

use super::Detour;
use super::access::VARIABLE;
use super::detour::detour;
use super::document::{Document, Listed};
use super::tree::{Id, NodeKind};
use crate::gateways::{Problem, Severity};

/// Checks every entry of a file and of what it includes.
///
/// `is_set` tells whether an environment variable is set here, where the proxy may run.
pub fn check(document: &Document, is_set: &dyn Fn(&str) -> bool) -> Vec<Problem> {
    let mut checker =
        Checker { is_set, problems: Vec::new(), seen: BTreeMap::new(), unset: BTreeMap::new() };
    checker.document(document);
    let Checker { mut problems, seen, .. } = checker;
    for (alias, places) in seen {
        if let Some((path, line, marked)) = places.first()
            && let Some(detour) = detour(document, &alias)
        {
            let severity = if *marked { Severity::Error } else { Severity::Warning };
            let Detour { path: by, line: at, map, target } = detour;
            let message = format!("requests for `{alias}` go to `{target}` by {by}:{at}, {map}");
            problems.push(Problem { path: path.clone(), line: *line, severity, message });
        }
        let [(first, line, _), rest @ ..] = places.as_slice() else { continue };
        for (path, line_of_other, marked) in rest {
            // Entries of one alias share its traffic, which is a feature, unless one is ours.
            let severity = if *marked || places[0].2 { Severity::Error } else { Severity::Warning };
            let message = format!("`{alias}` also stands at {first}:{line}: both get requests");
            let (path, line) = (path.clone(), *line_of_other);
            problems.push(Problem { path, line, severity, message });
        }
    }
    problems
}

struct Checker<'a> {
    is_set: &'a dyn Fn(&str) -> bool,
    problems: Vec<Problem>,
    /// By alias: file, line, and whether the entry has a marker of ours.
    seen: BTreeMap<String, Vec<(String, usize, bool)>>,
    /// Variables of the file at hand that are not set, with the first line of each.
    unset: BTreeMap<String, usize>,
}

impl Checker<'_> {
    fn document(&mut self, document: &Document) {
        for listed in &document.entries {
            self.entry(document, listed);
        }
        self.tell_unset(document);
        for included in document.included() {
            if let Some((key, value)) = included.list
                && included.tree.is_null(value)
            {
                let line = included.place().line(included.range(key).start);
                let message = "`model_list` is null: LiteLLM drops every entry read before";
                self.report(included, line, Severity::Error, message.to_owned());
            }
            self.document(included);
        }
    }

    /// Says which variables have to be where the proxy runs: that is hardly ever here.
    fn tell_unset(&mut self, document: &Document) {
        let unset = std::mem::take(&mut self.unset);
        let Some(line) = unset.values().min().copied() else { return };
        let names: Vec<String> = unset.into_keys().collect();
        let message =
            format!("has to be set where the proxy runs, and is not here: {}", names.join(", "));
        self.report(document, line, Severity::Warning, message);
    }

    fn report(&mut self, document: &Document, line: usize, severity: Severity, message: String) {
        let path = document.name().to_owned();
        self.problems.push(Problem { path, line, severity, message });
    }

    fn entry(&mut self, document: &Document, listed: &Listed) {
        let tree = &document.tree;
        match &listed.alias {
            None => {
                let message = "the entry has no `model_name`".to_owned();
                self.report(document, listed.line, Severity::Error, message);
            }
            Some(alias) => {
                let place = (document.name().to_owned(), listed.line, listed.marker.is_some());
                self.seen.entry(alias.clone()).or_default().push(place);
            }
        }
        let parameters = tree.get(listed.node, "litellm_params");
        let field = |key| tree.text(tree.get(parameters?, key)?);
        match field("model") {
            None => {
                let message = "the entry has no `litellm_params.model`".to_owned();
                self.report(document, listed.line, Severity::Error, message);
            }
            Some(model) => {
                if let Some(name) = model.strip_prefix(VARIABLE)
                    && !(self.is_set)(name)
                {
                    let message = format!("without the variable {name}, LiteLLM drops the entry");
                    self.report(document, listed.line, Severity::Warning, message);
                }
                let ours = listed.marker.is_some()
                    || listed.alias.as_ref().is_some_and(|alias| alias.ends_with("-local"));
                if ours && model.starts_with("openai/") && field("api_base").is_none() {
                    let message =
                        "the entry has no `api_base`: requests would go to api.openai.com";
                    self.report(document, listed.line, Severity::Error, message.to_owned());
                }
            }
        }
        if let Some(parameters) = parameters {
            self.environment(document, parameters);
        }
    }

    fn environment(&mut self, document: &Document, node: Id) {
        let tree = &document.tree;
        let Some(node) = tree.resolve(node) else { return };
        match &tree.node(node).kind {
            NodeKind::Mapping(pairs) => {
                for (_, value) in pairs {
                    self.environment(document, *value);
                }
            }
            NodeKind::Sequence(items) => {
                for item in items {
                    self.environment(document, *item);
                }
            }
            NodeKind::Scalar { value, .. } => {
                if let Some(name) = value.strip_prefix(VARIABLE)
                    && !(self.is_set)(name)
                {
                    let line = document.place().line(document.range(node).start);
                    self.unset.entry(name.to_owned()).or_insert(line);
                }
            }
            NodeKind::Alias(_) => (),
        }
    }
}
