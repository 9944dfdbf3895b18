//! A parsed gateway file, indexed so that observing one entry among 10,000 costs a lookup.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::ScalarStyle;

use super::access::{is_reference, is_secret};
use super::error::{GatewayError, NamedText};
use super::tree::{Id, NodeKind, Tree, plain_is_text};
use super::{Entry, FieldChange, Marker, Path, is_ours, verify};

/// A parsed gateway file and what it includes.
#[derive(Debug)]
pub struct Document {
    name: String,
    text: String,
    /// The file's last line has no line break; one was added to edit, and is taken away again.
    pub(super) unterminated: bool,
    pub(super) tree: Tree,
    /// The key and the value of `model_list`.
    pub(super) list: Option<(Id, Id)>,
    pub(super) entries: Vec<Listed>,
    by_alias: HashMap<String, Vec<usize>>,
    by_owner: HashMap<(String, String), Vec<usize>>,
    included: Vec<Document>,
}

/// One item of `model_list`.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) node: Id,
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) alias: Option<String>,
    pub(super) marker: Option<Marker>,
}

impl Document {
    /// Parses a file's text; `name` is what diagnostics call it.
    ///
    /// What two independent parsers don't both accept is refused here, before anything is edited.
    pub fn parse(name: &str, text: &str) -> Result<Self, GatewayError> {
        let unterminated = !text.is_empty() && !text.ends_with('\n');
        let mut text = text.to_owned();
        if unterminated {
            text.push_str(line_break(&text));
        }
        let place = NamedText { name, text: &text };
        verify::nesting(place)?;
        let tree = match (Tree::parse(place), verify::values(place)) {
            (Ok(tree), Ok(_)) => tree,
            (Ok(tree), Err(error)) => {
                return Err(tree.repeated().map_or(error, |keys| place.repeated(&keys)));
            }
            (Err(error), Err(_)) => return Err(error),
            (Err(error), Ok(_)) => return Err(error.strict()),
        };
        let root = tree.root.filter(|root| !tree.is_null(*root));
        if let Some(root) = root
            && !matches!(tree.node(root).kind, NodeKind::Mapping(_))
        {
            return Err(place.shape(tree.node(root).range.clone(), "a mapping with `model_list`"));
        }
        let list = root.and_then(|root| tree.pair(root, "model_list"));
        let mut document = Self {
            name: name.to_owned(),
            unterminated,
            list,
            entries: Vec::new(),
            by_alias: HashMap::new(),
            by_owner: HashMap::new(),
            included: Vec::new(),
            tree,
            text,
        };
        document.index()?;
        Ok(document)
    }

    /// Adds a file that this one includes: its entries are served beside ours.
    pub fn include(&mut self, included: Document) {
        self.included.push(included);
    }

    /// The paths under `include:`, as they are written, relative to this file's directory.
    pub fn includes(&self) -> Vec<String> {
        let value = self.tree.root.and_then(|root| self.tree.get(root, "include"));
        value.map_or_else(Vec::new, |list| {
            let paths = self.tree.items(list).iter();
            paths.filter_map(|id| self.tree.text(*id)).map(str::to_owned).collect()
        })
    }

    /// What diagnostics call the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files this one includes.
    pub fn included(&self) -> &[Document] {
        &self.included
    }

    pub(super) fn place(&self) -> NamedText<'_> {
        NamedText { name: &self.name, text: &self.text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn range(&self, id: Id) -> Range<usize> {
        self.tree.node(id).range.clone()
    }

    fn index(&mut self) -> Result<(), GatewayError> {
        let Some(list) = self.list.and_then(|(_, value)| self.tree.resolve(value)) else {
            return Ok(());
        };
        if !matches!(self.tree.node(list).kind, NodeKind::Sequence(_)) && !self.tree.is_null(list) {
            return Err(self.place().shape(self.range(list), "a list of models"));
        }
        let (mut line, mut counted) = (1, 0);
        for node in self.tree.items(list).to_vec() {
            let start = self.tree.node(node).range.start;
            if start < counted {
                (line, counted) = (1, 0);
            }
            line += self.text[counted..start].bytes().filter(|byte| *byte == b'\n').count();
            counted = start;
            let index = self.entries.len();
            let alias = self.tree.get(node, "model_name").and_then(|id| self.tree.text(id));
            let alias = alias.map(str::to_owned);
            let marker = self.marker(node);
            if let Some(alias) = &alias {
                self.by_alias.entry(alias.clone()).or_default().push(index);
            }
            if let Some(Marker { project, model, .. }) = &marker {
                self.by_owner.entry((project.clone(), model.clone())).or_default().push(index);
            }
            self.entries.push(Listed { node, line, alias, marker });
        }
        Ok(())
    }

    /// Reads the marker that is written in this very entry.
    ///
    /// Somebody may build on our entry (`- *ours`, `<<: *ours`): that makes theirs no entry of ours.
    fn marker(&self, entry: Id) -> Option<Marker> {
        let (_, info) = self.tree.pair(entry, "model_info")?;
        let (_, marker) = self.tree.pair(info, "goatbuild")?;
        let field = |key| Some(self.tree.text(self.tree.pair(marker, key)?.1)?.to_owned());
        Some(Marker {
            project: field("project")?,
            model: field("model")?,
            key: field("key").unwrap_or_default(),
        })
    }

    /// The indexes of our entries for a model.
    pub(super) fn own(&self, project: &str, model: &str) -> &[usize] {
        // A lookup by two borrowed halves needs an owned pair; this is not the hot path.
        self.by_owner.get(&(project.to_owned(), model.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The indexes of entries with this alias that are not this project's.
    pub(super) fn strangers(&self, project: &str, alias: &str) -> impl Iterator<Item = usize> {
        let indexes = self.by_alias.get(alias).map_or(&[][..], Vec::as_slice);
        let stranger = move |index: &usize| {
            self.entries[*index].marker.as_ref().is_none_or(|marker| marker.project != project)
        };
        indexes.iter().copied().filter(stranger)
    }

    /// The fields of an entry that are not as wanted.
    pub(super) fn differences(&self, index: usize, wanted: &Entry) -> Vec<FieldChange> {
        let entry = self.entries[index].node;
        let mut changes = Vec::new();
        for (path, new) in wanted.fields() {
            let value = path.iter().try_fold(entry, |node, key| self.tree.get(node, key));
            if !value.is_some_and(|value| self.reads_as(value, &new)) {
                let field = path.join(".");
                let old = value.map(|value| self.shown(&field, value));
                changes.push(FieldChange { field, old, new });
            }
        }
        let unwanted = wanted.unwanted().concat();
        let present = self.present(entry, &unwanted);
        changes.extend(present.into_iter().map(|path| {
            let value = path.iter().try_fold(entry, |node, key| self.tree.get(node, key));
            let field = path.join(".");
            let old = value.map(|value| self.shown(&field, value));
            FieldChange { field, old, new: "(none)".to_owned() }
        }));
        changes
    }

    /// Those of the paths that an entry has, as far as they are ours.
    pub(super) fn present(&self, entry: Id, unwanted: &[Path]) -> Vec<Path> {
        let is_there = |path: &Path| {
            let value = path.iter().try_fold(entry, |node, key| self.tree.get(node, key));
            value.and_then(|value| self.tree.text(value)).is_some_and(|value| is_ours(path, value))
        };
        unwanted.iter().copied().filter(is_there).collect()
    }

    /// Whether every YAML reader takes this node for the string `wanted`.
    pub(super) fn reads_as(&self, id: Id, wanted: &str) -> bool {
        let node = self.tree.resolve(id).map(|id| &self.tree.node(id).kind);
        matches!(node, Some(NodeKind::Scalar { value, style }) if value == wanted
            && (*style != ScalarStyle::Plain || plain_is_text(value)))
    }

    fn shown(&self, field: &str, id: Id) -> String {
        match self.tree.text(id) {
            // Somebody may have put a real key there, and plans get stored and posted.
            Some(text) if is_secret(field) && !is_reference(text) => "(hidden)".to_owned(),
            Some(text) => text.to_owned(),
            None => "(not a string)".to_owned(),
        }
    }
}

/// The line break a text uses, by its first one.
pub(super) fn line_break(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}
