//! What `gateway check` has to say about a file, whoever wrote its entries.

use std::collections::BTreeMap;

use super::document::{Document, Listed};
use super::tree::{Id, NodeKind};
use crate::gateways::{Problem, Severity};

/// Checks every entry of a file and of what it includes.
///
/// `is_set` tells whether an environment variable is set where the proxy will run.
pub fn check(document: &Document, is_set: &dyn Fn(&str) -> bool) -> Vec<Problem> {
    let mut checker = Checker { is_set, problems: Vec::new(), seen: BTreeMap::new() };
    checker.document(document);
    let Checker { mut problems, seen, .. } = checker;
    for (alias, places) in seen {
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
    /// By alias: file, line, and whether the entry has a marker.
    seen: BTreeMap<String, Vec<(String, usize, bool)>>,
}

impl Checker<'_> {
    fn document(&mut self, document: &Document) {
        for listed in &document.entries {
            self.entry(document, listed);
        }
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
                if let Some(name) = value.strip_prefix("os.environ/")
                    && !(self.is_set)(name)
                {
                    let line = document.place().line(document.range(node).start);
                    let message = format!(
                        "the environment variable {name} is not set: LiteLLM would drop the entry"
                    );
                    self.report(document, line, Severity::Error, message);
                }
            }
            NodeKind::Alias(_) => (),
        }
    }
}
