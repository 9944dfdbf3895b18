//! From package files to the layer: merge, check the scripts, do their work as data, write.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::deb::{self, Control, Deb, Unpacked};
use super::index::clauses;
use super::tree::Tree;
use super::{DebianError, LockedDebian, LockedPackage, archive, configure, database};
use crate::event::Reporter;

/// Streams the uncompressed tar of the base layer into `out`, the same bytes for the same lock.
///
/// `debs` are the package files in the lock's order, as `fetch_packages` returns them; each is
/// verified again. All times become `epoch`, in seconds since 1970. Contents are spooled beside the
/// first package file.
pub fn write_layer(
    locked: &LockedDebian,
    debs: &[PathBuf],
    epoch: u64,
    out: &mut dyn Write,
    reporter: &Reporter,
) -> Result<(), DebianError> {
    assert_eq!(locked.packages.len(), debs.len(), "BUG: not one file for each locked package");
    let directory = debs.first().and_then(|path| path.parent()).unwrap_or(Path::new("."));
    let mut tree = Tree::new(directory)
        .map_err(DebianError::io(format!("spooling into {}", directory.display())))?;
    let mut order: Vec<_> = locked.packages.iter().zip(debs).collect();
    // The skeleton's directories come first: of one directory, the first package's mode counts.
    order.sort_by_key(|(package, _)| (package.name != "base-files", &package.name));
    let mut replacements = BTreeSet::new();
    for (package, path) in &order {
        reporter.check()?;
        deb::verify(path, package)?;
        let control = Deb::open(path, package)?.control;
        replacements.extend(replaced(package, &control, locked));
    }
    let mut packages = Vec::new();
    for (package, path) in order {
        reporter.message(format!("unpacking {}", package.name));
        packages.push(unpack(package, path, &mut tree, &replacements, reporter)?);
    }
    packages.sort_by_key(|package| &package.locked.name);
    reporter.message("configuring");
    tree.complete()?;
    let mut packages = configured(packages);
    let left_out = configure::configure(&mut tree, &packages, locked)?;
    if !left_out.is_empty() {
        let left_out: Vec<&str> = left_out.into_iter().collect();
        reporter.log(format!("left out of what scripts do: {}", left_out.join("; ")));
    }
    packages.sort_by_key(|package| &package.locked.name);
    database::write(&mut tree, &packages)?;
    tree.complete()?;
    reporter.message("writing the layer");
    archive::write(&mut tree, epoch, out, reporter)
}

/// Packages in the order in which dpkg configures them: each behind those that it depends on, as far as
/// these don't need each other.
fn configured(packages: Vec<Unpacked<'_>>) -> Vec<Unpacked<'_>> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for at in 0..packages.len() {
        visit(at, &packages, &mut seen, &mut order);
    }
    let mut packages: Vec<Option<Unpacked<'_>>> = packages.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| packages[at].take()).collect()
}

fn visit(at: usize, packages: &[Unpacked<'_>], seen: &mut BTreeSet<usize>, order: &mut Vec<usize>) {
    if !seen.insert(at) {
        return;
    }
    let fields = database::fields(&packages[at].control);
    for field in ["Pre-Depends", "Depends"] {
        let clauses = clauses(fields.get(field).map_or("", String::as_str));
        for relation in clauses.iter().flat_map(|clause| &clause.alternatives) {
            let needed =
                |other: &Unpacked<'_>| relation.names(&other.locked.name, &other.locked.version);
            if let Some(needed) = packages.iter().position(needed) {
                visit(needed, packages, seen, order);
            }
        }
    }
    order.push(at);
}

/// The pairs in which `package` may overwrite files of another.
fn replaced(
    package: &LockedPackage,
    control: &Control,
    locked: &LockedDebian,
) -> Vec<(String, String)> {
    let fields = database::fields(control);
    let clauses = clauses(fields.get("Replaces").map_or("", String::as_str));
    let relations = clauses.iter().flat_map(|clause| &clause.alternatives);
    relations
        .flat_map(|relation| {
            locked.packages.iter().filter(|other| relation.names(&other.name, &other.version))
        })
        .map(|other| (package.name.clone(), other.name.clone()))
        .collect()
}

fn unpack<'a>(
    package: &'a LockedPackage,
    path: &Path,
    tree: &mut Tree,
    replacements: &BTreeSet<(String, String)>,
    reporter: &Reporter,
) -> Result<Unpacked<'a>, DebianError> {
    let mut list = Vec::new();
    let replaces = |new: &str, old: &str| {
        new != old && replacements.contains(&(new.to_owned(), old.to_owned()))
    };
    let deb = Deb::open(path, package)?;
    let control = deb.unpack(reporter, &mut |member, content| {
        let name = member.path.strip_prefix(b"./").unwrap_or(&member.path);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        list.push(b'/');
        list.extend_from_slice(if name.is_empty() { b"." } else { name });
        list.push(b'\n');
        tree.add(&package.name, &member, content, &replaces)
    })?;
    Ok(Unpacked { locked: package, control, list })
}
