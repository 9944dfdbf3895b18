//! The packages that are chosen so far, found by what they are called, provide and exclude: a base may have
//! thousands, and no two of them may exclude each other.

use std::collections::{BTreeMap, HashMap};

use super::index::{Package, Relation};

/// Packages that were chosen.
#[derive(Debug, Default)]
pub(super) struct Chosen<'s, 'a> {
    packages: BTreeMap<&'a str, &'s Package<'a>>,
    /// Who provides a name, beside the package of that name.
    providers: HashMap<&'a str, Vec<&'s Package<'a>>>,
    /// Who excludes something of a name.
    excluders: HashMap<&'a str, Vec<(&'s Package<'a>, Relation<'a>)>>,
}

/// Why two packages can't be there together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exclusion<'a> {
    /// The other package.
    pub(super) other: &'a str,
    /// How it is said: `conflicts with`, `breaks`.
    pub(super) relation: &'static str,
    /// What is excluded, as the package spells it.
    pub(super) clause: &'a str,
}

impl<'s, 'a> Chosen<'s, 'a> {
    pub(super) fn insert(&mut self, package: &'s Package<'a>) {
        if self.packages.insert(package.name, package).is_some() {
            return;
        }
        for name in package.provided() {
            self.providers.entry(name).or_default().push(package);
        }
        for (_, clause) in package.exclusions() {
            for excluded in clause.alternatives {
                self.excluders.entry(excluded.name).or_default().push((package, excluded));
            }
        }
    }

    /// Whether any of them satisfies a relation.
    pub(super) fn satisfies(&self, relation: &Relation<'_>) -> bool {
        self.named(relation.name).any(|package| package.satisfies(relation))
    }

    /// Those that are called so, or provide that.
    fn named(&self, name: &str) -> impl Iterator<Item = &'s Package<'a>> {
        let provided = self.providers.get(name).into_iter().flatten();
        self.packages.get(name).into_iter().chain(provided).copied()
    }

    /// Whether a package goes with all of them. None excludes itself.
    pub(super) fn admits(&self, package: &Package<'_>) -> bool {
        let names = std::iter::once(package.name).chain(package.provided());
        let mut excluders = names.flat_map(|name| self.excluders.get(name).into_iter().flatten());
        self.excluded_by(package).is_none()
            && !excluders.any(|(other, what)| other.name != package.name && package.satisfies(what))
    }

    /// The first of them, by name, that a package excludes.
    pub(super) fn excluded_by<'p>(&self, package: &Package<'p>) -> Option<Exclusion<'p>>
    where
        'a: 'p,
    {
        let mut first: Option<Exclusion<'p>> = None;
        for (relation, clause) in package.exclusions() {
            for excluded in &clause.alternatives {
                for other in self.named(excluded.name) {
                    let is_first = first.as_ref().is_none_or(|first| other.name < first.other);
                    if other.name != package.name && is_first && other.satisfies(excluded) {
                        let (other, clause) = (other.name, clause.text);
                        first = Some(Exclusion { other, relation, clause });
                    }
                }
            }
        }
        first
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &'s Package<'a>> {
        self.packages.values().copied()
    }

    pub(super) fn into_packages(self) -> BTreeMap<&'a str, &'s Package<'a>> {
        self.packages
    }
}
