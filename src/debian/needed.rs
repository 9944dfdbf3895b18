//! Which package an image has for the sake of which other one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::LockedPackage;
use super::deb::Control;
use super::index::clauses;
use super::{database, error::UnknownScript};

/// What needs what among the packages of an image.
pub(super) struct Needs<'a> {
    /// A package, and those that it needs.
    needs: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Needs<'a> {
    /// Reads it from their control files.
    pub(super) fn read(packages: impl Iterator<Item = (&'a LockedPackage, &'a Control)>) -> Self {
        let packages: Vec<_> =
            packages.map(|(locked, it)| (locked, database::fields(it))).collect();
        let field = |fields: &BTreeMap<String, String>, name: &str| {
            fields.get(name).cloned().unwrap_or_default()
        };
        let mut named: BTreeMap<String, BTreeSet<&'a str>> = BTreeMap::new();
        for (locked, fields) in &packages {
            named.entry(locked.name.clone()).or_default().insert(&locked.name);
            for clause in clauses(&field(fields, "Provides")) {
                for provided in clause.alternatives {
                    named.entry(provided.name.to_owned()).or_default().insert(&locked.name);
                }
            }
        }
        let needs = packages.iter().map(|(locked, fields)| {
            let relations = ["Pre-Depends", "Depends"].map(|name| field(fields, name)).join(",");
            let alternatives =
                clauses(&relations).into_iter().flat_map(|clause| clause.alternatives);
            let needed = alternatives.filter_map(|relation| named.get(relation.name)).flatten();
            (locked.name.as_str(), needed.copied().filter(|name| *name != locked.name).collect())
        });
        Self { needs: needs.collect() }
    }

    /// Says of each script for whose sake its package is there: by the shortest way from one of `wanted`, or
    /// where these aren't known, from one that no other package needs.
    pub(super) fn tell(&self, scripts: &mut [UnknownScript], wanted: Option<&[String]>) {
        let all: BTreeSet<&str> = self.needs.values().flatten().copied().collect();
        let is_first = |name: &str| match wanted {
            Some(wanted) => wanted.iter().any(|it| it == name),
            None => !all.contains(name),
        };
        let first: Vec<&str> = self.needs.keys().copied().filter(|name| is_first(name)).collect();
        for script in scripts {
            script.needed = self.way(&first, &script.package);
        }
    }

    /// The shortest way from one of these to a package, both among its parts; nothing where there is none.
    fn way(&self, first: &[&'a str], to: &str) -> Vec<String> {
        let mut came: BTreeMap<&str, Option<&str>> =
            first.iter().map(|name| (*name, None)).collect();
        let mut queue: VecDeque<&str> = first.iter().copied().collect();
        while let Some(name) = queue.pop_front() {
            if name == to {
                let mut way = vec![name.to_owned()];
                let mut at = name;
                while let Some(Some(before)) = came.get(at) {
                    way.push((*before).to_owned());
                    at = before;
                }
                way.reverse();
                return way;
            }
            for next in self.needs.get(name).into_iter().flatten() {
                if !came.contains_key(next) {
                    came.insert(next, Some(name));
                    queue.push_back(next);
                }
            }
        }
        Vec::new()
    }
}
