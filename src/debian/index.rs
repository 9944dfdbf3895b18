//! The `Packages` index of a suite, and the relations between its packages.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use super::version;
use crate::digest::Digest;

/// One package of a suite, as far as locking needs it.
#[derive(Debug, Clone)]
pub(super) struct Package<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) architecture: &'a str,
    pub(super) path: &'a str,
    pub(super) size: u64,
    pub(super) sha256: Digest,
    /// Whether no system may be without it.
    pub(super) essential: bool,
    /// 0 is `required`, 4 is `extra` or unknown.
    priority: u8,
    depends: &'a str,
    pre_depends: &'a str,
    provides: &'a str,
    conflicts: &'a str,
    breaks: &'a str,
}

/// One alternative of a dependency: a name and perhaps a bound on its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation<'a> {
    pub(super) name: &'a str,
    bound: Option<(&'a str, &'a str)>,
}

/// A dependency: any one of its alternatives satisfies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause<'a> {
    /// As the package spells it.
    pub(super) text: &'a str,
    pub(super) alternatives: Vec<Relation<'a>>,
}

/// All packages of a suite's `main`.
#[derive(Debug, Default)]
pub(super) struct Suite<'a> {
    packages: BTreeMap<&'a str, Package<'a>>,
    /// Who provides a name, required packages first, then by name.
    providers: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Suite<'a> {
    /// Reads an index. Of two versions of one package, the higher one counts.
    pub(super) fn parse(text: &'a str, architecture: &str) -> Result<Self, String> {
        let mut suite = Self::default();
        for stanza in text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
            let package = Package::parse(stanza)?;
            if package.architecture != "all" && package.architecture != architecture {
                return Err(format!("{} is for {}", package.name, package.architecture));
            }
            let known = suite.packages.get(package.name);
            if known.is_none_or(|known| {
                version::compare(known.version, package.version) == Ordering::Less
            }) {
                suite.packages.insert(package.name, package);
            }
        }
        for package in suite.packages.values() {
            for clause in clauses(package.provides) {
                for relation in clause.alternatives {
                    suite.providers.entry(relation.name).or_default().push(package.name);
                }
            }
        }
        for names in suite.providers.values_mut() {
            names.sort_by_key(|name| (suite.packages[name].priority, *name));
            names.dedup();
        }
        Ok(suite)
    }

    /// The package of that very name.
    pub(super) fn get(&self, name: &str) -> Option<&Package<'a>> {
        self.packages.get(name)
    }

    /// The packages that no system may be without.
    pub(super) fn essential(&self) -> impl Iterator<Item = &Package<'a>> {
        self.packages.values().filter(|package| package.essential)
    }

    /// The packages that satisfy a relation, the best first: the one of that name, then providers.
    pub(super) fn satisfying(&self, relation: &Relation<'_>) -> Vec<&Package<'a>> {
        let real = self.packages.get(relation.name);
        let provided = self.providers.get(relation.name).into_iter().flatten();
        real.into_iter()
            .chain(provided.map(|name| &self.packages[name]))
            .filter(|package| package.satisfies(relation))
            .collect()
    }

    /// Who provides a name.
    pub(super) fn providers(&self, name: &str) -> &[&'a str] {
        self.providers.get(name).map_or(&[], Vec::as_slice)
    }

    /// The up to three most similar names, the most similar first.
    pub(super) fn nearest(&self, name: &str) -> Vec<&'a str> {
        let mut scored: Vec<_> = self
            .packages
            .keys()
            .map(|known| (strsim::jaro_winkler(known, name), *known))
            .filter(|(score, _)| *score > 0.85)
            .collect();
        scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(right.1)));
        scored.into_iter().take(3).map(|(_, name)| name).collect()
    }
}

impl<'a> Package<'a> {
    fn parse(stanza: &'a str) -> Result<Self, String> {
        let first = stanza.lines().next().unwrap_or_default();
        let lacking = || format!("{first} lacks a name, version, path or SHA-256");
        let digits = stanza.lines().find_map(|line| line.strip_prefix("SHA256:"));
        let sha256 = digits.and_then(|digits| Digest::from_hex(digits.trim()).ok());
        let mut package = Self {
            name: "",
            version: "",
            architecture: "",
            path: "",
            size: 0,
            sha256: sha256.ok_or_else(lacking)?,
            essential: false,
            priority: 4,
            depends: "",
            pre_depends: "",
            provides: "",
            conflicts: "",
            breaks: "",
        };
        let mut size = None;
        for line in stanza.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "Package" => package.name = value,
                "Version" => package.version = value,
                "Architecture" => package.architecture = value,
                "Filename" => package.path = value,
                "Size" => size = value.parse().ok(),
                "Depends" => package.depends = value,
                "Pre-Depends" => package.pre_depends = value,
                "Essential" => package.essential = value == "yes",
                "Provides" => package.provides = value,
                "Conflicts" => package.conflicts = value,
                "Breaks" => package.breaks = value,
                "Priority" => {
                    package.priority = match value {
                        "required" => 0,
                        "important" => 1,
                        "standard" => 2,
                        "optional" => 3,
                        _ => 4,
                    }
                }
                _ => {}
            }
        }
        package.size = size.ok_or_else(|| format!("{first} has no Size"))?;
        let safe = !package.path.starts_with('/')
            && package.path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if package.name.is_empty() || package.version.is_empty() || !safe {
            return Err(lacking());
        }
        Ok(package)
    }

    /// What must be there for this package, in its own order.
    pub(super) fn dependencies(&self) -> Vec<Clause<'a>> {
        let mut all = clauses(self.pre_depends);
        all.extend(clauses(self.depends));
        all
    }

    /// What must not be there, with how to say so.
    pub(super) fn exclusions(&self) -> Vec<(&'static str, Clause<'a>)> {
        let conflicts = clauses(self.conflicts).into_iter().map(|it| ("conflicts with", it));
        conflicts.chain(clauses(self.breaks).into_iter().map(|it| ("breaks", it))).collect()
    }

    /// The names that it provides.
    pub(super) fn provided(&self) -> Vec<&'a str> {
        let clauses = clauses(self.provides).into_iter();
        clauses.flat_map(|clause| clause.alternatives).map(|provided| provided.name).collect()
    }

    /// Whether this package is, or provides, what the relation names.
    pub(super) fn satisfies(&self, relation: &Relation<'_>) -> bool {
        if self.name == relation.name && relation.admits(Some(self.version)) {
            return true;
        }
        clauses(self.provides).iter().flat_map(|clause| &clause.alternatives).any(|provided| {
            provided.name == relation.name && relation.admits(provided.bound.map(|(_, it)| it))
        })
    }
}

impl Relation<'_> {
    /// Whether the relation names this very version of this package.
    pub(super) fn names(&self, name: &str, version: &str) -> bool {
        self.name == name && self.admits(Some(version))
    }

    /// Whether a version is within the bound; a provider without a version satisfies no bound.
    fn admits(&self, version: Option<&str>) -> bool {
        let Some((operator, bound)) = self.bound else { return true };
        let Some(version) = version else { return false };
        let order = version::compare(version, bound);
        match operator {
            "<<" => order.is_lt(),
            "<=" | "<" => order.is_le(),
            "=" => order.is_eq(),
            ">=" | ">" => order.is_ge(),
            ">>" => order.is_gt(),
            _ => false,
        }
    }
}

/// Splits a relation field: `a (>= 1) | b, c:any`.
pub(super) fn clauses(field: &str) -> Vec<Clause<'_>> {
    field
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| Clause { text, alternatives: text.split('|').map(relation).collect() })
        .collect()
}

fn relation(text: &str) -> Relation<'_> {
    let (name, rest) = text.split_once('(').unwrap_or((text, ""));
    let name = name.trim();
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let bound = rest.split_once(')').map(|(bound, _)| {
        let bound = bound.trim();
        let end = bound.find(|c| !matches!(c, '<' | '=' | '>')).unwrap_or(bound.len());
        (&bound[..end], bound[end..].trim())
    });
    Relation { name, bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_read_with_bounds_alternatives_and_qualifiers() {
        let read = clauses("libc6 (>= 2.36), python3:any (>= 3.11~) | pypy3,awk");
        assert_eq!(read.len(), 3);
        assert_eq!(read[0].alternatives[0].bound, Some((">=", "2.36")));
        assert_eq!(read[1].alternatives[0].name, "python3");
        assert_eq!(read[1].alternatives[1], Relation { name: "pypy3", bound: None });
        assert_eq!(read[2].text, "awk");
    }

    #[test]
    fn a_path_that_climbs_out_of_the_mirror_is_refused() {
        let digest = "0".repeat(64);
        let stanza = format!(
            "Package: a\nVersion: 1\nArchitecture: all\nFilename: pool/../../x\nSize: 1\nSHA256: {digest}\n"
        );
        assert!(Suite::parse(&stanza, "amd64").is_err());
    }
}
