//! How an image's wheels are chosen, beside its requirements: from where, as of when, and which of two
//! wins.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use toml::de::DeValue;

use super::context::{Layer, Spot};
use super::patterns::matches;
use super::problem::Problem;
use super::source::Located;
use super::table::Table;
use super::value::{quoted, toml_text, type_name};

/// What an image's file says of how its wheels are chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choosing {
    /// Indexes for some packages alone, as written.
    pub indexes: Vec<Located<PackageIndex>>,
    /// What was uploaded at this time or later doesn't count: RFC 3339, in UTC.
    pub as_of: Option<Located<String>>,
    /// Which wheel wins where several own a path, as written.
    pub overlap: Vec<Located<Overlap>>,
}

/// An index that some packages come from, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageIndex {
    /// Its URL, without credentials and without a slash at the end.
    pub url: String,
    /// Its packages, normalised.
    pub packages: BTreeSet<String>,
}

/// Which wheel a path is from, where several own it with different contents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overlap {
    /// The path, or a shell pattern over it: as seen from `site-packages`, or absolute in the image.
    pub pattern: String,
    /// The normalised name of the wheel's package.
    pub winner: String,
}

impl Overlap {
    /// Whether it is about this path. `*` also crosses `/`, as in `allow` and `ignore` of weights.
    pub fn covers(&self, path: &str) -> bool {
        matches(&self.pattern, path)
    }
}

impl Choosing {
    /// Which wheel wins where, by path.
    pub fn overlap(&self) -> Vec<Overlap> {
        let mut overlap: Vec<Overlap> = self.overlap.iter().map(|it| it.value.clone()).collect();
        overlap.sort();
        overlap
    }
}

/// Reads all of it.
pub(super) fn choosing(root: &mut Table<'_, '_>) -> Choosing {
    Choosing { indexes: indexes(root), as_of: as_of(root), overlap: overlap(root) }
}

fn as_of(root: &mut Table<'_, '_>) -> Option<Located<String>> {
    const EXPECTED: &str = "a date like \"2025-05-10\", or a time like \"2025-05-10T12:00:00Z\"";
    let found = root.find("as-of")?;
    let (text, shown) = match found.value.get_ref() {
        DeValue::String(text) => (text.to_string(), quoted(text)),
        DeValue::Datetime(time) => (time.to_string(), time.to_string()),
        other => (String::new(), toml_text(other)),
    };
    let value = instant(&text).map(|time| time.to_string());
    if value.is_none() {
        root.bad("as-of", &shown, EXPECTED, &found.spot());
    }
    Some(Located { value: value?, place: found.spot().place() })
}

/// The first moment that no longer counts. A whole day counts until its end, in UTC, wherever this runs.
fn instant(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    // With a time of day but no offset it would be another moment elsewhere.
    let date: Date = (text.len() == 10).then(|| text.parse().ok()).flatten()?;
    let next = date.tomorrow().ok()?;
    format!("{next}T00:00:00Z").parse().ok()
}

fn indexes(root: &mut Table<'_, '_>) -> Vec<Located<PackageIndex>> {
    let Some(found) = root.find("index") else { return Vec::new() };
    let Some(array) = found.value.get_ref().as_array() else {
        no_list_of_tables(root, found.value.get_ref(), &found.spot());
        return Vec::new();
    };
    let mut indexes: Vec<Located<PackageIndex>> = Vec::with_capacity(array.len());
    let mut taken = BTreeSet::new();
    for (at, element) in array.iter().enumerate() {
        let spot = Spot { file: found.layer.file, span: element.span() };
        let Some(table) = element.get_ref().as_table() else {
            no_list_of_tables(root, element.get_ref(), &spot);
            continue;
        };
        let layers = vec![Layer { table, ..found.layer }];
        let path = format!("{}.", root.field(&format!("index[{at}]")).replace('"', ""));
        let mut table = Table::new(root.context, path, layers, spot.clone());
        let url = url(&mut table);
        let packages = packages(&mut table, &mut taken);
        table.finish();
        if let Some(url) = url
            && !packages.is_empty()
        {
            indexes.push(Located { value: PackageIndex { url, packages }, place: spot.place() });
        }
    }
    indexes
}

fn no_list_of_tables(root: &Table<'_, '_>, found: &DeValue<'_>, spot: &Spot<'_>) {
    let (field, found) = (root.field("index"), type_name(found));
    root.report(Problem::WrongType { field, expected: "a list of tables", found }, spot);
}

fn url(table: &mut Table<'_, '_>) -> Option<String> {
    let text = table.required("url", "url = \"https://download.pytorch.org/whl/cu128\"")?;
    let rest = ["https://", "http://"].iter().find_map(|scheme| text.value.strip_prefix(scheme));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let expected = if host.contains('@') {
        "a URL without credentials, which would be in the lock: keep them in ~/.netrc"
    } else if host.is_empty() || text.value.contains([' ', '#', '?']) {
        "the URL of an index, like \"https://download.pytorch.org/whl/cu128\""
    } else {
        return Some(text.value.trim_end_matches('/').to_owned());
    };
    // What may be a password is not repeated.
    let shown = if host.contains('@') { "with credentials".to_owned() } else { quoted(text.value) };
    table.bad("url", &shown, expected, &text.spot);
    None
}

/// Its packages, normalised, which no index before it has.
fn packages(table: &mut Table<'_, '_>, taken: &mut BTreeSet<String>) -> BTreeSet<String> {
    let mut packages = BTreeSet::new();
    let Some((texts, spot)) = table.strings("packages") else {
        if !table.has("packages") {
            table.missing("packages", "packages = [\"torch\", \"torchvision\"]");
        }
        return packages;
    };
    if texts.is_empty() {
        table.bad("packages", "empty", "the packages that come from this index alone", &spot);
    }
    for text in texts {
        if !is_name(text.value) {
            let expected = "the name of a package like \"torch\", without a version";
            table.bad("packages", &quoted(text.value), expected, &text.spot);
            continue;
        }
        let name = normalised(text.value);
        if taken.insert(name.clone()) {
            packages.insert(name);
        } else {
            let expected = "a package that is named once: it can't come from two places";
            table.bad("packages", &quoted(text.value), expected, &text.spot);
        }
    }
    packages
}

fn overlap(root: &mut Table<'_, '_>) -> Vec<Located<Overlap>> {
    let mut table = root.table("overlap");
    let mut overlap = Vec::new();
    for pattern in table.other_keys() {
        let Some(winner) = table.string(pattern.value) else { continue };
        if is_name(winner.value) {
            let value =
                Overlap { pattern: pattern.value.to_owned(), winner: normalised(winner.value) };
            overlap.push(Located { value, place: winner.spot.place() });
        } else {
            let expected = "the name of the package whose file it shall be, like \"torch\"";
            table.bad(pattern.value, &quoted(winner.value), expected, &winner.spot);
        }
    }
    table.finish();
    overlap
}

fn is_name(text: &str) -> bool {
    let is_plain = text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it));
    let is_end = |at: Option<u8>| at.is_some_and(|it| it.is_ascii_alphanumeric());
    is_plain && is_end(text.bytes().next()) && is_end(text.bytes().last())
}

/// The name as indexes and locks spell it (PEP 503): lower case, runs of `-_.` as one `-`.
pub fn normalised(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '-' | '_' | '.') {
            if !normal.ends_with('-') {
                normal.push('-');
            }
        } else {
            normal.extend(character.to_lowercase());
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    /// uv takes a date in the time zone of the machine; a lock must not depend on that.
    #[test]
    fn a_day_counts_until_its_end_and_a_time_needs_its_offset() {
        let is = |text: &str| instant(text).map(|time| time.to_string());
        assert_eq!(is("2025-05-10").as_deref(), Some("2025-05-11T00:00:00Z"));
        assert_eq!(is("2024-12-31").as_deref(), Some("2025-01-01T00:00:00Z"));
        assert_eq!(is("2025-05-10T12:00:00+02:00").as_deref(), Some("2025-05-10T10:00:00Z"));
        for bad in ["", "2025-05", "2025-13-01", "2025-05-10T12:00:00", "yesterday", "10.05.2025"] {
            assert_eq!(is(bad), None, "{bad}");
        }
    }
}
