//! Decides which entries an edit touches, makes it, and checks it.

use super::document::Document;
use super::error::GatewayError;
use super::observe::find_rivals;
use super::splice::Splices;
use super::verify::{self, Intent};
use super::{Entry, Found, Own, Rival, observe, place};

/// One thing to be done to a file.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// The entry should be there, as given.
    Upsert {
        /// As wanted.
        entry: &'a Entry,
        /// Take over the one entry that has the alias and is not ours.
        adopt: bool,
    },
    /// No entry of this model should be there.
    Remove {
        /// The project's committed id.
        project: &'a str,
        /// The model's name in the project.
        model: &'a str,
    },
}

/// The document's text with one entry as wanted; extra entries with our marker are removed.
pub fn upsert(document: &Document, entry: &Entry, adopt: bool) -> Result<String, GatewayError> {
    edit(document, &[Change::Upsert { entry, adopt }])
}

/// The document's text without the entries of one model of one project.
pub fn remove(document: &Document, project: &str, model: &str) -> Result<String, GatewayError> {
    edit(document, &[Change::Remove { project, model }])
}

/// The document's text after all changes: one pass, however many there are.
///
/// Each model may be named by one change only.
pub fn edit(document: &Document, changes: &[Change<'_>]) -> Result<String, GatewayError> {
    let mut intent = Intent::default();
    for change in changes {
        match *change {
            Change::Remove { project, model } => {
                intent.removed.extend(document.own(project, model));
            }
            Change::Upsert { entry, adopt } => intend(document, entry, adopt, &mut intent)?,
        }
    }
    let mut splices = Splices::default();
    place::plan(document, &intent, &mut splices)?;
    let mut text = splices.apply(document.text());
    let after = super::error::NamedText { name: document.name(), text: &text };
    verify::compare(document.place(), after, &intent)?;
    settled(&Document::parse(document.name(), &text)?, changes)?;
    if document.unterminated && text.ends_with('\n') {
        text.truncate(text.len() - if text.ends_with("\r\n") { 2 } else { 1 });
    }
    Ok(text)
}

fn intend<'a>(
    document: &Document,
    entry: &'a Entry,
    adopt: bool,
    intent: &mut Intent<'a>,
) -> Result<(), GatewayError> {
    let found = observe(document, entry);
    if let Some(detour) = found.detour {
        return Err(GatewayError::Detour { alias: entry.alias.clone(), detour });
    }
    let adopted = document.strangers(&entry.project, &entry.alias).next();
    match adopted.filter(|_| adopt && found.is_adoptable()) {
        Some(index) => intent.set.push((index, entry)),
        None if !found.rivals.is_empty() => return Err(conflict(entry, &found, adopt)),
        None => match document.own(&entry.project, &entry.model) {
            [] => intent.appended.push(entry),
            own => {
                let same =
                    |index: &&usize| document.entries[**index].alias.as_ref() == Some(&entry.alias);
                let kept = *own.iter().find(same).unwrap_or(&own[0]);
                intent.set.push((kept, entry));
                intent.removed.extend(own.iter().copied().filter(|index| *index != kept));
            }
        },
    }
    Ok(())
}

fn conflict(entry: &Entry, found: &Found, adopt: bool) -> GatewayError {
    let place = |rival: &Rival| {
        let owner = match &rival.owner {
            None => "made by hand".to_owned(),
            Some(owner) if owner.project == entry.project => {
                "goatbuild's own, moved here".to_owned()
            }
            Some(owner) => format!("of project {}, model {}", owner.project, owner.model),
        };
        format!("{}:{} ({owner})", rival.path, rival.line)
    };
    let places: Vec<_> = found.rivals.iter().map(place).collect();
    let help = if found.is_adoptable() && !adopt {
        "take the entry over with `--adopt MODEL`, choose another alias, or remove the entry"
    } else if found.rivals.iter().any(|rival| rival.included) {
        "an included file is never edited: remove the entry there, or choose another alias"
    } else {
        "only a single entry can be adopted: keep one of them, remove the others by hand"
    };
    GatewayError::Conflict { alias: entry.alias.clone(), places: places.join(", "), help }
}

/// Looks at the result as the next `plan` will: an edit that isn't seen would be made for ever.
fn settled(after: &Document, changes: &[Change<'_>]) -> Result<(), GatewayError> {
    let settled = |change: &Change<'_>| match *change {
        Change::Remove { project, model } => after.own(project, model).is_empty(),
        Change::Upsert { entry, .. } => {
            let mut rivals = Vec::new();
            find_rivals(after, entry, false, &mut rivals);
            let own = observe(after, entry).own;
            rivals.is_empty() && matches!(own, Own::Present { differs, .. } if differs.is_empty())
        }
    };
    if changes.iter().all(settled) {
        Ok(())
    } else {
        Err(after.place().damage(&"the entry would not be recognised again"))
    }
}
