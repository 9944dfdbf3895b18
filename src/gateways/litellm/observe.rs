//! What a file holds of an entry, and of a project.

use super::detour::detour;
use super::document::{Document, Listed};
use super::{Entry, Found, Own, Owned, Rival};

/// Looks up one entry: what of it is there, and who else has its alias.
pub fn observe(document: &Document, wanted: &Entry) -> Found {
    let own = document.own(&wanted.project, &wanted.model);
    let line = |index: usize| document.entries[index].line;
    let own = match own {
        [] => Own::Absent,
        [index] => {
            Own::Present { line: line(*index), differs: document.differences(*index, wanted) }
        }
        several => Own::Duplicated { lines: several.iter().map(|index| line(*index)).collect() },
    };
    let mut rivals = Vec::new();
    find_rivals(document, wanted, false, &mut rivals);
    Found { own, rivals, detour: detour(document, &wanted.alias) }
}

pub(super) fn find_rivals(
    document: &Document,
    wanted: &Entry,
    included: bool,
    rivals: &mut Vec<Rival>,
) {
    let mut indexes: Vec<_> = document.strangers(&wanted.project, &wanted.alias).collect();
    if included {
        // An entry of ours that moved into an included file would be served beside a new one.
        indexes.extend(document.own(&wanted.project, &wanted.model));
    }
    rivals.extend(indexes.into_iter().map(|index| {
        let Listed { line, marker, .. } = &document.entries[index];
        Rival { path: document.name().to_owned(), line: *line, included, owner: marker.clone() }
    }));
    for document in document.included() {
        find_rivals(document, wanted, true, rivals);
    }
}

/// All entries of a project, in the file's order: those that no spec wants are to be removed.
pub fn owned(document: &Document, project: &str) -> Vec<Owned> {
    let ours = document.entries.iter().filter_map(|listed| {
        let marker = listed.marker.as_ref().filter(|marker| marker.project == project)?;
        Some(Owned {
            model: marker.model.clone(),
            alias: listed.alias.clone().unwrap_or_default(),
            key: marker.key.clone(),
            line: listed.line,
        })
    });
    ours.collect()
}
